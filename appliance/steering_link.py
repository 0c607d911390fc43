"""What the keeper tells steering, and hears from it: reports and holdings out, notices in."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
from pydantic import BaseModel

from appliance.holdings import Ledger
from media.fleet import Notices, Report
from runtime.log import logger

_LONG_POLL_S = 40.0
_RETRY_S = 1.0


class SteeringLink:
    """The appliance's side of its conversation with steering. Steering away is no trouble: what
    is held goes on being served, and counters are cumulative."""

    def __init__(
        self,
        url: str,
        appliance_id: str,
        session: aiohttp.ClientSession,
        authorize: Callable[[], str],
    ) -> None:
        self._url = url.rstrip("/")
        self._id = appliance_id
        self._session = session
        self._authorize = authorize
        self._away_since: float | None = None

    async def report(self, build: Callable[[], Report], ledger: Ledger, interval_s: float) -> None:
        """Reports for ever, and sends holdings when they have changed."""
        while True:
            began = time.monotonic()
            try:
                await self._put("reports", build())
                await self._tell_holdings(ledger)
                self._away_since = None
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if self._away_since is None:
                    self._away_since = began
                    logger().warning("steering_away", why=str(error) or "time-out")
            await asyncio.sleep(max(0.0, interval_s - (time.monotonic() - began)))

    async def _tell_holdings(self, ledger: Ledger) -> None:
        message = ledger.due()
        if message is None:
            return
        if await self._put("holdings", message) == 409:
            ledger.resend()
        else:
            ledger.sent(message)

    async def _put(self, kind: str, body: BaseModel) -> int:
        async with self._session.put(
            f"{self._url}/v1/{kind}/{self._id}",
            data=body.model_dump_json(exclude_defaults=kind == "reports"),
            headers=self._headers() | {"Content-Type": "application/json"},
        ) as answer:
            if answer.status != 409:
                answer.raise_for_status()
            return answer.status

    async def hear_notices(
        self, path: Path, current: Notices, obey: Callable[[Notices], None]
    ) -> None:
        """Long-polls notices for ever. Each is on disk before it is obeyed, so that a restarted
        appliance reads its notices before it serves."""
        timeout = aiohttp.ClientTimeout(total=_LONG_POLL_S)
        version = current.version
        while True:
            try:
                async with self._session.get(
                    f"{self._url}/v1/notices/{self._id}",
                    params={"since": str(version)},
                    headers=self._headers(),
                    timeout=timeout,
                ) as answer:
                    answer.raise_for_status()
                    raw = await answer.read()
                notices = Notices.model_validate_json(raw)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
                await asyncio.sleep(_RETRY_S)
                continue
            if notices.version != version:
                version = notices.version
                write_durably(path, notices.model_dump_json().encode())
                obey(notices)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._authorize()}"}


def write_durably(path: Path, data: bytes) -> None:
    """The file holds `data`, in one step, also after a power cut."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)

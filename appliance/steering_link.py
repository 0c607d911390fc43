"""What the keeper tells steering, and hears from it: reports and holdings out, notices in."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp

from appliance.demand import DemandTally
from appliance.holdings import Ledger
from media.fleet import MAX_SERVED, Holdings, Notices, Report, ReportAnswer
from runtime.durable import write_durably
from runtime.log import logger

_LONG_POLL_S = 40.0
_RETRY_S = 1.0
_LOOK_S = 0.25
_PUT = aiohttp.ClientTimeout(total=5.0)
_GAP = 409  # steering missed a delta


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

    async def report(
        self,
        build: Callable[[], Report],
        urgent: Callable[[], object],
        ledger: Ledger,
        interval_s: float,
    ) -> None:
        """Reports for ever, at once when what is urgent changes, and sends holdings when they
        have; every `interval_s`, or more often when steering wants that: it knows for how long it
        bears silence."""
        own_s = interval_s
        while True:
            began, told = time.monotonic(), urgent()
            try:
                raw = await self._put("reports", build().model_dump_json(exclude_defaults=True))
                answer = ReportAnswer.model_validate_json(raw)
                ledger.heard(answer.holdings_sequence)
                interval_s = max(_LOOK_S, min(own_s, answer.within_s or own_s))
                await self._tell_holdings(ledger)
                self._away_since = None
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                if self._away_since is None:
                    self._away_since = began
                    logger().warning("steering_away", why=str(error) or "time-out")
            # The board, in which health is seen, rings no bell.
            while time.monotonic() - began < interval_s and urgent() == told:  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_S)

    async def _tell_holdings(self, ledger: Ledger) -> None:
        message: Holdings | None = ledger.due()
        if message is None:
            return
        try:
            await self._put("holdings", message.model_dump_json())
        except aiohttp.ClientResponseError as error:
            if error.status != _GAP:
                raise
            ledger.resend()
        else:
            ledger.sent(message)

    async def tell_demand(self, tally: DemandTally, interval_s: float) -> None:
        """Tells what viewers took, for ever. What does not arrive is told with the next words."""
        while True:
            await asyncio.sleep(interval_s)
            try:
                full = True
                while full and (message := tally.due()) is not None:
                    await self._put("demand", message.model_dump_json(exclude_defaults=True))
                    tally.taken(message)
                    full = len(message.served) == MAX_SERVED
            except aiohttp.ClientResponseError as error:
                # An older steering, or one that has not heard our report yet.
                logger().info("demand_not_taken", status=error.status)
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass  # the reports tell that steering is away

    async def _put(self, kind: str, body: str) -> bytes:
        async with self._session.put(
            f"{self._url}/v1/{kind}/{self._id}",
            data=body,
            headers=self._headers() | {"Content-Type": "application/json"},
            timeout=_PUT,
        ) as answer:
            answer.raise_for_status()
            return await answer.read()

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
                if notices.version != version:
                    write_durably(path, notices.model_dump_json().encode())
                    version = notices.version
                    obey(notices)
            except (aiohttp.ClientError, TimeoutError, ValueError):
                await asyncio.sleep(_RETRY_S)
            except OSError as error:  # steering's address, or a full disk of ours
                logger().warning("notices_unknown", why=str(error))
                await asyncio.sleep(_RETRY_S)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._authorize()}"}

"""The roster in shared state: a restarted steering finds it there, and so do other instances.

Reports and holdings are taken in memory at once; what is new goes to the state every few seconds,
and what other instances have heard comes back. Losing an entry does no harm: the answer to the
next report makes the appliance send its holdings again. So the state may be away at any time.
"""

import asyncio
import secrets

from pydantic import ValidationError

from media.fleet import Holdings
from runtime.errors import Problem
from runtime.log import logger
from runtime.state import State, StateUnavailable
from steering.roster import Record, RosterBook
from steering.telemetry import MAX_BYTES, Telemetry, take, words
from steering.throughput import ThroughputBook

_REPORTS = "steering:report:"
_HOLDINGS = "steering:holdings:"
_WORDS = "steering:words:"
_WORDS_S = 30.0  # an instance that writes no more has ended


class Archive:
    """Carries news between the roster and the state."""

    def __init__(
        self, state: State, roster: RosterBook, paces: ThroughputBook, forget_s: float
    ) -> None:
        self._instance = secrets.token_hex(8)
        self._state = state
        self._roster = roster
        self._paces = paces
        self._forget_s = forget_s
        self._new_reports: set[str] = set()
        self._new_holdings: set[str] = set()
        self.away = False

    def heard(self, appliance_id: str) -> None:
        """The roster has a new report of this appliance."""
        self._new_reports.add(appliance_id)

    def taken(self, appliance_id: str) -> None:
        """The roster has new holdings of this appliance."""
        self._new_holdings.add(appliance_id)

    async def sync(self, now_s: float) -> None:
        """State and roster have each other's news. When the state is away this is logged once, and
        the news waits in memory."""
        try:
            await self._write()
            await self._read(now_s)
            await self._write_words(now_s)
            await self._read_words(now_s)
        except StateUnavailable as error:
            if not self.away:
                logger().warning("state_away", why=str(error))
            self.away = True
            return
        if self.away:
            logger().info("state_back")
        self.away = False

    async def _write(self) -> None:
        """Holdings go first, so that a report never stands there without what it goes with."""
        for appliance_id in list(self._new_holdings):
            shelf = self._roster.shelves.get(appliance_id)
            self._new_holdings.discard(appliance_id)
            if shelf is not None:
                value = await asyncio.to_thread(_dump, shelf.snapshot())
                await self._put(self._new_holdings, appliance_id, _HOLDINGS, value)
        for appliance_id in list(self._new_reports):
            record = self._roster.get(appliance_id)
            self._new_reports.discard(appliance_id)
            if record is not None:
                value = record.model_dump_json().encode()
                await self._put(self._new_reports, appliance_id, _REPORTS, value)

    async def _put(self, news: set[str], appliance_id: str, prefix: str, value: bytes) -> None:
        try:
            await self._state.put(prefix + appliance_id, value, self._forget_s)
        except StateUnavailable:
            news.add(appliance_id)
            raise

    async def _read(self, now_s: float) -> None:
        for raw in (await self._state.items(_REPORTS)).values():
            try:
                record = Record.model_validate_json(raw)
            except ValidationError:  # of another version
                continue
            if self._roster.restore(record, now_s):
                await self._read_holdings(record.report.appliance_id)

    async def _write_words(self, now_s: float) -> None:
        value = words(self._roster, self._paces, now_s).model_dump_json().encode()
        await self._state.put(_WORDS + self._instance, value, _WORDS_S)

    async def _read_words(self, now_s: float) -> None:
        heard = await self._state.items(_WORDS)
        alive = {key.removeprefix(_WORDS) for key in heard}
        self._roster.forget_instances(alive)
        self._paces.forget_instances(alive)
        for key, raw in heard.items():
            instance = key.removeprefix(_WORDS)
            if instance == self._instance or len(raw) > MAX_BYTES:
                continue
            try:
                said = Telemetry.model_validate_json(raw)
            except ValidationError:  # of another version
                continue
            take(said, instance, self._roster, self._paces, now_s)

    async def _read_holdings(self, appliance_id: str) -> None:
        raw = await self._state.get(_HOLDINGS + appliance_id)
        if raw is None:
            return
        try:
            self._roster.take(appliance_id, Holdings.model_validate_json(raw))
        except (ValidationError, Problem):
            return


def _dump(holdings: Holdings) -> bytes:
    return holdings.model_dump_json().encode()

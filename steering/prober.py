"""Looks for itself at appliances that players leave: does one answer HTTP at all?"""

import asyncio
import time
from collections.abc import Callable

import aiohttp

from runtime.log import logger
from steering.roster import RosterBook

_EVERY_S = 1.0
# A player of ours waits as long for a first byte.
_PATIENCE_S = 2.5
_AT_ONCE = 32


class Prober:
    """Asks appliances that are in doubt, each every few seconds as long as it is."""

    def __init__(self, roster: RosterBook, now_s: Callable[[], float] = time.time) -> None:
        self._roster = roster
        self._now_s = now_s
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def run(self) -> None:
        """For ever."""
        timeout = aiohttp.ClientTimeout(total=_PATIENCE_S)
        # Whether it answers is all we want to know: its certificate is for its players to check.
        connector = aiohttp.TCPConnector(ssl=False, force_close=True)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            while True:
                await self.look(session)
                await asyncio.sleep(_EVERY_S)

    async def look(self, session: aiohttp.ClientSession) -> None:
        """Everybody who is due has been asked."""
        due = self._roster.doubts.due(self._now_s())
        await asyncio.gather(*(self._probe(one, session) for one in due))

    async def _probe(self, appliance_id: str, session: aiohttp.ClientSession) -> None:
        record = self._roster.get(appliance_id)
        if record is None:
            return
        async with self._turns:
            try:
                async with session.get(record.report.url, allow_redirects=False):
                    answers = True
            except (aiohttp.ClientError, TimeoutError, OSError):
                answers = False
        now_s = self._now_s()
        before = self._roster.doubts.doubt(appliance_id, now_s)
        self._roster.doubts.probed(appliance_id, answers, now_s)
        logger().warning(
            "probed", appliance_id=appliance_id, answers=answers, before=before or "trusted"
        )

"""The home page: what a profile is in the middle of, and what is popular where it lives.

Each row comes from a source of its own, behind a time-out and a circuit breaker: a slow one costs
its row, never the page. What is popular is counted once a minute for each region, however many
look.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from sqlalchemy import func, select

from control_plane.artwork_keys import ArtworkKeys
from control_plane.catalog import View, title_of, titles
from control_plane.clock import Clock
from control_plane.database import Database
from control_plane.entitlement import fits_age
from control_plane.tables import TitleRow, WatchedRow
from control_plane.watching import Watching
from media.api import Home, Title
from runtime.api import Caller
from runtime.errors import Problem
from runtime.flow import Breaker
from runtime.log import logger

ROW = 20
# Of what is popular some may not be for everybody: so many are known, ROW are shown.
COUNTED = 100
COUNT_EVERY_S = 60.0
STALE_S = 300.0  # where nobody has looked for so long, the next one waits for the count
COUNT_FROM = timedelta(days=14)
TIMEOUT_S = 1.0
MAX_REGIONS = 500

T = TypeVar("T")


@dataclass
class _Popular:
    """What is popular in a region, as it was counted at `at_s`; None before the first time."""

    titles: tuple[Title, ...] | None = None
    at_s: float = 0.0
    counting: asyncio.Task[tuple[Title, ...]] | None = None


class HomeRows:
    """The rows of the home page."""

    def __init__(
        self, database: Database, watching: Watching, clock: Clock, artwork: ArtworkKeys
    ) -> None:
        self._database = database
        self._watching = watching
        self._clock = clock
        self._artwork = artwork
        self._breakers = {"continue_watching": Breaker(), "popular": Breaker()}
        self._popular: dict[str, _Popular] = {}

    async def rows(
        self, caller: Caller, profile_id: str | None, region: str | None, view: View
    ) -> Home:
        """The page of a profile, or of an account without one. Raises Problem only when nothing
        at all can be read."""
        degraded: list[str] = []
        user_id = caller.user_id or ""
        going_on = await self._guarded(
            "continue_watching",
            lambda: self._watching.unfinished(user_id, profile_id, view, limit=ROW),
            degraded,
        )
        popular = await self._guarded("popular", lambda: self._popular_in(region), degraded)
        if popular is None:
            popular = await self._newest(view)
        shown = [t for t in popular if fits_age(t.about.maturity, view.age)][:ROW]
        return Home(
            continue_watching=going_on or (), popular=tuple(shown), degraded=tuple(degraded)
        )

    async def _guarded(
        self, row: str, source: Callable[[], Awaitable[T]], degraded: list[str]
    ) -> T | None:
        """What the source gives; None when it fails, is slow, or has failed too often lately."""
        breaker = self._breakers[row]
        if breaker.allows(time.monotonic()):
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    got = await source()
                breaker.record(True, time.monotonic())
                return got
            except (Problem, TimeoutError) as error:
                breaker.record(False, time.monotonic())
                logger().warning("home_row_missing", row=row, why=str(error) or "time-out")
        degraded.append(row)
        return None

    async def _popular_in(self, region: str | None) -> tuple[Title, ...]:
        """What was watched most in the region lately; everywhere, when too little was there."""
        found = await self._counted(region) if region else ()
        if len(found) < ROW:
            known = {title.title_id for title in found}
            found += tuple(t for t in await self._counted(None) if t.title_id not in known)
        return found

    async def _counted(self, region: str | None) -> tuple[Title, ...]:
        name = region or ""
        if name not in self._popular and len(self._popular) >= MAX_REGIONS:
            self._popular.clear()  # somebody makes regions up
        kept = self._popular.setdefault(name, _Popular())
        is_old = time.monotonic() - kept.at_s >= COUNT_EVERY_S
        if (kept.titles is None or is_old) and kept.counting is None:
            kept.counting = asyncio.create_task(self._recount(kept, region), name="count-popular")
            # Nobody may wait for it: then nobody is told how it failed, and the next one tries.
            kept.counting.add_done_callback(lambda task: task.cancelled() or task.exception())
        is_stale = time.monotonic() - kept.at_s >= STALE_S
        if kept.titles is not None and not is_stale:  # old, perhaps, but at once
            return kept.titles
        assert kept.counting is not None  # for what is stale is old
        return await asyncio.shield(kept.counting)

    async def _recount(self, kept: _Popular, region: str | None) -> tuple[Title, ...]:
        """Counts for all who wait, and for those who come later."""
        try:
            kept.titles, kept.at_s = await self._count(region), time.monotonic()
            return kept.titles
        finally:
            kept.counting = None

    async def _count(self, region: str | None) -> tuple[Title, ...]:
        views = func.count().label("views")
        now = self._clock()
        counted = (
            select(WatchedRow.title_id, views)
            .where(WatchedRow.watched_at > now - COUNT_FROM)
            .group_by(WatchedRow.title_id)
            .order_by(views.desc(), WatchedRow.title_id.desc())
            .limit(COUNTED)
        )
        if region is not None:
            counted = counted.where(WatchedRow.region == region)
        most = counted.subquery()
        wanted = (
            titles(View(now))
            .join(most, most.c.title_id == TitleRow.title_id)
            .order_by(most.c.views.desc(), TitleRow.title_id.desc())
        )
        async with self._database.reading() as session:
            rows = (await session.execute(wanted)).all()
        return tuple(title_of(*row, self._artwork, drafts=False, brief=True) for row in rows)

    async def _newest(self, view: View) -> tuple[Title, ...]:
        """The plain fall-back."""
        wanted = titles(view).order_by(TitleRow.title_id.desc()).limit(ROW)
        async with self._database.reading() as session:
            rows = (await session.execute(wanted)).all()
        return tuple(title_of(*row, self._artwork, drafts=False, brief=True) for row in rows)

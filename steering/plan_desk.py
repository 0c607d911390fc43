"""The choices of what appliances should hold, made anew when there is reason to."""

import asyncio
import time
from collections.abc import Callable, Hashable
from contextlib import suppress

from media.places import Atlas
from runtime.errors import Problem
from runtime.log import logger
from steering.catalog import PackageCatalog
from steering.evidence import EvidenceBook
from steering.home_book import HomeBook
from steering.notices import NoticeDesk
from steering.pins import PinDesk
from steering.planning import Box, Choice, plan_fleet
from steering.roster import Record, RosterBook
from steering.settings import SteeringSettings

_LOOK_S = 0.25
_REST = 5  # times as long as the last planning took: a large fleet's takes seconds of a core
_WRITE_S = 600.0
_PATIENCE_S = 2.0  # of an appliance that asks for its first plan
_DAY_S = 86_400


class PlanDesk:
    """Has the fleet planned when the catalog, the fleet, a purge or a pin changes, and every day
    (UTC), by what viewers took until then. `revision` is another after each planning."""

    def __init__(
        self,
        settings: SteeringSettings,
        atlas: Atlas,
        catalog: PackageCatalog,
        roster: RosterBook,
        notices: NoticeDesk,
        pins: PinDesk,
        evidence: EvidenceBook,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._atlas = atlas
        self._catalog = catalog
        self._roster = roster
        self._notices = notices
        self._pins = pins
        self._evidence = evidence
        self._now_s = now_s
        self._choices: dict[str, Choice] = {}
        self._homes = HomeBook()
        self._made_of: Hashable = None
        self._made_for: Hashable = None
        self._planning: asyncio.Task[None] | None = None
        self.revision = 0

    async def choice(self, appliance_id: str) -> Choice:
        """What the appliance is to hold. If it is new, or the catalog or a pin is, a planning comes
        first; when that takes long, it is what it was. Raises Problem `unavailable` when it was not
        planned for yet: it goes by the plan that it has."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                for _ in range(2):  # the planning under way may have begun before the news
                    if appliance_id not in self._choices or self._asked() != self._made_for:
                        await self.look()
        if appliance_id not in self._choices:
            raise Problem("unavailable", "The fleet is being planned.", retry_after_s=1)
        return self._choices[appliance_id]

    def _soon(self) -> asyncio.Task[None]:
        if self._planning is None or self._planning.done():
            self._planning = asyncio.create_task(self._look(), name="plan")
        return self._planning

    async def keep(self) -> None:
        """Plans for ever, and keeps the evidence on the disk."""
        written_s = time.monotonic()
        while True:
            began_s = time.monotonic()
            try:
                await self.look()
                if began_s - written_s > _WRITE_S:
                    written_s = began_s
                    await asyncio.to_thread(self._evidence.copy().write, self._now_s())
            except Exception:  # the last choices stand
                logger().exception("planning_failed")
            await asyncio.sleep(max(_LOOK_S, _REST * (time.monotonic() - began_s)))

    async def look(self) -> None:
        """The choices are up to date."""
        await asyncio.shield(self._soon())

    async def _look(self) -> None:
        now_s = self._now_s()
        records = [one for one in self._roster.records() if self._is_known(one)]
        asked = self._asked()
        listing, purged = self._catalog.listing, self._notices.purged()
        fleet = tuple(
            (one.report.appliance_id, one.report.site, one.report.budget_bytes) for one in records
        )
        made_of = (asked, fleet, now_s // _DAY_S)
        if made_of == self._made_of:
            return
        packages = [one for one in listing.packages if one.package_id not in purged]
        self._evidence.keep_only(listing.packages)
        pinned = self._pins.pins
        expected = {
            one.package_id: pinned[one.package_id].boost * one.total_bytes
            for one in packages
            if one.package_id in pinned and pinned[one.package_id].boost
        }
        sites = self._atlas.sites.values()
        pins = {site.id: self._pins.board.at(site.id, site.region) for site in sites}
        began_s = time.monotonic()
        boxes = []
        for record in records:
            boxes.append(self._box(record))
            await asyncio.sleep(0)  # viewers are not to wait for a fleet's holdings
        book = self._evidence.copy()

        def planned() -> dict[str, Choice]:
            regions = tuple(self._atlas.regions)
            return plan_fleet(
                packages,
                *book.of(packages, regions, expected, now_s),
                boxes,
                self._atlas,
                pins,
                self._choices,
                self._homes,
                share=self._settings.plan_share,
                nightly_share=self._settings.fill_nightly_share,
            )

        self._choices = await asyncio.to_thread(planned)
        self._made_of, self._made_for = made_of, asked
        self.revision += 1
        logger().info(
            "planned",
            packages=len(packages),
            appliances=len(records),
            seconds=round(time.monotonic() - began_s, 3),
        )

    def _asked(self) -> Hashable:
        """What people ask for. They want to see it in the plans at once."""
        return self._catalog.listing.revision, self._notices.purged(), self._pins.revision

    def _is_known(self, record: Record) -> bool:
        """What the appliance holds is known. After steering's own start that takes a moment, and
        who planned meanwhile would take its disks for empty."""
        empty = record.report.used_bytes == 0
        return empty or self._roster.shelves.get(record.report.appliance_id) is not None

    def _box(self, record: Record) -> Box:
        report = record.report
        shelf = self._roster.shelves.get(report.appliance_id)
        packages = {} if shelf is None else shelf.packages
        return Box(
            report.appliance_id,
            report.site,
            report.budget_bytes,
            report.capacity_bps,
            {
                package_id: frozenset(one for one, share in held.items() if share >= 1)
                for package_id, held in packages.items()
            },
        )

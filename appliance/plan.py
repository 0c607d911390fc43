"""Follows the plan: polls it, and brings what it wants onto the disk, in its order.

Outside the plan's window only urgent items are brought; a file that is on its way when the window
ends is finished. What is there already costs a look-up, at any hour: so after a restart all that is
missing is known at once, and a new plan begins where the last one was.

Viewers come first. While a file is on its way that somebody waits for, the plan has one file in
flight at most, whatever its concurrency: it hardly stands in the way, and never stands still, for
what it brings is what viewers would ask for next. And its bytes keep to the plan's rate, if there
is one; misses do not.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import aiohttp

from appliance.fill import Fills
from appliance.want import FileWant
from media.fill_window import zone
from media.fleet import Plan, PlanItem, PlanState
from media.inventory import INVENTORY_NAME, MAX_INVENTORY_BYTES, FileEntry, Package, rendition_of
from runtime.errors import Problem
from runtime.flow import Pace
from runtime.log import logger

_MAX_PLAN_BYTES = 32 * 1024 * 1024
_RETRY_S = (2.0, 20.0)  # doubled from one to the other: what does not fit now will hardly fit soon
_FIRST_S = 0.5  # between polls, until there is a plan: who has just reported has no peers without
_LOOK_S = 5.0  # at the clock, while the window is shut
_MOST_S = 5.0  # slept at a time for the sake of the rate, which another plan may change


@dataclass
class _Missing:
    """What an item still lacks; before its inventory is here a file, and what the plan says."""

    files: int
    bytes: int


class _Shut(Exception):
    """It is not the hour for this."""


class PlanFollower:
    """The newest plan of this appliance, and the filling of it. A new plan takes over at once, and
    what is lost of it is brought again."""

    def __init__(
        self,
        fills: Fills,
        concurrency: int,
        read: Callable[[FileWant], bytes],
        obey: Callable[[Plan], None],
        *,
        clock_s: Callable[[], float] = time.time,
        monotonic_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`read` gives a held file's bytes; `obey` hears of every new plan, before it is filled.
        `clock_s` tells Unix time, for the window; `monotonic_s` and `sleep` keep the rate."""
        self.plan: Plan | None = None
        self.state: PlanState = "none"
        self._fills = fills
        self._concurrency = concurrency
        self._read = read
        self._obey = obey
        self._clock_s = clock_s
        self._monotonic_s = monotonic_s
        self._sleep = sleep
        self._pace = Pace(None)
        self._flying = 0  # files of the plan
        self._renditions: dict[str, frozenset[str] | None] = {}  # wanted, by package; None: all
        self._missing: dict[str, _Missing] = {}  # by package
        self._lost = asyncio.Event()

    @property
    def missing_files(self) -> int:
        """Files that the plan wants and that are not held, as far as its packages are known."""
        return sum(missing.files for missing in self._missing.values())

    @property
    def missing_bytes(self) -> int:
        """Their bytes."""
        return sum(missing.bytes for missing in self._missing.values())

    @property
    def peers(self) -> tuple[str, ...]:
        """The appliances that the plan names to fill from."""
        return () if self.plan is None else tuple(peer.appliance_id for peer in self.plan.peers)

    def wants(self, key: str) -> bool:
        """The plan names the file `{package_id}/{path}`."""
        package_id, _, path = key.partition("/")
        if package_id not in self._renditions:
            return False
        wanted, rendition_id = self._renditions[package_id], rendition_of(path)
        return wanted is None or rendition_id is None or rendition_id in wanted

    def lost(self, key: str) -> None:
        """The file has left the cache; if the plan wants it, it is brought again."""
        if self.wants(key):
            self._lost.set()

    async def follow(
        self, session: aiohttp.ClientSession, url: str, authorize: Callable[[], str], poll_s: float
    ) -> None:
        """Polls `url` for ever; keeps to the last plan while steering is away."""
        filling: asyncio.Task[None] | None = None
        try:
            while True:
                try:
                    plan = await self._poll(session, url, authorize)
                except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                    logger().warning("plan_unknown", why=str(error))
                    plan = None
                if plan is not None:
                    if filling is not None:
                        filling.cancel()
                        await asyncio.gather(filling, return_exceptions=True)
                    self.adopt(plan)
                    filling = asyncio.create_task(self.keep_filled(plan), name="plan")
                await asyncio.sleep(poll_s if self.plan is not None else min(poll_s, _FIRST_S))
        finally:
            if filling is not None:
                filling.cancel()

    def adopt(self, plan: Plan) -> None:
        """This is the plan from now on."""
        before = self._missing if self.plan is not None else {}
        self.plan = plan
        self._renditions = {
            item.package_id: None if item.renditions is None else frozenset(item.renditions)
            for item in plan.items
        }
        self._missing = {
            item.package_id: before.get(item.package_id) or _Missing(1, item.bytes)
            for item in plan.items
        }
        self.state = "filling" if any(map(self._may_fill, plan.items)) else "waiting"
        rate = None if plan.rate_bps is None else plan.rate_bps / 8
        self._pace.set_rate(rate, self._monotonic_s())
        if plan.window is not None and zone(plan.window.timezone) is None:
            logger().error("time_zone_unknown", zone=plan.window.timezone, taken="UTC")
        self._obey(plan)

    async def _poll(
        self, session: aiohttp.ClientSession, url: str, authorize: Callable[[], str]
    ) -> Plan | None:
        """The plan, when it is another than the one followed."""
        headers = {"Authorization": f"Bearer {authorize()}"}
        if self.plan is not None:
            headers["If-None-Match"] = f'"{self.plan.version}"'
        async with session.get(url, headers=headers) as answer:
            if answer.status == 304:
                return None
            answer.raise_for_status()
            if (answer.content_length or 0) > _MAX_PLAN_BYTES:
                raise ValueError("the plan is too large")
            plan = Plan.model_validate_json(await answer.read())
        return plan if self.plan is None or plan.version != self.plan.version else None

    async def keep_filled(self, plan: Plan) -> None:
        """Fills every item, for ever: what failed is tried again, later each time, what may not be
        filled now when its window opens, and all is gone through again when something was lost."""
        left, pause_s = list(plan.items), _RETRY_S[0]
        while True:
            self._lost.clear()
            left, shut = await self._fill(left)
            self.state = "filling" if len(left) > len(shut) else "waiting" if shut else "filled"
            if not left:
                logger().info("plan_filled", version=plan.version, items=len(plan.items))
                await self._lost.wait()
            elif self.state == "waiting":
                await self._opens_or_loses(plan)
                pause_s = _RETRY_S[0]
            else:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _RETRY_S[1])
            if self._lost.is_set():
                left, pause_s = list(plan.items), _RETRY_S[0]
            self.state = "filling" if any(map(self._may_fill, left)) else self.state

    async def _fill(self, items: list[PlanItem]) -> tuple[list[PlanItem], list[PlanItem]]:
        """Goes through the items. Returns those that are left, and of these the ones that have to
        wait for the window."""
        left, shut = [], []
        for item in items:
            try:
                if not await self._filled(item):
                    left.append(item)
            except _Shut:
                left.append(item)
                shut.append(item)
            await asyncio.sleep(0)  # looking up may have taken no turn of the loop at all
        return left, shut

    async def _opens_or_loses(self, plan: Plan) -> None:
        """The window is open, or something was lost: of an urgent item, perhaps."""
        while not self._lost.is_set() and not self._is_open(plan):
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._lost.wait()
            except TimeoutError:
                pass

    def _is_open(self, plan: Plan) -> bool:
        return plan.window is None or plan.window.is_open(self._clock_s())

    def _may_fill(self, item: PlanItem) -> bool:
        assert self.plan is not None
        return item.urgent or self._is_open(self.plan)

    async def _filled(self, item: PlanItem) -> bool:
        """Fills the item. False if it has to be tried again. Raises _Shut."""
        try:
            await self._fill_item(item)
        except Problem as problem:
            if problem.code != "purged":
                logger().warning("plan_item_waits", package_id=item.package_id, code=problem.code)
                return False
            self._missing[item.package_id] = _Missing(0, 0)  # the plan is older than the purge
        except _Shut:
            raise
        except Exception:  # an inventory of another shape must not stop the rest
            logger().exception("plan_item_broken", package_id=item.package_id)
            return False
        return True

    async def _fill_item(self, item: PlanItem) -> None:
        first = FileWant(
            item.title_id,
            item.package_id,
            item.inventory_sha256,
            INVENTORY_NAME,
            item.inventory_sha256,
            None,
            MAX_INVENTORY_BYTES,
        )
        await self._fetch(item, first)
        package = Package.parse(self._read(first), item.inventory_sha256)
        for rendition in package.inventory.renditions:
            if item.renditions is None or rendition.rendition_id in item.renditions:
                listing = _want(item, rendition.file_list)
                await self._fetch(item, listing)
                package.add_file_list(rendition.rendition_id, self._read(listing))
        wanted = [e for e in package.entries() if self.wants(f"{item.package_id}/{e.path}")]
        missing = _Missing(len(wanted), sum(entry.bytes for entry in wanted))
        self._missing[item.package_id] = missing
        await self._fetch_all(item, iter(wanted), missing)

    async def _fetch_all(
        self, item: PlanItem, entries: Iterator[FileEntry], missing: _Missing
    ) -> None:
        """All are held. Raises, when all the others have been tried, the first Problem, or _Shut if
        some were not brought because it is not the hour."""
        problems: list[Problem] = []
        shut = False

        async def one_after_another() -> None:
            nonlocal shut
            for entry in entries:
                try:
                    await self._fetch(item, _want(item, entry))
                    missing.files -= 1
                    missing.bytes -= entry.bytes
                except Problem as problem:
                    problems.append(problem)
                except _Shut:
                    shut = True
                await asyncio.sleep(0)  # a file that is held takes no time, and others wait

        async with asyncio.TaskGroup() as group:
            for _ in range(self._concurrency):
                group.create_task(one_after_another())
        if problems:
            raise problems[0]
        if shut:
            raise _Shut

    async def _fetch(self, item: PlanItem, want: FileWant) -> None:
        """The file is held. Raises the fill's Problem, and _Shut."""
        if self._fills.holds(want):
            return
        await self._turn(item)
        self._flying += 1
        try:
            fill = self._fills.join(want, of_plan=True)
            if fill.of_plan and not fill.ended:
                self._pace.take(fill.size or 0, self._monotonic_s())
            await fill.wait()
            if fill.of_plan and want.size is None:  # an inventory's is known at its end
                self._pace.take(fill.size or 0, self._monotonic_s())
        finally:
            self._flying -= 1

    async def _turn(self, item: PlanItem) -> None:
        """A file of the item may be brought now. Raises _Shut."""
        while True:
            if not self._may_fill(item):
                raise _Shut
            wait_s = self._pace.wait_s(self._monotonic_s())
            if wait_s > 0:
                await self._sleep(min(wait_s, _MOST_S))
            elif self._flying > 0 and self._fills.awaited:
                await self._fills.one_ends()
            else:
                return


def _want(item: PlanItem, entry: FileEntry) -> FileWant:
    return FileWant(
        item.title_id,
        item.package_id,
        item.inventory_sha256,
        entry.path,
        entry.sha256,
        entry.bytes,
        entry.bytes,
    )

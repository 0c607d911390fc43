"""Follows the plan: polls it, and brings what it wants onto the disk, in its order."""

import asyncio
from collections.abc import Callable, Iterator

import aiohttp

from appliance.fill import Fills
from appliance.want import FileWant
from media.fleet import Plan, PlanItem
from media.inventory import INVENTORY_NAME, MAX_INVENTORY_BYTES, FileEntry, Package, rendition_of
from runtime.errors import Problem
from runtime.log import logger

_MAX_PLAN_BYTES = 32 * 1024 * 1024
_RETRY_S = (2.0, 20.0)  # doubled from one to the other: what does not fit now will hardly fit soon


class PlanFollower:
    """The newest plan of this appliance, and the filling of it. A new plan takes over at once, and
    what is lost of it is brought again."""

    def __init__(
        self,
        fills: Fills,
        concurrency: int,
        read: Callable[[FileWant], bytes],
        obey: Callable[[Plan], None],
    ) -> None:
        """`read` gives a held file's bytes; `obey` hears of every new plan, before it is filled."""
        self.plan: Plan | None = None
        self._fills = fills
        self._concurrency = concurrency
        self._read = read
        self._obey = obey
        self._renditions: dict[str, frozenset[str] | None] = {}  # wanted, by package; None: all
        self._missing: dict[str, int] = {}  # files by package; 1 before its inventory is known
        self._lost = asyncio.Event()

    @property
    def missing_files(self) -> int:
        """Files that the plan wants and that are not held, as far as its packages are known."""
        return sum(self._missing.values())

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
                await asyncio.sleep(poll_s)
        finally:
            if filling is not None:
                filling.cancel()

    def adopt(self, plan: Plan) -> None:
        """This is the plan from now on."""
        self.plan = plan
        self._renditions = {
            item.package_id: None if item.renditions is None else frozenset(item.renditions)
            for item in plan.items
        }
        self._missing = dict.fromkeys(self._renditions, 1)
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
        """Fills every item, for ever: what failed is tried again, later each time, and all is gone
        through again when something was lost."""
        left, pause_s = list(plan.items), _RETRY_S[0]
        while True:
            self._lost.clear()
            left = [item for item in left if not await self._filled(item)]
            if left:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _RETRY_S[1])
            else:
                logger().info("plan_filled", version=plan.version, items=len(plan.items))
                await self._lost.wait()
            if self._lost.is_set():
                left, pause_s = list(plan.items), _RETRY_S[0]

    async def _filled(self, item: PlanItem) -> bool:
        """Fills the item. False if it has to be tried again."""
        try:
            await self._fill_item(item)
        except Problem as problem:
            if problem.code != "purged":
                logger().warning("plan_item_waits", package_id=item.package_id, code=problem.code)
                return False
            self._missing[item.package_id] = 0  # the plan is older than the purge
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
        await self._fetch(first)
        package = Package.parse(self._read(first), item.inventory_sha256)
        for rendition in package.inventory.renditions:
            if item.renditions is None or rendition.rendition_id in item.renditions:
                listing = _want(item, rendition.file_list)
                await self._fetch(listing)
                package.add_file_list(rendition.rendition_id, self._read(listing))
        wanted = [e for e in package.entries() if self.wants(f"{item.package_id}/{e.path}")]
        self._missing[item.package_id] = len(wanted)
        await self._fetch_all(item, iter(wanted))

    async def _fetch_all(self, item: PlanItem, entries: Iterator[FileEntry]) -> None:
        """All are held. Raises the first Problem, when all the others have been tried."""
        problems: list[Problem] = []

        async def one_after_another() -> None:
            for entry in entries:
                try:
                    await self._fetch(_want(item, entry))
                    self._missing[item.package_id] -= 1
                except Problem as problem:
                    problems.append(problem)
                await asyncio.sleep(0)  # a file that is held takes no time, and others wait

        async with asyncio.TaskGroup() as group:
            for _ in range(self._concurrency):
                group.create_task(one_after_another())
        if problems:
            raise problems[0]

    async def _fetch(self, want: FileWant) -> None:
        await self._fills.join(want).wait()


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

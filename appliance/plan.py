"""Follows the plan: polls it, and brings what it wants onto the disk, in its order."""

import asyncio
from collections.abc import Callable

import aiohttp

from appliance.fill import Fills
from appliance.gate import FileWant
from media.fleet import Plan, PlanItem
from media.inventory import INVENTORY_NAME, MAX_INVENTORY_BYTES, FileEntry, Package
from runtime.errors import Problem
from runtime.log import logger

_MAX_PLAN_BYTES = 32 * 1024 * 1024
_RETRY_S = 2.0


class PlanFollower:
    """The newest plan of this appliance, and the filling of it. A new plan takes over at once."""

    def __init__(
        self,
        fills: Fills,
        concurrency: int,
        read: Callable[[FileWant], bytes],
        obey: Callable[[Plan], None],
    ) -> None:
        """`read` gives a held file's bytes; `obey` hears of every new plan, before it is filled."""
        self.plan: Plan | None = None
        self.missing_files = 0
        self._fills = fills
        self._slots = asyncio.Semaphore(concurrency)
        self._read = read
        self._obey = obey

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
                    self.plan = plan
                    self._obey(plan)
                    if filling is not None:
                        filling.cancel()
                    filling = asyncio.create_task(self._fill_until_done(plan), name="plan")
                await asyncio.sleep(poll_s)
        finally:
            if filling is not None:
                filling.cancel()

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

    async def _fill_until_done(self, plan: Plan) -> None:
        """Fills every item; what failed is tried again, until nothing is missing."""
        left = list(plan.items)
        while left:
            failed = []
            for item in left:
                try:
                    await self._fill_item(item)
                except Problem as problem:
                    logger().warning(
                        "plan_item_waits", package_id=item.package_id, code=problem.code
                    )
                    failed.append(item)
                except Exception:  # an inventory of another shape must not stop the rest
                    logger().exception("plan_item_broken", package_id=item.package_id)
            left = failed
            if left:
                await asyncio.sleep(_RETRY_S)
        self.missing_files = 0
        logger().info("plan_filled", version=plan.version, items=len(plan.items))

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
        wanted = [
            rendition
            for rendition in package.inventory.renditions
            if item.renditions is None or rendition.rendition_id in item.renditions
        ]
        files: list[FileEntry] = list(package.inventory.files)
        for rendition in wanted:
            listing = _want(item, rendition.file_list)
            await self._fetch(listing)
            package.add_file_list(rendition.rendition_id, self._read(listing))
        prefixes = tuple(f"{rendition.rendition_id}/" for rendition in wanted)
        files += [e for e in package.entries() if e.path.startswith(prefixes)]
        self.missing_files = len(files)
        results = await asyncio.gather(
            *(self._fetch(_want(item, entry)) for entry in files), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _fetch(self, want: FileWant) -> None:
        async with self._slots:
            await self._fills.join(want, pinned=True).wait()
        self.missing_files -= 1


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

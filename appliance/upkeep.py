"""What the cache does beside serving: finding again what an earlier run left, getting new files
onto the disk, trying folders that failed, scrubbing."""

import asyncio
import secrets
from collections.abc import Sequence
from itertools import islice

from appliance.cache import Cache
from appliance.scrub import Scrubber
from appliance.shelf import Found
from appliance.stock import Stock
from runtime.log import logger

SYNC_S = 5.0  # what a power cut may cost is what was filled in this time
RETRY_S = 10.0  # until a failed folder is tried again
_FOUND_AT_ONCE = 500  # 2 ms of the keeper's time
_SETTLED_AT_ONCE = 64
_STAMPS_S = 600.0  # how exactly a restart knows when a package was last used


class Upkeep:
    """The background of one cache. `run` is for ever; the steps are there to be called alone."""

    def __init__(self, cache: Cache, scrubber: Scrubber, retry_s: float = RETRY_S) -> None:
        self._cache = cache
        self._scrubber = scrubber
        self._retry_s = retry_s
        self._forgotten: set[int] = set()  # folders out of service, of which the index is rid
        self._syncs = [asyncio.Lock() for _ in cache.stocks]  # a sync knows which files are its own

    async def run(self) -> None:
        """Returns never; what goes wrong with a disk is the folder's matter."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.find_all(), name="find")
            for stock in self._cache.stocks:
                group.create_task(self._sync(stock), name=f"sync {stock.shelf.number}")
                group.create_task(self._revive(stock), name=f"revive {stock.shelf.number}")
            group.create_task(self._stamp(), name="stamp")
            group.create_task(self._scrubber.run(), name="scrub")

    async def find_all(self) -> None:
        """All that earlier runs left is held, and new files of another boot are verified."""
        await asyncio.gather(
            *(self.find(stock) for stock in self._cache.stocks if stock.in_service)
        )

    async def find(self, stock: Stock) -> None:
        """The same for one folder. It is served from at once; this only learns what is there."""
        opening = stock.openings
        if not stock.scanning:
            return
        try:
            right, wrong = await stock.shelf.off_loop(stock.shelf.clear_suspects)
            if right or wrong:
                logger().info("suspects_verified", right=right, wrong=wrong)
            walk = stock.shelf.walk(_FOUND_AT_ONCE)
            empty: Sequence[Found] | None = None
            while True:
                batch = await stock.shelf.off_loop(next, walk, empty)
                if stock.openings != opening or not stock.in_service:
                    return
                if batch is None:
                    break
                self._cache.adopt(stock, batch)
            self._cache.found_all(stock)
        except OSError as error:
            self._cache.failed(stock, error)
            return
        logger().info("found_again", folder=str(stock.shelf.folder), files=len(self._cache))

    async def sync(self, *, settle: bool = True) -> None:
        """All files that are held now are on their disks. They are in their final places, too, or,
        without `settle`, will be the next time: a worker may just have been told where a file is,
        and should find it there."""
        await asyncio.gather(*(self._sync_stock(stock, settle) for stock in self._cache.stocks))

    async def _sync_stock(self, stock: Stock, settle: bool) -> None:
        async with self._syncs[stock.shelf.number]:
            await self._sync_alone(stock, settle)

    async def _sync_alone(self, stock: Stock, settle: bool) -> None:
        try:
            await self._settle(stock)
            if stock.fresh:
                stock.syncing, stock.fresh = stock.fresh, set()
                await stock.shelf.off_loop(stock.shelf.sync)
                stock.synced |= stock.syncing
                stock.syncing = set()
            if settle:
                await self._settle(stock)
        except OSError as error:
            self._cache.failed(stock, error)
        finally:  # what was not done is for the next time, in `close` at the latest
            stock.fresh |= stock.syncing
            stock.syncing = set()

    async def _settle(self, stock: Stock) -> None:
        while stock.synced:
            self._cache.settle(stock, list(islice(stock.synced, _SETTLED_AT_ONCE)))
            await asyncio.sleep(0)

    async def revive(self) -> None:
        """Folders out of service that take files again are back; what was new in them when they
        failed is verified first."""
        await asyncio.gather(*(self._revive_stock(stock) for stock in self._cache.stocks))

    async def _revive_stock(self, stock: Stock) -> None:
        if stock.in_service:
            return
        shelf = stock.shelf
        try:
            await self._forget_stock(stock)
            await shelf.off_loop(shelf.probe)
            await shelf.off_loop(shelf.suspect_new, f"failed-{secrets.token_hex(8)}")
        except OSError as error:
            logger().warning("cache_folder_still_out", why=error.strerror or str(error))
            return
        self._forgotten.discard(shelf.number)
        self._cache.open_stock(stock)
        if stock.in_service:
            logger().info("cache_folder_back", folder=str(shelf.folder))
            self._cache.returned()
            await self.find(stock)

    async def forget(self) -> None:
        """The index is rid of folders that went out of service."""
        await asyncio.gather(*(self._forget_stock(stock) for stock in self._cache.stocks))

    async def _forget_stock(self, stock: Stock) -> None:
        if not stock.in_service and stock.shelf.number not in self._forgotten:
            self._forgotten.add(stock.shelf.number)
            await self._cache.forget_folder(stock)

    async def close(self) -> None:
        """Everything is on the disk, and the next start knows how much there is."""
        await self._cache.close()
        await self.sync()
        for stock in self._cache.stocks:
            if stock.in_service:
                held = stock.ration.used_bytes + stock.unknown_bytes
                try:
                    await stock.shelf.off_loop(stock.shelf.stop, held)
                except OSError as error:
                    logger().warning("cache_not_closed", why=error.strerror or str(error))

    # Folder by folder: a disk that hangs holds up no other.

    async def _sync(self, stock: Stock) -> None:
        while True:
            await asyncio.sleep(SYNC_S)
            await self._sync_stock(stock, settle=False)

    async def _revive(self, stock: Stock) -> None:
        while True:
            await stock.upset.wait()
            stock.upset.clear()
            await self._forget_stock(stock)
            while not stock.in_service:
                await asyncio.sleep(self._retry_s)
                await self._revive_stock(stock)

    async def _stamp(self) -> None:
        while True:
            await asyncio.sleep(_STAMPS_S)
            self._cache.forget_stamps()

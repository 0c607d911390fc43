"""The cache: which files are held, in which folder, and what leaves for what comes.

Only the keeper has one. Workers look at the folders themselves (appliance/folders.py), and hear on
the board which files were unlinked and which folders are out of service. How files lie on a disk,
and what is left after a crash, is the matter of appliance/shelf.py; what goes on in the background,
of appliance/upkeep.py.

The budget is kept folder by folder. Files leave ahead of need, in batches, so that a fill finds
room at once; only when the slack is used up does it evict for itself, and wait for the workers to
let go. (An answer that is being sent keeps its file to its end, unlinked and uncounted.)
"""

import asyncio
import os
import secrets
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from appliance.board import Board
from appliance.book import Book
from appliance.evict import Admission, PolicyName
from appliance.folders import Folders
from appliance.index import FRESH, NIL
from appliance.shelf import Found, Shelf
from appliance.stock import Stock
from runtime.errors import Problem
from runtime.log import logger

_LETTING_GO_S = 5.0  # a worker acknowledges within its tick, 0.25 s; then it is not coming
_EVICTED_AT_ONCE = 64  # then others have their turn; an unlink takes up to 0.3 ms


@dataclass
class Landing:
    """A file on its way in, with its bytes reserved. `descriptor` is open for writing."""

    key: str
    size: int
    path: str
    descriptor: int
    stock: Stock
    opening: int  # of the stock, when it began


class Cache(Book):
    """The files of all folders, and their coming and going."""

    def __init__(
        self,
        folders: Folders,
        board: Board,
        policy: PolicyName = "lru",
        admission: Admission = "all",
    ) -> None:
        super().__init__(folders, policy, admission)
        self.evictions = 0
        self.scrubbed_bytes = 0
        self.corrupt_files = 0
        self.disk_ok = True  # the last write was taken
        # A folder is back in service; what was purged meanwhile may be on it.
        self.returned: Callable[[], None] = lambda: None
        self._board = board
        self._leaving: dict[str, asyncio.Event] = {}  # keys that a thread is unlinking
        self._sweeping: set[int] = set()  # folders
        self._tasks: set[asyncio.Task[None]] = set()
        # A worker that was asleep may hear an earlier keeper's last words: no name comes twice.
        self._boot = secrets.token_hex(8)
        self._number = 0

    def open(self) -> None:
        """Files can be brought and served. What an earlier run held counts already; it is found
        one by one by `find`."""
        for stock in self.stocks:
            self.open_stock(stock)

    def open_stock(self, stock: Stock) -> None:
        """The folder is in service, or out of it with the reason."""
        try:
            left_bytes = stock.shelf.open()
        except OSError as error:
            self.take_out(stock, error.strerror or str(error))
            return
        stock.trouble = ""
        stock.openings += 1
        stock.unknown_bytes = min(left_bytes, stock.budget_bytes)
        stock.scanning = left_bytes > 0
        stock.promised_bytes = left_bytes
        self._tell_folders()

    @property
    def used_bytes(self) -> int:
        """Held, landing, not found yet, and unlinked but perhaps still open."""
        acked = self._board.acked()
        return sum(stock.used_bytes(acked) for stock in self.stocks if stock.in_service)

    def holds(self, key: str, size: int | None) -> bool:
        """The file is held, and stands on the disk with all its bytes. One that does not is
        forgotten: someone has been at the folder, and it has to be brought again. One of an
        earlier run that was not found yet is found."""
        slot = self.find(key)
        if slot == NIL:
            return self._look(key, size)
        try:
            on_disk = self.path(key).stat().st_size
        except OSError:
            on_disk = -1
        if on_disk == self.index.sizes[slot] and size in (None, on_disk):
            return True
        logger().error("file_damaged", file=key, bytes=on_disk)
        self.remove([key])
        return False

    # What comes.

    async def begin(self, key: str, size: int) -> Landing:
        """Room for the file, evicting others, in the first of its folders that can have it. Raises
        Problem `cache_full` or `disk_full`."""
        self.check_fits(size)
        await self._has_gone(key)
        problem = Problem("cache_full", retry_after_s=2)
        for number in self.folders.places(key):
            stock = self.stocks[number]
            if size <= stock.room_bytes:
                try:
                    return await self._begin(stock, key, size)
                except Problem as refused:
                    problem = refused
        raise problem

    async def _has_gone(self, key: str) -> None:
        """No thread is unlinking what was held under this name."""
        while (leaving := self._leaving.get(key)) is not None:
            await leaving.wait()

    async def _begin(self, stock: Stock, key: str, size: int) -> Landing:
        stock.landing_bytes += size  # at once: fills that make room at the same time share none
        self._number += 1
        name = f"{self._boot}-{self._number}"
        try:
            await self._make_room(stock, size)
            path, descriptor = stock.shelf.land(name, key, size)
        except BaseException as error:
            stock.landing_bytes -= size
            if isinstance(error, OSError):
                raise self.failed(stock, error) from error
            raise
        return Landing(key, size, path, descriptor, stock, stock.openings)

    async def _make_room(self, stock: Stock, size: int) -> None:
        """What is held and reserved is within the budget, what had to leave for it has gone, and
        the disk has the space."""
        over = stock.claimed_bytes - stock.budget_bytes
        if over > stock.ration.evictable_bytes:
            raise Problem("cache_full", retry_after_s=2)  # others are landing; nothing need leave
        short = not stock.shelf.has_room(size)  # somebody else uses the disk, too
        if short or over > 0:
            self.evict(stock, max(over, size if short else 0))
        if stock.excess_bytes() > 0:
            self._sweep_soon(stock)
        if stock.claimed_bytes > stock.promised_bytes:
            self._promise(stock)
        await self._let_go(stock, size, self._board.epoch if short else 0)

    def _promise(self, stock: Stock) -> None:
        stock.promised_bytes = stock.claimed_bytes + stock.slack_bytes
        stock.shelf.promise(stock.promised_bytes)

    async def _let_go(self, stock: Stock, size: int, epoch: int) -> None:
        """What left has gone, so that the file may land, and all that was unlinked by the epoch."""
        stock.waiting_bytes += size
        if not self._must_wait(stock, size, epoch):
            stock.waiting_bytes -= size
            return
        try:
            async with asyncio.timeout(_LETTING_GO_S):
                # Words in memory ring no bell.
                while self._must_wait(stock, size, epoch):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        except TimeoutError:  # a worker hangs, and what it may hold open still counts
            if self._must_wait(stock, size, 0):
                raise Problem("cache_full", retry_after_s=2) from None
        finally:
            stock.waiting_bytes -= size

    def _must_wait(self, stock: Stock, size: int, epoch: int) -> bool:
        acked = self._board.acked()
        return stock.used_bytes(acked) + size > stock.budget_bytes or acked < epoch

    def write(self, landing: Landing, data: bytes | bytearray | memoryview, offset: int) -> None:
        """The bytes are in the landing file. Raises Problem `disk_full`."""
        view = memoryview(data)
        while view:
            try:
                written = os.pwrite(landing.descriptor, view, offset)
            except OSError as error:
                raise self.failed(landing.stock, error) from error
            view = view[written:]
            offset += written

    async def commit(self, landing: Landing, sha256: str) -> None:
        """The file, whose digest is right, is held. After a power cut it is whole or gone. Raises
        Problem `disk_full`."""
        stock = landing.stock
        await self._has_gone(landing.key)  # it was found, and evicted, while it came
        if not stock.in_service or stock.openings != landing.opening:
            raise Problem("disk_full", "The cache folder went out of service.")
        if landing.key in self:
            self.remove([landing.key])
        try:
            stock.shelf.place(landing.path, landing.descriptor, landing.key, bytes.fromhex(sha256))
        except FileNotFoundError:  # with its package, which is being removed
            raise Problem("unavailable", "It was removed while it came.", retry_after_s=1) from None
        except OSError as error:
            raise self.failed(stock, error) from error
        stock.wrote()
        self.disk_ok = True
        os.close(landing.descriptor)
        landing.descriptor = -1
        stock.landing_bytes -= landing.size
        self.forget_copy(landing.key)
        slot = self.index.add(landing.key, landing.size, stock.shelf.number)
        self.index.flags[slot] |= FRESH
        stock.fresh.add(slot)
        self.insert(stock, slot, landing.key, found=False)
        self.touch_lists(landing.key)
        self.changed(landing.key, True)

    def abandon(self, landing: Landing) -> None:
        """Nothing of the file is left. Does nothing after a commit."""
        if landing.descriptor < 0:
            return
        os.close(landing.descriptor)
        landing.descriptor = -1
        with suppress(OSError):  # gone with its folder, or when that is opened again
            Path(landing.path).unlink()
        landing.stock.landing_bytes -= landing.size

    # What leaves.

    def remove(self, keys: Iterable[str]) -> int:
        """The files are unlinked. Returns the epoch after which no worker serves them. One that
        cannot be unlinked is still held, if its folder is still in service."""
        slots = [slot for slot in dict.fromkeys(map(self.find, keys)) if slot != NIL]
        for slot in slots:
            self.stock_of(slot).ration.remove(slot)
        return self._unlink(slots)

    def evict(self, stock: Stock, bytes_to_free: int) -> None:
        """So many bytes of the folder's files are unlinked, or all that may leave."""
        slots = stock.ration.victims(bytes_to_free, len(self.index))
        self.evictions += len(slots)
        self._unlink(slots)

    def _unlink(self, slots: list[int]) -> int:
        """They count in no ration any more."""
        inodes: list[int] = []
        freed = []
        for slot in slots:
            stock, size = self.stock_of(slot), self.index.sizes[slot]
            gone, stuck, error = _unlink_all(stock.shelf, [self._give_up(stock, slot)])
            inodes += gone
            freed.append((stock, size - self._keep(stock, stuck, error)))
        epoch = self._board.announce(inodes)
        for stock, size in freed:
            stock.unlinked(epoch, size)
        return epoch

    def _give_up(self, stock: Stock, slot: int) -> Found:
        size = self.index.sizes[slot]
        key, fresh = self.give_up(stock, slot)
        return Found(key, size, fresh)

    def _keep(self, stock: Stock, stuck: list[Found], error: OSError | None) -> int:
        """Files that could not be unlinked for this reason are held again, or the folder is out of
        service. Returns the bytes that are held."""
        if error is not None:
            self.failed(stock, error)
        if not stock.in_service:
            return 0
        stays = [file for file in stuck if self.index.find(file.key) == NIL]
        for file in stays:
            stock.leave(-file.size)
            self._know(stock, file)
        return sum(file.size for file in stays)

    def _sweep_soon(self, stock: Stock) -> None:
        number = stock.shelf.number
        if number not in self._sweeping:
            self._sweeping.add(number)
            self._background(f"evict {number}", self._sweep(stock))

    async def _sweep(self, stock: Stock) -> None:
        """Evicts ahead of need, off the loop."""
        left = stock.excess_bytes()
        try:
            while left > 0 and stock.in_service:
                slots = stock.ration.victims(left, _EVICTED_AT_ONCE)
                if not slots:
                    return
                left -= await self._unlink_off_loop(stock, slots)
        finally:
            self._sweeping.discard(stock.shelf.number)

    async def _unlink_off_loop(self, stock: Stock, slots: list[int]) -> int:
        """Returns the bytes that are gone. A key that is leaving cannot come meanwhile."""
        size = sum(self.index.sizes[slot] for slot in slots)
        files = [self._give_up(stock, slot) for slot in slots]
        self.evictions += len(files)
        gone = asyncio.Event()
        self._leaving |= dict.fromkeys((file.key for file in files), gone)
        try:
            inodes, stuck, error = await stock.shelf.off_loop(_unlink_all, stock.shelf, files)
        finally:
            for file in files:
                self._leaving.pop(file.key, None)
            gone.set()
        kept = self._keep(stock, stuck, error)
        stock.unlinked(self._board.announce(inodes), size - kept)
        return size

    def _background(self, name: str, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """What was leaving has left."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What an earlier run left; called by Upkeep.

    def adopt(self, stock: Stock, files: Iterable[Found]) -> None:
        """Files that stand in the folder are held. Second copies are unlinked."""
        for file in files:
            if self._has_left(stock, file):
                continue
            if file.key in self._leaving:  # and so do all its copies
                self._unlink_copy(stock, file)
                continue
            slot = self.find(file.key)
            if slot == NIL:
                self.forget_copy(file.key)
                stock.found(file.size)
                self._know(stock, file)
            elif not (
                self.index.shelf[slot] == stock.shelf.number
                and bool(self.index.flags[slot] & FRESH) == file.fresh
            ):
                self._unlink_copy(stock, file)
                stock.found(file.size)

    def _know(self, stock: Stock, file: Found) -> None:
        """The file, which stands in the folder, is held."""
        slot = self.index.add(file.key, file.size, stock.shelf.number)
        if file.fresh:
            self.index.flags[slot] |= FRESH
            stock.fresh.add(slot)
        self.insert(stock, slot, file.key, found=True)
        self.changed(file.key, True)

    def _unlink_copy(self, stock: Stock, file: Found) -> None:
        inode = stock.shelf.unlink(file.key, fresh=file.fresh)
        self._board.announce([] if inode is None else [inode])

    def _has_left(self, stock: Stock, file: Found) -> bool:
        """The scan saw the file, and it was removed before we heard of it."""
        return (
            file.key in stock.missed and not stock.shelf.path(file.key, fresh=file.fresh).exists()
        )

    def found_all(self, stock: Stock) -> None:
        """Nothing of an earlier run is left to be found in the folder. Raises OSError."""
        stock.scanning = False
        stock.unknown_bytes = 0
        stock.missed.clear()
        over = stock.claimed_bytes - stock.budget_bytes
        if over > 0:  # the budget is smaller than it was
            self.evict(stock, over)
        self._promise(stock)

    def _look(self, key: str, size: int | None) -> bool:
        """The file was not found yet, and is there."""
        for stock in self.stocks:
            if not (stock.scanning and stock.in_service) or key in self._leaving:
                continue
            for fresh in (True, False):
                with suppress(OSError):
                    on_disk = stock.shelf.path(key, fresh=fresh).stat().st_size
                    if size in (None, on_disk):
                        self.adopt(stock, [Found(key, on_disk, fresh)])
                        return key in self
                    stock.shelf.unlink(key, fresh=fresh)
        return False

    def settle(self, stock: Stock, slots: Iterable[int]) -> None:
        """Files that have been synced are in their final places."""
        left: dict[str, None] = {}
        for slot in slots:
            key = self.index.key(slot)
            try:
                left[stock.shelf.settle(key)] = None
                self.index.flags[slot] &= ~FRESH
            except FileNotFoundError:  # someone has been at the folder
                self.remove([key])
            stock.synced.discard(slot)
        stock.shelf.tidy(left)

    # When a folder fails.

    def failed(self, stock: Stock, error: OSError) -> Problem:
        """The folder is out of service if the error says so. Returns what to tell who waits."""
        self.disk_ok = False
        why = stock.blame(error)
        if why and stock.in_service:
            self.take_out(stock, why)
        elif stock.in_service and stock.is_full:
            self.evict(stock, stock.slack_bytes)
        return Problem("disk_full", f"The cache disk takes no writes: {error.strerror or error}.")

    def take_out(self, stock: Stock, why: str) -> None:
        """Nothing is served from the folder, and nothing goes there; `forget_folder` has to
        follow."""
        logger().error("cache_folder_out", folder=str(stock.shelf.folder), why=why)
        stock.trouble = why
        stock.empty(self.new_ration(self.folders.shares[stock.shelf.number]))
        self._tell_folders()
        stock.upset.set()

    def _tell_folders(self) -> None:
        bits = sum(1 << s.shelf.number for s in self.stocks if not s.in_service)
        if bits != self._board.folders_out:
            self._board.folders_out = bits
            self._board.advance()


def _unlink_all(shelf: Shelf, files: list[Found]) -> tuple[list[int], list[Found], OSError | None]:
    """The inodes of those that are gone, the others, and what hindered the last of them."""
    inodes, stuck, hindrance = [], [], None
    for file in files:
        try:
            inode = shelf.unlink(file.key, fresh=file.fresh)
        except OSError as error:
            stuck.append(file)
            hindrance = error
        else:
            if inode is not None:
                inodes.append(inode)
    return inodes, stuck, hindrance

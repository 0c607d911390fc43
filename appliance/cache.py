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
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from appliance.board import Board
from appliance.evict import Admission, PolicyName, Ration, make_policy
from appliance.folders import Folders, FolderShare
from appliance.index import FRESH, NIL, Index
from appliance.shelf import Found, Shelf
from appliance.stock import Stock
from media.inventory import FILE_LIST_NAME, INVENTORY_NAME
from runtime.errors import Problem
from runtime.log import logger

_LETTING_GO_S = 5.0  # a worker acknowledges within its tick, 0.25 s; then it is not coming
_EVICTED_AT_ONCE = 64  # then others have their turn; an unlink takes up to 0.3 ms
_FORGOTTEN_AT_ONCE = 500
_TROUBLE_CHARS = 100  # a report's bottleneck is a line


@dataclass
class Landing:
    """A file on its way in, with its bytes reserved. `descriptor` is open for writing."""

    key: str
    size: int
    path: Path
    descriptor: int
    stock: Stock
    opening: int  # of the stock, when it began


class Cache:
    """The files of all folders."""

    def __init__(
        self,
        folders: Folders,
        board: Board,
        policy: PolicyName = "lru",
        admission: Admission = "all",
    ) -> None:
        self.folders = folders
        self.evictions = 0
        self.disk_ok = True  # the last write was taken
        # `changed` hears of each file once when it comes and once when it goes.
        self.changed: Callable[[str, bool], None] = lambda key, held: None
        self.wanted: Callable[[str], bool] = lambda key: False  # the plan's word: held is pinned
        self.returned: Callable[[], None] = lambda: (
            None
        )  # a folder is back; purged files may be, too
        self.upset = asyncio.Event()  # a folder went out of service
        self._board = board
        self._policy, self._admission = policy, admission
        self._index = Index()
        self.stocks = [
            Stock(Shelf(self.folders, number), self._new_ration(share), share.budget_bytes)
            for number, share in enumerate(self.folders.shares)
        ]
        self._leaving: dict[str, asyncio.Event] = {}  # keys that a thread is unlinking
        self._sweeps: dict[int, asyncio.Task[None]] = {}
        self._stamped: set[str] = set()
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

    def _new_ration(self, share: FolderShare) -> Ration:
        policy = make_policy(self._policy, self._admission, self._index, share.budget_bytes)
        return Ration(self._index, policy)

    # What is held.

    @property
    def budget_bytes(self) -> int:
        """Of all folders in service."""
        return sum(stock.budget_bytes for stock in self.stocks if stock.in_service)

    @property
    def used_bytes(self) -> int:
        """Held, landing, not found yet, and unlinked but perhaps still open."""
        acked = self._board.acked()
        return sum(stock.used_bytes(acked) for stock in self.stocks if stock.in_service)

    @property
    def pinned_bytes(self) -> int:
        """What cannot be evicted."""
        return sum(stock.ration.pinned_bytes for stock in self.stocks if stock.in_service)

    @property
    def trouble(self) -> str:
        """Which folder is out of service, and why; empty: none is."""
        out = [stock for stock in self.stocks if not stock.in_service]
        if not out:
            return ""
        said = f"cache folder {out[0].shelf.folder}: {out[0].trouble}"
        more = f", and {len(out) - 1} more" if len(out) > 1 else ""
        return f"{said[: _TROUBLE_CHARS - len(more)]}{more}"

    @property
    def out(self) -> bool:
        """No folder is in service."""
        return not any(stock.in_service for stock in self.stocks)

    def __contains__(self, key: str) -> bool:
        return self._find(key) != NIL

    def __iter__(self) -> Iterator[str]:
        """The keys of everything held."""
        return (key for key in self._index if key in self)

    def __len__(self) -> int:
        """Of folders that just went out of service some may be counted for a moment."""
        return len(self._index)

    def directories(self) -> Iterator[list[str]]:
        """The keys of everything held, directory by directory, each as it is when asked for."""
        for directory in self._index.directories():
            yield [f"{directory.path}/{name}" for name in directory.slots]

    def holds(self, key: str, size: int | None) -> bool:
        """The file is held, and stands on the disk with all its bytes. One that does not is
        forgotten: someone has been at the folder, and it has to be brought again. One of an
        earlier run that was not found yet is found."""
        slot = self._find(key)
        if slot == NIL:
            return self._look(key, size)
        try:
            on_disk = self.path(key).stat().st_size
        except OSError:
            on_disk = -1
        if on_disk == self._index.sizes[slot] and size in (None, on_disk):
            return True
        logger().error("file_damaged", file=key, bytes=on_disk)
        self.remove([key])
        return False

    def path(self, key: str) -> Path:
        """Where a held file is now; it may move while it is new: `Folders.paths` tells whereto."""
        slot = self._find(key)
        if slot == NIL:
            return Path(self.folders.final(self.folders.places(key)[0], key))
        fresh = bool(self._index.flags[slot] & FRESH)
        return self._stock(slot).shelf.path(key, fresh=fresh)

    def touch(self, key: str) -> None:
        """The file was served: it is used, and so are the lists without which it could not be."""
        self._use(key)
        self._touch_lists(key)

    def _touch_lists(self, key: str) -> None:
        package_id, _, path = key.partition("/")
        folder = path.rpartition("/")[0]
        self._use(f"{package_id}/{folder}/{FILE_LIST_NAME}")
        self._use(f"{package_id}/{INVENTORY_NAME}")
        if package_id not in self._stamped:
            self._stamped.add(package_id)
            for stock in self.stocks:
                if stock.in_service:
                    stock.shelf.stamp(package_id)

    def forget_stamps(self) -> None:
        """The next use of each package is noted on the disk again."""
        self._stamped.clear()

    def _use(self, key: str) -> None:
        slot = self._find(key)
        if slot != NIL:
            self._stock(slot).ration.touch(slot)

    def pin(self, key: str, pinned: bool) -> None:
        """The plan holds the file, or no longer does."""
        slot = self._find(key)
        if slot != NIL:
            self._stock(slot).ration.pin(slot, pinned)
            directory = self._index.directory(slot)
            if directory.pinned is not pinned:
                directory.pinned = None

    def pin_wanted(self) -> None:
        """Pinned are exactly the files that are `wanted`; whose plan did not change costs nothing.
        All files of a directory belong to one rendition, or to none, so they are wanted alike."""
        for directory in self._index.directories():
            verdict = self.wanted(f"{directory.path}/{INVENTORY_NAME}")
            if directory.pinned is not verdict:
                for slot in directory.slots.values():
                    if self._stock(slot).in_service:
                        self._stock(slot).ration.pin(slot, verdict)
                directory.pinned = verdict

    # What comes.

    async def begin(self, key: str, size: int) -> Landing:
        """Room for the file, evicting others, in the first of its folders that can have it. Raises
        Problem `cache_full` or `disk_full`."""
        self.check_fits(size)
        if (leaving := self._leaving.get(key)) is not None:
            await leaving.wait()
        problem = Problem("cache_full", retry_after_s=2)
        for number in self.folders.places(key):
            stock = self.stocks[number]
            if size <= stock.room_bytes:
                try:
                    return await self._begin(stock, key, size)
                except Problem as refused:
                    problem = refused
        raise problem

    async def _begin(self, stock: Stock, key: str, size: int) -> Landing:
        stock.landing_bytes += size  # at once: fills that make room at the same time share none
        self._number += 1
        name = f"{self._boot}-{self._number}"
        try:
            await self._make_room(stock, size)
            path, descriptor = stock.shelf.land(name)
        except BaseException as error:
            stock.landing_bytes -= size
            if isinstance(error, OSError):
                raise self.failed(stock, error) from error
            raise
        return Landing(key, size, path, descriptor, stock, stock.openings)

    def check_fits(self, size: int) -> None:
        """Raises Problem `cache_full` if all eviction could not make room for so many bytes."""
        if self.out:
            raise Problem("disk_full", "No cache folder is in service.")
        if size > max(stock.room_bytes for stock in self.stocks):
            raise Problem("cache_full", f"{size} bytes cannot be cached here.")

    def write(self, landing: Landing, data: bytes, offset: int) -> None:
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
        if not stock.in_service or stock.openings != landing.opening:
            raise Problem("disk_full", "The cache folder went out of service.")
        if landing.key in self:
            self.remove([landing.key])
        try:
            stock.shelf.place(landing.path, landing.descriptor, landing.key, bytes.fromhex(sha256))
        except OSError as error:
            raise self.failed(stock, error) from error
        stock.wrote()
        self.disk_ok = True
        os.close(landing.descriptor)
        landing.descriptor = -1
        stock.landing_bytes -= landing.size
        self._forget_copy(landing.key)
        slot = self._index.add(landing.key, landing.size, stock.shelf.number)
        self._index.flags[slot] |= FRESH
        stock.fresh.add(slot)
        self._insert(stock, slot, landing.key, found=False)
        self._touch_lists(landing.key)
        self.changed(landing.key, True)

    def abandon(self, landing: Landing) -> None:
        """Nothing of the file is left. Does nothing after a commit."""
        if landing.descriptor < 0:
            return
        os.close(landing.descriptor)
        landing.descriptor = -1
        with suppress(OSError):  # gone with its folder, or when that is opened again
            landing.path.unlink()
        landing.stock.landing_bytes -= landing.size

    def _insert(self, stock: Stock, slot: int, key: str, *, found: bool) -> None:
        pinned = self.wanted(key)
        stock.ration.insert(slot, pinned=pinned, found=found)
        directory = self._index.directory(slot)
        if directory.pinned is not pinned:
            directory.pinned = pinned if len(directory.slots) == 1 else None

    async def _make_room(self, stock: Stock, size: int) -> None:
        """What is held and reserved is within the budget, what had to leave for it has gone, and
        the disk has the space."""
        over = stock.claimed_bytes - stock.budget_bytes
        if over > stock.ration.evictable_bytes:
            raise Problem("cache_full", retry_after_s=2)  # others are landing; nothing need leave
        if stock.shelf.free_bytes() < size:  # somebody else uses it, too
            over = max(over, size)
        if over > 0:
            self.evict(stock, over)
        if stock.excess_bytes() > 0:
            self._sweep_soon(stock)
        if stock.claimed_bytes > stock.promised_bytes:
            stock.promised_bytes = stock.claimed_bytes + stock.slack_bytes
            stock.shelf.promise(stock.promised_bytes)
        if stock.used_bytes(self._board.acked()) <= stock.budget_bytes and over <= 0:
            return
        try:
            # Whoever reserves meanwhile waits for what leaves on their own account.
            await self._board.acknowledged(self._board.epoch, _LETTING_GO_S)
        except TimeoutError:  # a worker hangs, and what it may hold open still counts
            pass
        if stock.used_bytes(self._board.acked()) > stock.budget_bytes:
            raise Problem("cache_full", retry_after_s=2)

    # What leaves.

    def remove(self, keys: Iterable[str]) -> int:
        """The files are unlinked. Returns the epoch after which no worker serves them."""
        slots = [slot for slot in map(self._find, keys) if slot != NIL]
        for slot in slots:
            self._stock(slot).ration.remove(slot)
        return self._unlink(slots)

    def remove_packages(self, packages: Iterable[str]) -> int:
        """No file of the packages is left, found or not. Returns the epoch, a new one, after which
        no worker serves them."""
        inodes: list[int] = []
        freed: list[tuple[Stock, int]] = []
        for package_id in packages:
            for slot in self._index.of_package(package_id):
                stock, key, size = self._stock(slot), self._index.key(slot), self._index.sizes[slot]
                if stock.in_service:
                    stock.ration.remove(slot)
                    stock.leave(size)
                    freed.append((stock, size))
                    self._forget(slot)
                    self.changed(key, False)
            for stock in self.stocks:
                if stock.in_service:
                    inodes += stock.shelf.remove_package(package_id)
                if stock.scanning:
                    stock.missed.add(package_id)
        return self._announce(inodes, freed)

    def evict(self, stock: Stock, bytes_to_free: int) -> None:
        """So many bytes of the folder's files are unlinked, or all that may leave."""
        slots = stock.ration.victims(bytes_to_free, len(self._index))
        self.evictions += len(slots)
        self._unlink(slots)

    def _unlink(self, slots: list[int]) -> int:
        """They count in no ration any more."""
        inodes: list[int] = []
        freed = []
        for slot in slots:
            stock, size = self._stock(slot), self._index.sizes[slot]
            gone, error = _unlink_all(stock.shelf, [self._give_up(stock, slot)])
            inodes += gone
            freed.append((stock, size))
            if error is not None:
                self.failed(stock, error)
        return self._announce(inodes, freed)

    def _announce(self, inodes: list[int], freed: list[tuple[Stock, int]]) -> int:
        epoch = self._board.announce(inodes)
        for stock, size in freed:
            stock.unlinked(epoch, size)
        return epoch

    def _give_up(self, stock: Stock, slot: int) -> tuple[str, bool]:
        """The file is not held; it still lies there. Returns its key, and whether it is new."""
        key, fresh = self._index.key(slot), bool(self._index.flags[slot] & FRESH)
        stock.leave(self._index.sizes[slot])
        self._forget(slot)
        self.changed(key, False)
        return key, fresh

    def _sweep_soon(self, stock: Stock) -> None:
        number = stock.shelf.number
        if number not in self._sweeps:
            task = asyncio.create_task(self._sweep(stock), name=f"evict {number}")
            self._sweeps[number] = task
            task.add_done_callback(lambda _: self._sweeps.pop(number, None))

    async def _sweep(self, stock: Stock) -> None:
        """Evicts ahead of need, off the loop. A key that is leaving cannot come meanwhile."""
        left = stock.excess_bytes()
        while left > 0 and stock.in_service:
            slots = stock.ration.victims(left, _EVICTED_AT_ONCE)
            if not slots:
                return
            size = sum(self._index.sizes[slot] for slot in slots)
            files = [self._give_up(stock, slot) for slot in slots]
            self.evictions += len(files)
            gone = asyncio.Event()
            self._leaving |= dict.fromkeys((key for key, _ in files), gone)
            try:
                inodes, error = await stock.shelf.off_loop(_unlink_all, stock.shelf, files)
            finally:
                for key, _ in files:
                    self._leaving.pop(key, None)
                gone.set()
            stock.unlinked(self._board.announce(inodes), size)
            if error is not None:
                self.failed(stock, error)
            left -= size

    async def close(self) -> None:
        """Evictions under way have ended."""
        await asyncio.gather(*self._sweeps.values(), return_exceptions=True)

    # What an earlier run left; called by Upkeep.

    def adopt(self, stock: Stock, files: Iterable[Found]) -> None:
        """Files that stand in the folder are held. Second copies are unlinked."""
        for file in files:
            package_id = file.key.partition("/")[0]
            if {file.key, package_id} & stock.missed or file.key in self._leaving:
                continue
            slot = self._find(file.key)
            if slot == NIL:
                self._forget_copy(file.key)
                slot = self._index.add(file.key, file.size, stock.shelf.number)
                if file.fresh:
                    self._index.flags[slot] |= FRESH
                    stock.fresh.add(slot)
                stock.found(file.size)
                self._insert(stock, slot, file.key, found=True)
                self.changed(file.key, True)
            elif not (
                self._index.shelf[slot] == stock.shelf.number
                and bool(self._index.flags[slot] & FRESH) == file.fresh
            ):
                inode = stock.shelf.unlink(file.key, fresh=file.fresh)
                self._board.announce([] if inode is None else [inode])
                stock.found(file.size)

    def found_all(self, stock: Stock) -> None:
        """Nothing of an earlier run is left to be found in the folder."""
        stock.scanning = False
        stock.unknown_bytes = 0
        stock.missed.clear()
        over = stock.claimed_bytes - stock.budget_bytes
        if over > 0:  # the budget is smaller than it was
            self.evict(stock, over)

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

    def settle(self, stock: Stock, slot: int) -> None:
        """A file that has been synced is in its final place."""
        key = self._index.key(slot)
        try:
            stock.shelf.settle(key)
        except FileNotFoundError:  # someone has been at the folder
            self.remove([key])
            return
        self._index.flags[slot] &= ~FRESH

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
        stock.empty(self._new_ration(self.folders.shares[stock.shelf.number]))
        self._tell_folders()
        self.upset.set()

    async def forget_folder(self, stock: Stock) -> None:
        """The index knows no file of the folder, which is out of service."""
        forgotten = 0
        for directory in self._index.directories():
            for slot in list(directory.slots.values()):
                if self._index.shelf[slot] == stock.shelf.number:
                    key = self._index.key(slot)
                    self._forget(slot)
                    self.changed(key, False)
                    forgotten += 1
            if forgotten >= _FORGOTTEN_AT_ONCE:
                forgotten = 0
                await asyncio.sleep(0)

    def _tell_folders(self) -> None:
        bits = sum(1 << s.shelf.number for s in self.stocks if not s.in_service)
        if bits != self._board.folders_out:
            self._board.folders_out = bits
            self._board.advance()

    # Slots.

    def _find(self, key: str) -> int:
        """The slot of a file in a folder in service, or NIL."""
        slot = self._index.find(key)
        return slot if slot != NIL and self._stock(slot).in_service else NIL

    def _stock(self, slot: int) -> Stock:
        return self.stocks[self._index.shelf[slot]]

    def _forget_copy(self, key: str) -> None:
        """The index knows no copy in a folder that is out of service."""
        if (slot := self._index.find(key)) != NIL:
            self._forget(slot)
            self.changed(key, False)

    def _forget(self, slot: int) -> None:
        """The slot is free; what counts it is done with."""
        stock = self._stock(slot)
        stock.slot_left(slot)
        if stock.scanning:
            stock.missed.add(self._index.key(slot))
        self._index.drop(slot)


def _unlink_all(shelf: Shelf, files: list[tuple[str, bool]]) -> tuple[list[int], OSError | None]:
    """The inodes of those that are gone, and what hindered the others."""
    inodes, hindrance = [], None
    for key, fresh in files:
        try:
            inode = shelf.unlink(key, fresh=fresh)
        except OSError as error:
            hindrance = error
        else:
            if inode is not None:
                inodes.append(inode)
    return inodes, hindrance

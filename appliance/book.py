"""The book of the cache: which files are held, in which folder, what is pinned and what was used.

It does nothing to files; `appliance/cache.py` does, and says here what it has done.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

from appliance.evict import Admission, PolicyName, Ration, make_policy
from appliance.folders import Folders, FolderShare
from appliance.index import FRESH, NIL, Index
from appliance.shelf import Shelf
from appliance.stock import Stock
from media.inventory import FILE_LIST_NAME, INVENTORY_NAME
from runtime.errors import Problem

_FORGOTTEN_AT_ONCE = 500
_TROUBLE_CHARS = 100  # a report's bottleneck is a line
_WHY_CHARS = 50


class Book:
    """The files of all folders. A folder that is out of service has none."""

    def __init__(self, folders: Folders, policy: PolicyName, admission: Admission) -> None:
        self.folders = folders
        self.index = Index()
        # `changed` hears of each file once when it comes and once when it goes.
        self.changed: Callable[[str, bool], None] = lambda key, held: None
        self.wanted: Callable[[str], bool] = lambda key: False  # the plan's word: held is pinned
        self._policy, self._admission = policy, admission
        self.stocks = [
            Stock(Shelf(folders, number), self.new_ration(share), share.budget_bytes)
            for number, share in enumerate(folders.shares)
        ]
        self._stamped: set[str] = set()

    def new_ration(self, share: FolderShare) -> Ration:
        policy = make_policy(self._policy, self._admission, self.index, share.budget_bytes)
        return Ration(self.index, policy)

    @property
    def budget_bytes(self) -> int:
        """Of all folders in service."""
        return sum(stock.budget_bytes for stock in self.stocks if stock.in_service)

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
        folder, why = str(out[0].shelf.folder), out[0].trouble[:_WHY_CHARS]
        more = f", and {len(out) - 1} more" if len(out) > 1 else ""
        room = _TROUBLE_CHARS - len(f"cache folder : {why}{more}")
        if len(folder) > room:  # its end tells more than its beginning
            folder = f"…{folder[1 - room :]}"
        return f"cache folder {folder}: {why}{more}"

    @property
    def openings(self) -> tuple[int, ...]:
        """Others whenever a folder has come back into service."""
        return tuple(stock.openings for stock in self.stocks)

    @property
    def finding(self) -> bool:
        """Some of what an earlier run held may not be known yet."""
        return any(stock.scanning and stock.in_service for stock in self.stocks)

    @property
    def out(self) -> bool:
        """No folder is in service."""
        return not any(stock.in_service for stock in self.stocks)

    def check_fits(self, size: int) -> None:
        """Raises Problem `cache_full` if all eviction could not make room for so many bytes."""
        if self.out:
            raise Problem("disk_full", "No cache folder is in service.")
        if size > max(stock.room_bytes for stock in self.stocks):
            raise Problem("cache_full", f"{size} bytes cannot be cached here.")

    def __contains__(self, key: str) -> bool:
        return self.find(key) != NIL

    def __iter__(self) -> Iterator[str]:
        """The keys of everything held."""
        return (key for key in self.index if key in self)

    def __len__(self) -> int:
        """Of folders that just went out of service some may be counted for a moment."""
        return len(self.index)

    def directories(self) -> Iterator[list[str]]:
        """The keys of everything held, directory by directory, each as it is when asked for."""
        for directory in self.index.directories():
            yield [f"{directory.path}/{name}" for name in directory.slots]

    def path(self, key: str) -> Path:
        """Where a held file is now; it may move while it is new: `Folders.paths` tells whereto."""
        return Path(self.where(key))

    def where(self, key: str) -> str:
        """The same as a text, once a fill."""
        slot = self.find(key)
        if slot == NIL:
            return self.folders.final(self.folders.places(key)[0], key)
        place = self.folders.new if self.index.flags[slot] & FRESH else self.folders.final
        return place(self.stock_of(slot).shelf.number, key)

    def find(self, key: str) -> int:
        """The slot of a file in a folder in service, or NIL."""
        slot = self.index.find(key)
        return slot if slot != NIL and self.stock_of(slot).in_service else NIL

    def stock_of(self, slot: int) -> Stock:
        return self.stocks[self.index.shelf[slot]]

    # What happens to files.

    def insert(self, stock: Stock, slot: int, key: str, *, found: bool) -> None:
        pinned = self.wanted(key)
        stock.ration.insert(slot, pinned=pinned, found=found)
        directory = self.index.directory(slot)
        if directory.pinned is not pinned:
            directory.pinned = pinned if len(directory.slots) == 1 else None

    def touch(self, key: str) -> None:
        """The file was served: it is used, and so are the lists without which it could not be."""
        self._use(key)
        self.touch_lists(key)

    def touch_lists(self, key: str) -> None:
        package_id, _, path = key.partition("/")
        folder = path.rpartition("/")[0]
        self._use(f"{package_id}/{folder}/{FILE_LIST_NAME}")
        self._use(f"{package_id}/{INVENTORY_NAME}")
        if package_id not in self._stamped:
            self._stamped.add(package_id)
            for stock in self.stocks:
                if stock.in_service:
                    stock.shelf.stamp(package_id)

    def _use(self, key: str) -> None:
        slot = self.find(key)
        if slot != NIL:
            self.stock_of(slot).ration.touch(slot)

    def forget_stamps(self) -> None:
        """The next use of each package is noted on the disk again."""
        self._stamped.clear()

    def pin(self, key: str, pinned: bool) -> None:
        """The plan holds the file, or no longer does."""
        slot = self.find(key)
        if slot != NIL:
            self.stock_of(slot).ration.pin(slot, pinned)
            directory = self.index.directory(slot)
            if directory.pinned is not pinned:
                directory.pinned = None

    def pin_wanted(self) -> None:
        """Pinned are exactly the files that are `wanted`; whose plan did not change costs nothing.
        All files of a directory belong to one rendition, or to none, so they are wanted alike."""
        for directory in self.index.directories():
            verdict = self.wanted(f"{directory.path}/{INVENTORY_NAME}")
            if directory.pinned is not verdict:
                for slot in directory.slots.values():
                    if self.stock_of(slot).in_service:
                        self.stock_of(slot).ration.pin(slot, verdict)
                directory.pinned = verdict

    def give_up(self, stock: Stock, slot: int) -> tuple[str, bool]:
        """The file is not held; it still lies there. Returns its key, and whether it is new."""
        key, fresh = self.index.key(slot), bool(self.index.flags[slot] & FRESH)
        stock.leave(self.index.sizes[slot])
        self.forget(slot)
        self.changed(key, False)
        return key, fresh

    def forget_copy(self, key: str) -> None:
        """The index knows no copy in a folder that is out of service."""
        if (slot := self.index.find(key)) != NIL:
            self.forget(slot)
            self.changed(key, False)

    def forget(self, slot: int) -> None:
        """The slot is free; what counts it is done with."""
        stock = self.stock_of(slot)
        stock.slot_left(slot)
        if stock.scanning:
            stock.missed.add(self.index.key(slot))
        self.index.drop(slot)

    async def forget_folder(self, stock: Stock) -> None:
        """The index knows no file of the folder, which is out of service."""
        forgotten = 0
        for directory in self.index.directories():
            for slot in list(directory.slots.values()):
                if self.index.shelf[slot] == stock.shelf.number:
                    key = self.index.key(slot)
                    self.forget(slot)
                    self.changed(key, False)
                    forgotten += 1
            if forgotten >= _FORGOTTEN_AT_ONCE:
                forgotten = 0
                await asyncio.sleep(0)

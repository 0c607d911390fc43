"""Bytes on disk, within a budget: where files land, and which of them leave.

    {folder}/{package_id}/{path}     a verified file, whole; its name says what it is
    {folder}/.fill/{boot}-{number}   a file on its way in

A file gets its place by a rename, after its bytes were synced, so what has a name is whole. Used
bytes are those held, those reserved for files on their way in, and those unlinked that a worker
has not let go of; a file lands once they are within the budget. (An answer that is being sent
keeps its file to its end, unlinked and uncounted.)
"""

import asyncio
import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.board import Board
from appliance.evict import Lru
from media.inventory import FILE_LIST_NAME, INVENTORY_NAME
from runtime.errors import Problem
from runtime.log import logger

_LETTING_GO_S = 5.0  # a worker acknowledges within its tick, 0.25 s; then it is not coming


@dataclass
class Landing:
    """A file on its way in, with its bytes reserved. `descriptor` is open for writing."""

    key: str
    size: int
    path: Path
    descriptor: int


class Cache:
    """The files of one folder. Only the keeper has one."""

    def __init__(self, folder: Path, budget_bytes: int, board: Board) -> None:
        self.folder = folder
        self.budget_bytes = budget_bytes
        self.evictions = 0
        self.disk_ok = True  # the last write was taken
        self.changed: Callable[[str, bool], None] = lambda key, held: None
        self._board = board
        self._index = Lru()
        self._landing_bytes = 0
        self._unlinked: list[tuple[int, int]] = []  # (epoch, bytes) not yet let go by all workers
        # A worker that was asleep may hear an earlier keeper's last words: no name comes twice.
        self._boot = secrets.token_hex(8)
        self._number = 0

    def open(self) -> None:
        """Finds again what an earlier run held, oldest first; half files are deleted."""
        shutil.rmtree(self._fills, ignore_errors=True)
        self._fills.mkdir(parents=True, exist_ok=True)
        found = []
        for parent, folders, names in os.walk(self.folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                path = Path(parent, name)
                status = path.stat()
                found.append((status.st_mtime, path, status.st_size))
        for _, path, size in sorted(found, key=lambda item: item[0]):
            self._index.insert(path.relative_to(self.folder).as_posix(), size)
        over = self._index.used_bytes - self.budget_bytes
        if over > 0:
            self._unlink(self._index.victims(over))

    @property
    def _fills(self) -> Path:
        return self.folder / ".fill"

    @property
    def used_bytes(self) -> int:
        """Held, landing, and unlinked but perhaps still open."""
        self._forget_released()
        return self._index.used_bytes + self._landing_bytes + sum(n for _, n in self._unlinked)

    def __contains__(self, key: str) -> bool:
        return key in self._index

    def __iter__(self) -> Iterator[str]:
        """The keys of everything held, as of now."""
        return iter(list(self._index))

    def __len__(self) -> int:
        return len(self._index)

    def holds(self, key: str, size: int | None) -> bool:
        """The file is held, and stands on the disk with all its bytes. One that does not is
        forgotten: someone has been at the folder, and it has to be brought again."""
        if key not in self._index:
            return False
        try:
            on_disk = self.path(key).stat().st_size
        except OSError:
            on_disk = -1
        if on_disk == self._index.size(key) and size in (None, on_disk):
            return True
        logger().error("file_damaged", file=key, bytes=on_disk)
        self.remove([key])
        return False

    def path(self, key: str) -> Path:
        """Where a held file is."""
        return self.folder / key

    def touch(self, key: str) -> None:
        """The file was served: it is used, and so are the lists without which it could not be."""
        package_id, _, path = key.partition("/")
        folder = path.rpartition("/")[0]
        for used in (
            key,
            f"{package_id}/{folder}/{FILE_LIST_NAME}",
            f"{package_id}/{INVENTORY_NAME}",
        ):
            self._index.touch(used)

    def pin(self, key: str, pinned: bool) -> None:
        """The plan holds the file, or no longer does."""
        self._index.pin(key, pinned)

    async def begin(self, key: str, size: int) -> Landing:
        """Room for the file, evicting others. Raises Problem `cache_full` or `disk_full`."""
        self.check_fits(size)
        self._landing_bytes += size  # at once: fills that make room at the same time share none
        self._number += 1
        path = self._fills / f"{self._boot}-{self._number}"
        try:
            await self._make_room()
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except BaseException as error:
            self._landing_bytes -= size
            if isinstance(error, OSError):
                raise self._failed(error) from error
            raise
        return Landing(key, size, path, descriptor)

    def check_fits(self, size: int) -> None:
        """Raises Problem `cache_full` if all eviction could not make room for so many bytes."""
        if size > self.budget_bytes - self._index.pinned_bytes:
            raise Problem("cache_full", f"{size} bytes cannot be cached here.")

    def write(self, landing: Landing, data: bytes, offset: int) -> None:
        """The bytes are in the landing file. Raises Problem `disk_full`."""
        view = memoryview(data)
        while view:
            try:
                written = os.pwrite(landing.descriptor, view, offset)
            except OSError as error:
                raise self._failed(error) from error
            view = view[written:]
            offset += written

    async def commit(self, landing: Landing) -> None:
        """The file is held; a power cut leaves it whole or not at all. Raises Problem
        `disk_full`."""
        path = self.path(landing.key)
        try:
            await asyncio.to_thread(os.fdatasync, landing.descriptor)
            path.parent.mkdir(parents=True, exist_ok=True)
            landing.path.replace(path)
        except OSError as error:
            raise self._failed(error) from error
        self.disk_ok = True
        os.close(landing.descriptor)
        landing.descriptor = -1
        self._landing_bytes -= landing.size
        self._index.insert(landing.key, landing.size)
        self.touch(landing.key)
        self.changed(landing.key, True)

    def abandon(self, landing: Landing) -> None:
        """Nothing of the file is left. Does nothing after a commit."""
        if landing.descriptor < 0:
            return
        os.close(landing.descriptor)
        landing.descriptor = -1
        landing.path.unlink(missing_ok=True)
        self._landing_bytes -= landing.size

    def remove(self, keys: list[str]) -> int:
        """The files are unlinked. Returns the epoch after which no worker serves them."""
        held = [key for key in keys if key in self._index]
        sizes = [self._index.remove(key) for key in held]
        return self._unlink(held, sum(sizes))

    async def _make_room(self) -> None:
        """What is held and reserved is within the budget, and what had to leave for it has gone."""
        over = self._index.used_bytes + self._landing_bytes - self.budget_bytes
        if over > self._index.used_bytes - self._index.pinned_bytes:
            raise Problem("cache_full", retry_after_s=2)  # others are landing; nothing need leave
        if over > 0:
            before = self._index.used_bytes
            victims = self._index.victims(over)
            self.evictions += len(victims)
            self._unlink(victims, before - self._index.used_bytes)
        if self.used_bytes <= self.budget_bytes:
            return
        try:
            # Whoever reserves meanwhile waits for what leaves on their own account.
            await self._board.acknowledged(self._board.epoch, _LETTING_GO_S)
        except TimeoutError:  # a worker hangs, and what it may hold open still counts
            if self.used_bytes > self.budget_bytes:
                raise Problem("cache_full", retry_after_s=2) from None

    def _failed(self, error: OSError) -> Problem:
        self.disk_ok = False
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return Problem("disk_full", "The cache disk is full.")
        return Problem("disk_full", f"The cache disk takes no writes: {error.strerror}.")

    def _unlink(self, keys: list[str], freed_bytes: int = 0) -> int:
        for key in keys:
            path = self.path(key)
            path.unlink(missing_ok=True)
            _remove_empty(path.parent, self.folder)
            self.changed(key, False)
        epoch = self._board.advance()
        if freed_bytes:
            self._unlinked.append((epoch, freed_bytes))
        return epoch

    def _forget_released(self) -> None:
        acked = self._board.acked()
        self._unlinked = [(epoch, size) for epoch, size in self._unlinked if epoch > acked]


def _remove_empty(folder: Path, top: Path) -> None:
    while folder != top:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent

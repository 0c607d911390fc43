"""A shelf: one folder of the cache on its disk. All file operations of the cache are here.

    {folder}/{package_id}/{path}          a file that is whole, and on the disk
    {folder}/.new/{boot_id}/{package_id}/{path}   one that is whole, perhaps only in the page cache
    {folder}/.new/{boot_id}/{package_id}/{path's folder}/.{name}   one on its way in
    {folder}/.held                        a bound on the bytes held: see `Promise`

Why a power cut leaves no wrong file to be served, although no file is synced by itself: a file that
was verified gets its name below `.new/{boot_id}`, where workers of this boot find it. Every few
seconds the whole file system is synced (syncfs), and only then are the files that were there before
it began renamed to their final places: what has a final name was on the disk before it got it,
whatever order the file system writes in. After a power cut or a crash of the machine the boot id
is another, so workers do not even look at what was new then; it is verified, read from the disk,
against the SHA-256 that it carries (an extended attribute), and then renamed, or deleted. It is
never searched for: it stands in a folder of its own. A keeper that is killed leaves all this as it
is, because the page cache outlives it.

A file lands beside its later neighbours, because a file system such as ext4 puts a new file's inode
and bytes near its folder, and looks through the inodes that were given back there in the last five
minutes: one folder in which all files began would make each fill pay for hundreds of evictions. For
the same reason packages are told to keep apart from each other (`_spread`).
"""

import asyncio
import ctypes
import errno
import fcntl
import hashlib
import json
import math
import os
import shutil
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from appliance.folders import NEW, Folders
from runtime.durable import write_durably

DIGEST_ATTRIBUTE = "user.nearcast.sha256"
_HELD = ".held"
_PROBE = ".probe"
_PROBE_BYTES = 64 * 1024
_TRIES = 100  # another thread may remove an empty directory as often as one is made for a file
_THREADS = 4  # a sync, a scan, an eviction and a scrub at once
_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602  # FS_IOC_GETFLAGS and its counterpart (linux/fs.h)
_TOP_DIRECTORY = 0x00020000  # FS_TOPDIR_FL
_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE (linux/falloc.h): what was not written is not read, either
_WORTH_ALLOCATING = 64 * 1024
# The file system cannot do so, or a signal came: the bytes take their space as they are written.
_NOT_ALLOCATED = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINTR)
_LOOK_S = 0.1  # so long a disk is taken to be as full as it was, but for what has landed
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
T = TypeVar("T")


def machine_boot_id() -> str:
    """Another one each time the machine starts."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass(frozen=True)
class Found:
    """A file that stands on the disk."""

    key: str
    size: int
    fresh: bool  # below .new


@dataclass(frozen=True)
class Promise:
    """No more than `bytes` are held, as long as the machine does not crash; `stopped`: even if it
    does, for nothing was written since. With it a restarted keeper knows how much it may land,
    before it has found everything again."""

    boot_id: str
    bytes: int
    stopped: bool


class Shelf:
    """The folder with number `number`. Errors are OSError; who calls decides what they mean."""

    def __init__(self, folders: Folders, number: int) -> None:
        self.number = number
        self.folder = folders.shares[number].path
        self._folders = folders
        self._new = self.folder / NEW / folders.boot_id
        self._free_bytes, self._looked_s = 0, -math.inf
        # Of its own: a disk that hangs must not take the threads that others need.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"shelf-{number}")

    async def off_loop(self, work: Callable[..., T], *arguments: object) -> T:
        """What `work` returns or raises, done in a thread of this disk."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, work, *arguments)

    def open(self) -> int:
        """The folder is there, half files are not. Returns a bound on the bytes held."""
        self._new.mkdir(parents=True, exist_ok=True)
        for top in (self.folder, self._new):
            _spread(top)
        for package in self._packages(self._new):
            for key, entry in _files(self._new, package):
                if entry.name.startswith("."):
                    Path(self._new, key).unlink(missing_ok=True)
        promise = self._promised()
        if promise is not None and promise.stopped:
            promise = Promise(self._folders.boot_id, promise.bytes, False)
            write_durably(self.folder / _HELD, _to_json(promise))
        if promise is not None and promise.boot_id == self._folders.boot_id:
            return promise.bytes
        if not (self._packages(self.folder) or self._packages(self._new) or self.suspects()):
            return 0
        disk = os.statvfs(self.folder)
        return (disk.f_blocks - disk.f_bfree) * disk.f_frsize

    def stop(self, held_bytes: int) -> None:
        """Nothing is written until the next `open`, and so much is held."""
        promise = Promise(self._folders.boot_id, held_bytes, True)
        write_durably(self.folder / _HELD, _to_json(promise))

    def promise(self, held_bytes: int) -> None:
        """A keeper that starts from here on may rely on this bound."""
        promise = Promise(self._folders.boot_id, held_bytes, False)
        temporary = self.folder / f"{_HELD}.tmp"
        temporary.write_bytes(_to_json(promise))
        temporary.replace(self.folder / _HELD)

    def _promised(self) -> Promise | None:
        try:
            said = json.loads((self.folder / _HELD).read_bytes())
            promise = Promise(str(said["boot_id"]), int(said["bytes"]), bool(said["stopped"]))
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return promise if promise.stopped or promise.boot_id == self._folders.boot_id else None

    def has_room(self, size: int) -> bool:
        """The disk takes so many bytes, as far as it said a moment ago."""
        now_s = time.monotonic()
        if self._free_bytes < size or now_s - self._looked_s > _LOOK_S:
            disk = os.statvfs(self.folder)
            self._free_bytes, self._looked_s = disk.f_bavail * disk.f_frsize, now_s
        return self._free_bytes >= size

    def probe(self) -> None:
        """The disk takes a file, keeps it and gives it back. Raises OSError if not."""
        path, data = self.folder / _PROBE, os.urandom(_PROBE_BYTES)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_durably(path, data)
        if path.read_bytes() != data:
            raise OSError("it gives back other bytes than it took")
        path.unlink()

    # Files on their way in.

    def path(self, key: str, *, fresh: bool) -> Path:
        """Where a held file is."""
        place = self._folders.new if fresh else self._folders.final
        return Path(place(self.number, key))

    def land(self, name: str, key: str, size: int) -> tuple[str, int]:
        """A new file for what becomes `key`, with a descriptor open for writing and reading. The
        disk has its space from now on, where it can: in one piece, and for less than block by block
        at each write."""
        path, descriptor = self._create(name, key)
        if size >= _WORTH_ALLOCATING and _libc.fallocate(descriptor, _KEEP_SIZE, 0, size) != 0:
            number = ctypes.get_errno()
            if number not in _NOT_ALLOCATED:
                os.close(descriptor)
                Path(path).unlink()
                raise OSError(number, os.strerror(number))
        self._free_bytes -= size
        return path, descriptor

    def _create(self, name: str, key: str) -> tuple[str, int]:
        folder = self._folders.new(self.number, key).rpartition("/")[0]
        path = f"{folder}/.{name}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        for _ in range(_TRIES):
            try:
                return path, os.open(path, flags, 0o644)
            except FileNotFoundError:
                with suppress(FileNotFoundError):
                    Path(folder).mkdir(parents=True, exist_ok=True)
        raise OSError(f"the folder of {key} does not stay")

    def place(self, landed: str, descriptor: int, key: str, digest: bytes) -> None:
        """The file is found below `.new`, with its SHA-256."""
        try:
            os.setxattr(descriptor, DIGEST_ATTRIBUTE, digest)
        except OSError:  # a file system without them: after a crash the file goes
            pass
        # In the folder that it landed in. Without a Path: this is once a fill.
        os.rename(landed, self._folders.new(self.number, key))  # noqa: PTH104

    def sync(self) -> None:
        """All that was written to this file system before is on the disk. Blocks as long as that
        takes."""
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if _libc.syncfs(descriptor) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        finally:
            os.close(descriptor)

    def settle(self, key: str) -> str:
        """The file, which has been synced, is in its final place. Returns the folder that it has
        left, for `tidy`."""
        source = self._folders.new(self.number, key)
        _move(source, self._folders.final(self.number, key))
        return source.rpartition("/")[0]

    def tidy(self, folders: Iterable[str]) -> None:
        """Those that files have left are gone, if they are empty."""
        for folder in folders:
            _remove_empty(Path(folder), self._new)

    def unlink(self, key: str, *, fresh: bool) -> int | None:
        """The file is gone. Returns its inode, None if it was gone before."""
        path = self.path(key, fresh=fresh)
        try:
            inode = path.lstat().st_ino
            path.unlink()
        except FileNotFoundError:
            return None
        _remove_empty(path.parent, self._new if fresh else self.folder)
        return inode

    # What an earlier run left.

    def walk(self, limit: int) -> Iterator[list[Found]]:
        """Everything held, in lists of about `limit` files: the new ones first, then the packages,
        those that were in use last first (`stamp`)."""
        batch: list[Found] = []
        for top, fresh in ((self._new, True), (self.folder, False)):
            for package in self._packages(top):
                for key, entry in _files(top, package):
                    if entry.name.startswith("."):
                        continue  # it is landing
                    with suppress(FileNotFoundError):  # evicted meanwhile
                        size = entry.stat(follow_symlinks=False).st_size
                        batch.append(Found(key, size, fresh))
                    if len(batch) >= limit:
                        yield batch
                        batch = []
        yield batch

    def stamp(self, package_id: str) -> None:
        """The package is in use, as a restarted keeper will know."""
        with suppress(OSError):
            os.utime(self.folder / package_id)

    def _packages(self, top: Path) -> list[str]:
        found = []
        with suppress(FileNotFoundError), os.scandir(top) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                    with suppress(FileNotFoundError):  # this one has just left; others have not
                        found.append((entry.stat().st_mtime_ns, entry.name))
        return [name for _, name in sorted(found, reverse=True)]

    def suspects(self) -> list[Path]:
        """Folders with files of another boot, or from before this disk failed."""
        with suppress(FileNotFoundError), os.scandir(self.folder / NEW) as entries:
            return [Path(entry.path) for entry in entries if entry.name != self._folders.boot_id]
        return []

    def suspect_new(self, name: str) -> None:
        """What is new now counts as a suspect: the disk may have lost it."""
        with suppress(FileNotFoundError):
            self._new.rename(self.folder / NEW / name)

    def clear_suspects(self) -> tuple[int, int]:
        """Files of suspects are in their final places if they carry their digest and match it, and
        gone otherwise. Returns how many. It reads them all."""
        right = wrong = 0
        for top in self.suspects():
            for package in self._packages(top):
                for key, _ in _files(top, package):
                    path, final = top / key, self.path(key, fresh=False)
                    if not _is_right(path) or final.exists():
                        wrong += 1
                        continue
                    with suppress(FileNotFoundError):  # purged meanwhile
                        _move(str(path), str(final))
                        right += 1
            shutil.rmtree(top, ignore_errors=True)
        return right, wrong


def _to_json(promise: Promise) -> bytes:
    return json.dumps(promise.__dict__).encode()


def _files(top: Path, package: str) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    """Keys and files below a package's folder."""
    left = [package]
    while left:
        folder = left.pop()
        try:
            with os.scandir(top / folder) as entries:
                for entry in entries:
                    key = f"{folder}/{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        left.append(key)
                    elif entry.is_file(follow_symlinks=False):
                        yield key, entry
        except FileNotFoundError:
            continue


def _is_right(path: Path) -> bool:
    """The file matches the digest that it carries, and is on the disk: what became a suspect when
    its disk failed may still stand in memory only."""
    try:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            told = os.getxattr(file.fileno(), DIGEST_ATTRIBUTE)
            return hashlib.file_digest(file, "sha256").digest() == told
    except OSError:
        return False


def _move(source: str, target: str) -> None:
    for _ in range(_TRIES):
        try:
            os.rename(source, target)  # noqa: PTH104 (once a fill)
        except FileNotFoundError:
            if not Path(source).exists():
                raise
            with suppress(FileNotFoundError):
                Path(target).parent.mkdir(parents=True, exist_ok=True)
        else:
            return
    raise OSError(f"the folder of {target} does not stay")


def _spread(top: Path) -> None:
    """Folders that are made in this one from now on have nothing to do with each other: ext4 puts
    them into groups of their own, far apart, instead of near it (its Orlov allocator)."""
    with suppress(OSError):  # another file system has its own ways
        descriptor = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            (flags,) = struct.unpack("l", fcntl.ioctl(descriptor, _GET_FLAGS, struct.pack("l", 0)))
            fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("l", flags | _TOP_DIRECTORY))
        finally:
            os.close(descriptor)


def _remove_empty(folder: Path, top: Path) -> None:
    while folder != top:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent

"""Objects as files on a disk, with the promises of `objects`."""

import asyncio
import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import aiofiles

from media.http_get import Take
from media.objects import (
    CHUNK_BYTES,
    PAGE,
    DonePart,
    ObjectInfo,
    ProgressFn,
    StoreFull,
    StoreUnavailable,
    check_key,
)

_TRIES = 20  # at a folder that others delete while it is empty


class FileStore:
    """Objects as files below one folder, on one file system; what is not whole yet, uploads in
    progress too, below `.uploads/` in it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def url(self) -> str:
        return self.root.absolute().as_uri()

    async def address(self, key: str, ttl_s: int) -> str:
        return str(self._path(key).absolute())

    async def put_bytes(self, key: str, data: bytes, *, create_only: bool = False) -> None:
        await asyncio.to_thread(self._put, key, lambda file: file.write(data), create_only)

    async def put_file(
        self,
        key: str,
        path: Path,
        *,
        create_only: bool = False,
        progress: ProgressFn | None = None,
    ) -> None:
        def copy(target: BinaryIO) -> None:
            with path.open("rb") as source:
                _copy(source, target, progress)

        await asyncio.to_thread(self._put, key, copy, create_only)

    async def get_bytes(self, key: str, *, max_bytes: int) -> bytes:
        with _store_errors():
            async with aiofiles.open(self._path(key), "rb") as file:
                data = await file.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise ValueError(f"{key} is larger than {max_bytes} bytes")
        return data

    async def pour(self, key: str, take: Take, start: int = 0) -> None:
        buffer = memoryview(bytearray(CHUNK_BYTES))
        with _store_errors():
            async with aiofiles.open(self._path(key), "rb") as file:
                await file.seek(start)
                while count := await file.readinto(buffer):
                    take(buffer[:count])

    async def get_file(self, key: str, path: Path, *, progress: ProgressFn | None = None) -> None:
        def copy() -> None:
            with self._path(key).open("rb") as source, path.open("wb") as target:
                _copy(source, target, progress)

        with _store_errors():
            await asyncio.to_thread(copy)

    async def stat(self, key: str) -> ObjectInfo:
        path = self._path(key)
        with _store_errors():
            status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(key)
        return ObjectInfo(key, status.st_size, status.st_mtime)

    async def list_objects(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        walk = self._walk(prefix)
        while page := await asyncio.to_thread(lambda: list(islice(walk, PAGE))):
            for info in page:
                yield info

    async def list_folders(self, folder: str, after: str = "") -> AsyncIterator[str]:
        for name, is_folder in await asyncio.to_thread(self._names, folder):
            if is_folder and folder + name > after:
                yield folder + name

    async def delete(self, key: str) -> None:
        path = self._path(key)
        with _store_errors():
            path.unlink(missing_ok=True)
        for folder in path.parents:  # empty folders are not objects: they go too
            if folder == self.root:
                break
            try:
                folder.rmdir()
            except OSError:
                break

    async def start_upload(self, key: str) -> str:
        check_key(key)
        upload_id = secrets.token_hex(16)
        _make_folder(self._parts(upload_id))
        return upload_id

    async def part_url(self, key: str, upload_id: str, number: int, ttl_s: int) -> str | None:
        return None

    async def put_part(
        self, key: str, upload_id: str, number: int, pieces: AsyncIterable[bytes], size: int
    ) -> str:
        folder = self._parts(upload_id)
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no upload {upload_id}")
        etag = secrets.token_hex(8)
        temporary = folder / f"{number}.{etag}.tmp"
        try:
            await _receive(temporary, pieces, size)
            with _store_errors():
                for earlier in folder.glob(f"{number}.*.part"):
                    earlier.unlink(missing_ok=True)
                temporary.replace(folder / f"{number}.{etag}.part")
        finally:
            temporary.unlink(missing_ok=True)
        return etag

    async def finish_upload(self, key: str, upload_id: str, parts: list[DonePart]) -> None:
        folder = self._parts(upload_id)
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no upload {upload_id}")
        paths = [folder / f"{part.number}.{part.etag}.part" for part in parts]
        numbers = [part.number for part in parts]
        if numbers != sorted(set(numbers)) or not all(path.is_file() for path in paths):
            raise ValueError("a part is missing, differs from the one named, or is out of order")

        def join(target: BinaryIO) -> None:
            for path in paths:
                with path.open("rb") as source:
                    shutil.copyfileobj(source, target, CHUNK_BYTES * 4)

        await asyncio.to_thread(self._put, key, join, False)
        await self.abort_upload(key, upload_id)

    async def abort_upload(self, key: str, upload_id: str) -> None:
        await asyncio.to_thread(shutil.rmtree, self._parts(upload_id), True)

    async def sweep(self, before_s: float) -> None:
        await asyncio.to_thread(self._sweep, before_s)

    async def close(self) -> None:
        pass

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _parts(self, upload_id: str) -> Path:
        if not re.fullmatch(r"[0-9a-f]{32}", upload_id):
            raise FileNotFoundError("there is no such upload")
        return self._unfinished / upload_id

    @property
    def _unfinished(self) -> Path:
        return self.root / ".uploads"

    def _put(self, key: str, write: Callable[[BinaryIO], object], create_only: bool) -> None:
        path = self._path(key)
        if create_only and path.exists():
            raise FileExistsError(key)
        temporary = self._unfinished / f"{secrets.token_hex(16)}.tmp"
        _make_folder(self._unfinished)
        with _store_errors():
            try:
                with temporary.open("xb") as file:
                    write(file)
                    file.flush()
                    os.fsync(file.fileno())
                self._place(temporary, path, create_only)
            finally:
                temporary.unlink(missing_ok=True)

    def _place(self, whole: Path, path: Path, create_only: bool) -> None:
        """The file is at `path`, also when a delete takes the empty folder away meanwhile."""
        for _ in range(_TRIES):
            _make_folder(path.parent)
            with suppress(FileNotFoundError):
                if create_only:
                    os.link(whole, path)  # fails where a rename would replace
                else:
                    whole.replace(path)
                return
        raise StoreUnavailable(f"the store lost {path.parent}")

    def _walk(self, prefix: str) -> Iterator[ObjectInfo]:
        """The objects in the order of their keys; of folders those that are being gone through are
        in memory, by name."""
        start = prefix.rpartition("/")[0]
        waiting = [iter([(f"{start}/" if start else "", True)])]
        while waiting:
            key, is_folder = next(waiting[-1], ("", None))
            if is_folder is None:
                waiting.pop()
            elif is_folder:
                names = self._names(key)
                found = ((key + name, inner) for name, inner in names)
                waiting.append(iter([(k, inner) for k, inner in found if _may_hold(k, prefix)]))
            else:
                with suppress(FileNotFoundError), _store_errors():  # deleted meanwhile
                    status = (self.root / key).stat()
                    if stat.S_ISREG(status.st_mode):
                        yield ObjectInfo(key, status.st_size, status.st_mtime)

    def _names(self, folder: str) -> list[tuple[str, bool]]:
        """What is in a folder, in the order that keys have: folders with their slash, and True."""
        path = self.root / folder
        if not path.resolve().is_relative_to(self.root.resolve()):
            return []
        try:
            with _store_errors(), os.scandir(path) as entries:
                shown = [entry for entry in entries if not entry.name.startswith(".")]
        except (FileNotFoundError, NotADirectoryError):
            return []
        named = ((entry.name, entry.is_dir(follow_symlinks=False)) for entry in shown)
        return sorted((f"{name}/" if inner else name, inner) for name, inner in named)

    def _sweep(self, before_s: float) -> None:
        if not self._unfinished.is_dir():
            return
        for path in self._unfinished.iterdir():
            with suppress(FileNotFoundError), _store_errors():
                if path.stat().st_mtime >= before_s:
                    continue
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()


def _may_hold(key: str, prefix: str) -> bool:
    """Whether the object, or one in the folder, has a key with this prefix."""
    return key.startswith(prefix) or (key.endswith("/") and prefix.startswith(key))


def _copy(source: BinaryIO, target: BinaryIO, progress: ProgressFn | None) -> None:
    done = 0
    while piece := source.read(CHUNK_BYTES * 4):
        target.write(piece)
        done += len(piece)
        if progress:
            progress(done)


async def _receive(target: Path, pieces: AsyncIterable[bytes], size: int) -> None:
    """The new file holds the pieces. ValueError unless they are `size` bytes."""
    done = 0
    with _store_errors():
        file = await aiofiles.open(target, "xb")
    try:
        async for piece in pieces:
            done += len(piece)
            if done > size:
                raise ValueError(f"it has {size} bytes, more came")
            with _store_errors():
                await file.write(piece)
        if done < size:
            raise ValueError(f"it has {size} bytes, {done} came")
        with _store_errors():
            await file.flush()
    finally:
        with suppress(OSError):  # of a full disk: that was said
            await file.close()


def _make_folder(folder: Path) -> None:
    for _ in range(_TRIES):
        with _store_errors(), suppress(FileNotFoundError, FileExistsError):
            folder.mkdir(parents=True, exist_ok=True)
            return
    raise StoreUnavailable(f"the store has no folder {folder}, perhaps a file")


@contextmanager
def _store_errors() -> Iterator[None]:
    """What the disk says, in the words of a store."""
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StoreFull("the store's disk is full") from error
        raise StoreUnavailable(f"the store does not answer: {error.strerror}") from error

"""The object store: where masters and packages rest. Files on disk here, S3 in `s3`.

Both keep the same promises, and one contract suite holds them to it:

- an object appears whole or not at all, and a create-only put never replaces one;
- a key is a relative path of plain elements, so no key leaves the store;
- a missing object is FileNotFoundError; a store that does not answer is StoreUnavailable, and
  one without room StoreFull;
- a multipart upload becomes an object only when it is completed.
"""

import asyncio
import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

import aiofiles

CHUNK_BYTES = 256 * 1024
MIN_PART_BYTES = 5 * 1024 * 1024  # S3 takes no smaller part but the last
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9 ._()+@=-]*(/[A-Za-z0-9_][A-Za-z0-9 ._()+@=-]*){0,9}")

ProgressFn = Callable[[int], None]  # bytes done so far


class StoreUnavailable(Exception):
    """The store did not answer, or answered that it cannot."""


class StoreFull(StoreUnavailable):
    """The store has no room."""


@dataclass(frozen=True)
class ObjectInfo:
    """A stored object: its key and size in bytes."""

    key: str
    bytes: int


@dataclass(frozen=True)
class DonePart:
    """A finished part of a multipart upload, numbered from 1."""

    number: int
    etag: str


class ObjectStore(Protocol):
    """What every store can do."""

    async def put_bytes(self, key: str, data: bytes, *, create_only: bool = False) -> None:
        """The object holds `data`. With `create_only`, FileExistsError if there is one already."""

    async def put_file(
        self,
        key: str,
        path: Path,
        *,
        create_only: bool = False,
        progress: ProgressFn | None = None,
    ) -> None:
        """The object holds the file's bytes; large files go in parts."""

    async def get_bytes(self, key: str, *, max_bytes: int) -> bytes:
        """The whole object. ValueError when it is larger than `max_bytes`."""

    def stream(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Bytes from `start`, at most `length`, in pieces of at most CHUNK_BYTES."""

    async def get_file(self, key: str, path: Path, *, progress: ProgressFn | None = None) -> None:
        """The file at `path` holds the object."""

    async def stat(self, key: str) -> ObjectInfo:
        """The object's size. FileNotFoundError."""

    def list_objects(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Objects whose key starts with `prefix`, in the order of their keys."""

    async def delete(self, key: str) -> None:
        """There is no such object any more; there need not have been one."""

    async def start_upload(self, key: str) -> str:
        """Opens a multipart upload and returns its id."""

    async def part_url(self, key: str, upload_id: str, number: int, ttl_s: int) -> str | None:
        """A presigned address that takes the part by PUT; None: parts go through `put_part`."""

    async def put_part(self, key: str, upload_id: str, number: int, data: bytes) -> str:
        """The part holds `data`, in place of an earlier try. Returns its etag."""

    async def finish_upload(self, key: str, upload_id: str, parts: list[DonePart]) -> None:
        """The object is the parts, in order. ValueError when one is missing or differs."""

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """Nothing of the upload is left; there need not have been one."""

    async def close(self) -> None:
        """Connections are closed."""


def check_key(key: str) -> str:
    """The key itself. Raises ValueError when it could leave the store or hide in it."""
    if len(key) > 700 or not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is not a key: plain path elements, no '..', at most 10 levels")
    return key


def open_store(url: str) -> ObjectStore:
    """The store of a URL: `file:///path` or `s3://bucket?endpoint=http://host:port&region=…`.

    Credentials for S3 come from the environment or the files that boto3 reads. Raises ValueError.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.path.startswith("/") and not parts.netloc:
        return FileStore(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        from media.s3 import S3Store  # boto3 takes 0.3 s to import, and most processes need none

        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        unknown = options.keys() - {"endpoint", "region", "prefix"}
        if unknown:
            raise ValueError(
                f"a store URL knows endpoint, region and prefix, not {', '.join(unknown)}"
            )
        return S3Store(parts.netloc, **options)
    raise ValueError(
        f"{url!r} is not a store: file:///path or s3://bucket?endpoint=http://host:port"
    )


class FileStore:
    """Objects as files below one folder; uploads in progress below `.uploads/` in it."""

    def __init__(self, root: Path) -> None:
        self.root = root

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
            done = 0
            with path.open("rb") as source:
                while piece := source.read(CHUNK_BYTES * 4):
                    target.write(piece)
                    done += len(piece)
                    if progress:
                        progress(done)

        await asyncio.to_thread(self._put, key, copy, create_only)

    async def get_bytes(self, key: str, *, max_bytes: int) -> bytes:
        with _store_errors():
            async with aiofiles.open(self._path(key), "rb") as file:
                data = await file.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise ValueError(f"{key} is larger than {max_bytes} bytes")
        return data

    async def stream(
        self, key: str, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        left = length
        with _store_errors():
            async with aiofiles.open(self._path(key), "rb") as file:
                await file.seek(start)
                while left is None or left > 0:
                    piece = await file.read(CHUNK_BYTES if left is None else min(CHUNK_BYTES, left))
                    if not piece:
                        return
                    if left is not None:
                        left -= len(piece)
                    yield piece

    async def get_file(self, key: str, path: Path, *, progress: ProgressFn | None = None) -> None:
        done = 0
        async with aiofiles.open(path, "wb") as file:
            async for piece in self.stream(key):
                await file.write(piece)
                done += len(piece)
                if progress:
                    progress(done)

    async def stat(self, key: str) -> ObjectInfo:
        path = self._path(key)
        with _store_errors():
            status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(key)
        return ObjectInfo(key, status.st_size)

    async def list_objects(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        for info in await asyncio.to_thread(self._list, prefix):
            yield info

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

    async def put_part(self, key: str, upload_id: str, number: int, data: bytes) -> str:
        folder = self._parts(upload_id)
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no upload {upload_id}")
        etag = secrets.token_hex(8)
        temporary = folder / f"{number}.{etag}.tmp"
        try:
            with _store_errors():
                async with aiofiles.open(temporary, "wb") as file:
                    await file.write(data)
                for earlier in folder.glob(f"{number}.*.part"):
                    earlier.unlink()
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

    async def close(self) -> None:
        pass

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _parts(self, upload_id: str) -> Path:
        if not re.fullmatch(r"[0-9a-f]{32}", upload_id):
            raise FileNotFoundError("there is no such upload")
        return self.root / ".uploads" / upload_id

    def _put(self, key: str, write: Callable[[BinaryIO], object], create_only: bool) -> None:
        path = self._path(key)
        if create_only and path.exists():
            raise FileExistsError(key)
        temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
        _make_folder(path.parent)
        with _store_errors():
            try:
                with temporary.open("xb") as file:
                    write(file)
                    file.flush()
                    os.fsync(file.fileno())
                if create_only:
                    os.link(temporary, path)  # fails where a rename would replace
                else:
                    temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)

    def _list(self, prefix: str) -> list[ObjectInfo]:
        folder = self.root / prefix.rpartition("/")[0]
        if prefix and not folder.resolve().is_relative_to(self.root.resolve()):
            return []
        found = []
        for path in folder.rglob("*"):
            relative = path.relative_to(self.root)
            hidden = any(part.startswith(".") for part in relative.parts)
            if not hidden and path.is_file() and relative.as_posix().startswith(prefix):
                found.append(ObjectInfo(relative.as_posix(), path.stat().st_size))
        return sorted(found, key=lambda info: info.key)


def _make_folder(folder: Path) -> None:
    with _store_errors():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:  # a file stands where a folder has to be
            raise StoreUnavailable(f"the store has a file at {folder}") from error


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

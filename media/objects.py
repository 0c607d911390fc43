"""The object store: where masters and packages rest. Files on disk in `file_store`, S3 in `s3`.

Both keep the same promises, and one contract suite holds them to it:

- an object appears whole or not at all, and a create-only put never replaces one;
- a key is a relative path of plain elements, so no key leaves the store;
- a missing object is FileNotFoundError; a store that does not answer is StoreUnavailable, and
  one without room StoreFull;
- a multipart upload becomes an object only when it is completed.
"""

import re
from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from media.http_get import Take

CHUNK_BYTES = 256 * 1024
PAGE = 1000  # objects of a listing: as many as S3 names at once
MIN_PART_BYTES = 5 * 1024 * 1024  # S3 takes no smaller part but the last
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9 ._()+@=-]*(/[A-Za-z0-9_][A-Za-z0-9 ._()+@=-]*){0,9}")

ProgressFn = Callable[[int], None]  # bytes done so far


class StoreUnavailable(Exception):
    """The store did not answer, or answered that it cannot."""


class StoreFull(StoreUnavailable):
    """The store has no room."""


@dataclass(frozen=True)
class ObjectInfo:
    """A stored object: its key, its size in bytes, and when it was put (Unix seconds, by the
    store's clock)."""

    key: str
    bytes: int
    modified_s: float


@dataclass(frozen=True)
class DonePart:
    """A finished part of a multipart upload, numbered from 1."""

    number: int
    etag: str


class ObjectStore(Protocol):
    """What every store can do."""

    @property
    def url(self) -> str:
        """What `open_store` opens it by, without secrets."""

    async def address(self, key: str, ttl_s: int) -> str:
        """Where another program reads the object: a path, or a URL that is good for so long."""

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

    async def pour(self, key: str, take: Take, start: int = 0) -> None:
        """`take` was given the object's bytes from `start`, piece by piece."""

    async def get_file(self, key: str, path: Path, *, progress: ProgressFn | None = None) -> None:
        """The file at `path` holds the object."""

    async def stat(self, key: str) -> ObjectInfo:
        """The object's size and time. FileNotFoundError."""

    def list_objects(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Objects whose key starts with `prefix`, in the order of their keys; read from the store
        as they are asked for, some PAGE at once."""

    def list_folders(self, folder: str, after: str = "") -> AsyncIterator[str]:
        """The folders with objects directly in `folder`, which ends with a slash, and so do they;
        in their order, those that come after `after`."""

    async def delete(self, key: str) -> None:
        """There is no such object any more; there need not have been one."""

    async def start_upload(self, key: str) -> str:
        """Opens a multipart upload and returns its id."""

    async def part_url(self, key: str, upload_id: str, number: int, ttl_s: int) -> str | None:
        """A presigned address that takes the part by PUT; None: parts go through `put_part`."""

    async def put_part(
        self, key: str, upload_id: str, number: int, pieces: AsyncIterable[bytes], size: int
    ) -> str:
        """The part holds these pieces, `size` bytes together, in place of an earlier try; returns
        its etag. ValueError, and nothing is kept, when more or fewer come, or when the store takes
        parts at their addresses only."""

    async def finish_upload(self, key: str, upload_id: str, parts: list[DonePart]) -> None:
        """The object is the parts, in order. ValueError when one is missing or differs."""

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """Nothing of the upload is left; there need not have been one."""

    async def sweep(self, before_s: float) -> None:
        """What was begun before that time (Unix seconds) and never finished is gone: uploads, and
        what a crash left half-written."""

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
        from media.file_store import FileStore

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

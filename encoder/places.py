"""Places where a package can be read: a folder, or an HTTP server."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import aiohttp

from runtime.errors import Problem

MAX_FOLDER_FILES = 1_000_000
_TIMEOUT = aiohttp.ClientTimeout(total=120, connect=5, sock_read=20)


class Place(Protocol):
    """Where files are read by URL."""

    async def read(self, url: str, max_bytes: int) -> bytes:
        """The whole file. Raises FileNotFoundError; ValueError for one that is too large or lies
        elsewhere; OSError when the place does not answer."""

    def paths(self) -> set[str] | None:
        """Every file that is there, relative to the package; None where nobody can tell."""


class Folder:
    """A package's folder, whose root is `file:///`: joined addresses never lead above it."""

    base_url = "file:///"

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    async def read(self, url: str, max_bytes: int) -> bytes:
        parts = urlsplit(url)
        if parts.scheme != "file" or parts.netloc or "\0" in unquote(parts.path):
            raise ValueError("it lies outside the package")
        path = (self._root / unquote(parts.path).lstrip("/")).resolve()
        if not path.is_relative_to(self._root):
            raise ValueError("it lies outside the package")
        return await asyncio.to_thread(_read_file, path, max_bytes)

    def paths(self) -> set[str] | None:
        found: set[str] = set()
        for folder, _, names in os.walk(self._root):
            found.update(str((Path(folder) / name).relative_to(self._root)) for name in names)
            if len(found) > MAX_FOLDER_FILES:
                raise Problem("bad_request", f"{self._root} has too many files for a package.")
        return found


class Web:
    """An HTTP server."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def read(self, url: str, max_bytes: int) -> bytes:
        if urlsplit(url).scheme not in ("http", "https"):
            raise ValueError("its address is not one of HTTP")
        data = bytearray()
        try:
            async with self._http.get(url) as answer:
                if answer.status in (404, 410):
                    raise FileNotFoundError(f"HTTP {answer.status}")
                if answer.status != 200:
                    raise OSError(f"HTTP {answer.status}")
                while piece := await answer.content.readany():
                    data += piece
                    if len(data) > max_bytes:
                        raise ValueError(f"it has more than {max_bytes} bytes")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OSError(str(error) or "time-out") from None
        return bytes(data)

    def paths(self) -> set[str] | None:
        return None


@asynccontextmanager
async def open_web() -> AsyncIterator[Web]:
    """HTTP servers, over connections that are closed at the end."""
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as http:
        yield Web(http)


def _read_file(path: Path, max_bytes: int) -> bytes:
    if not path.is_file():  # nor a pipe or device, which could block for ever
        raise FileNotFoundError(path)
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"it has more than {max_bytes} bytes")
    return data

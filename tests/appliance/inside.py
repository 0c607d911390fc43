"""A worker and the keeper's desk in the test's own process, and a store that a test holds back."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from appliance.board import Board
from appliance.cache import Cache
from appliance.desk import WorkerDesk
from appliance.doors import Door
from appliance.early_fills import EarlyFills
from appliance.fill import Fills
from appliance.folders import Folders, FolderShare
from appliance.link import reachable
from appliance.settings import ApplianceSettings
from appliance.want import FileWant
from appliance.wire import Plain
from appliance.worker import Worker
from media.fleet import Notices
from media.http_get import Take
from tests.packages import MadePackage, make_keys, make_package

PIECE = 64 * 1024


class Valve:
    """A store that gives each file as far as it has been let."""

    name = "store"
    kind: Literal["store"] = "store"

    def __init__(self, package: MadePackage) -> None:
        self._package = package
        self._limits: dict[str, int] = {}
        self._moved = asyncio.Event()

    def let(self, path: str, limit: int) -> None:
        """Gives so many bytes of the file, and no more."""
        self._limits[path] = limit
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def pour(self, want: FileWant, offset: int, take: Take) -> None:
        data = self._package.files[want.path]
        while offset < len(data):
            moved, limit = self._moved, self._limits.get(want.path, len(data))
            if offset >= limit:
                await moved.wait()
                continue
            piece = data[offset : min(limit, offset + PIECE)]
            offset += len(piece)
            take(memoryview(piece))
            await asyncio.sleep(0)


class Inside:
    """What a test can reach."""

    def __init__(self, folder: Path, sizes: dict[str, int], settings: dict[str, object]) -> None:
        self.keys = make_keys(folder, "north-1")
        self.package = make_package(folder / "store", sizes)
        self.valve = Valve(self.package)
        self.board = Board(folder / "board")
        folders = Folders([FolderShare(folder / "cache", 10_000_000)], "boot")
        self.cache = Cache(folders, self.board)
        self.cache.open()
        self.fills = Fills(self.cache, stall_s=10)
        self.fills.sources = [self.valve]
        self.notices_file = folder / "notices.json"
        self.write_notices(Notices(version=0))
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        self.port: int = listener.getsockname()[1]
        given = ApplianceSettings.model_validate({"early_fills": 0, **settings})
        self.draining = False
        self.early = EarlyFills(self.fills, self.board, given.early_fills, lambda: self.draining)
        self.desk = WorkerDesk(self.fills, self.cache.where, self.cache.touch, self.early)
        self.desk_socket = folder / "desk"
        self.worker = Worker(
            "north-1", 0, [Door(listener, Plain)], None, folder, folders,
            folder / "secrets" / "trust.json", None, self.desk_socket,
            given,
        )  # fmt: skip

    def write_notices(self, notices: Notices) -> None:
        """They hold when the epoch has moved."""
        self.notices_file.write_text(notices.model_dump_json())

    def target(self, name: str, **claims: object) -> str:
        """A path with a fresh token."""
        token = self.package.token(self.keys["control"], **claims)
        return f"/{token}/{self.package.base}v-avc-720/{name}"

    def head(self, name: str, *lines: str, method: str = "GET") -> bytes:
        """A request's bytes."""
        first = f"{method} {self.target(name)} HTTP/1.1"
        return "\r\n".join((first, "Host: x", *lines, "", "")).encode()

    def data(self, name: str) -> bytes:
        """A file's bytes."""
        return self.package.files[f"v-avc-720/{name}"]

    def let(self, name: str, limit: int) -> None:
        """The store gives so many bytes of the file, and no more."""
        self.valve.let(f"v-avc-720/{name}", limit)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            async with asyncio.timeout(10):
                yield reader, writer
        finally:
            writer.close()

    async def fetch(self, name: str, *lines: str, method: str = "GET") -> bytes:
        """All that comes for one request."""
        async with self.client() as (reader, writer):
            writer.write(self.head(name, *lines, "Connection: close", method=method))
            return await reader.read()


@asynccontextmanager
async def inside(folder: Path, sizes: dict[str, int], **settings: object) -> AsyncIterator[Inside]:
    """The worker serves, and the desk answers it."""
    house, stopping, connected = Inside(folder, sizes, settings), asyncio.Event(), asyncio.Event()
    with reachable(house.desk_socket) as path:
        server = await asyncio.start_unix_server(house.desk.serve, path)
    async with server:
        link = asyncio.create_task(house.worker.link.run(connected.set))
        worker = asyncio.create_task(house.worker.run(stopping))
        try:
            await connected.wait()
            yield house
        finally:
            stopping.set()
            for connection in list(house.worker._connections):
                connection.close()
            await worker
            link.cancel()
            await asyncio.gather(link, return_exceptions=True)
            await house.fills.close()


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, fields and body of the next answer to a GET."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
    status = int(lines[0].split()[1])
    body = await reader.readexactly(int(fields.get("content-length", "0")))
    return status, fields, body

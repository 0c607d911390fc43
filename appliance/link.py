"""The line between a worker and the keeper: JSON lines on a Unix socket.

    worker -> keeper   {"need": id, "want": [title, package, inventory, path, sha256, size, max]}
                       {"touch": [key, …]}
                       {"players": [[session, key, CMCD], …]}
    keeper -> worker   {"id": id, "path": landing file, "size": bytes, "landed": bytes}
                       {"id": id, "held": path}
                       {"id": id, "failed": code, "retry_s": seconds or null}

Only misses and batches of touches travel here; hits never do.
"""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance.fill import Fill, Fills
from appliance.gate import releasable
from appliance.load import WorkerLoad
from appliance.open_file import OpenFile
from appliance.want import FileWant
from runtime.log import logger

MAX_LINE_BYTES = 256 * 1024
_RECONNECT_S = 0.1
_BEHIND_BYTES = 1024 * 1024


class Arrival:
    """A file that the keeper is bringing, as a worker sees it. Watchers are called on change."""

    def __init__(self, want: FileWant) -> None:
        self.want = want
        self.size = want.size
        self.landed = 0
        self.file: OpenFile | None = None
        self.held = False
        self.failed: str | None = None
        self.retry_s: int | None = None
        self.asked_s = time.monotonic()
        self.flying = False  # it counts as a flight, until its first byte may leave
        self.watchers: dict[Callable[[], None], None] = {}  # in the order of their coming

    def releasable(self) -> int:
        """Bytes from the start that may be sent now."""
        if self.file is None or self.size is None:
            return 0
        return releasable(self.size, self.landed, self.held)

    def take(self, message: dict[str, Any]) -> None:
        """Brings the arrival to the state that the keeper tells."""
        if "failed" in message:
            self.failed, self.retry_s = str(message["failed"]), message.get("retry_s")
        elif "held" in message:
            self._open(message["held"])
            self.held = self.file is not None
            if self.file is None:
                self.failed = "cache_full"  # evicted before it could be opened
            elif self.size is None:
                self.size = self.file.size
        else:
            self.size, self.landed = message["size"], message["landed"]
            self._open(message["path"])
        for watcher in tuple(self.watchers):
            if watcher in self.watchers:  # one may have sent another away
                watcher()

    @property
    def ended(self) -> bool:
        """Nothing more will come."""
        return self.held or self.failed is not None

    def _open(self, path: str) -> None:
        if self.file is None:
            try:
                self.file = OpenFile(path)
            except OSError:
                pass  # it has moved to its place already: `held` follows. Or no descriptor is left


class KeeperLink:
    """A worker's end. One arrival per file, however many connections wait for it."""

    def __init__(self, socket_path: Path, load: WorkerLoad) -> None:
        self._path = socket_path
        self._load = load
        self._writer: asyncio.StreamWriter | None = None
        self._arrivals: dict[int, Arrival] = {}
        self._by_key: dict[str, Arrival] = {}
        self._number = 0

    async def run(self, connected: Callable[[], None]) -> None:
        """Stays connected; when the keeper goes, everything awaited has failed."""
        while True:
            try:
                reader, self._writer = await asyncio.open_unix_connection(
                    str(self._path), limit=MAX_LINE_BYTES
                )
                connected()
                async for line in reader:
                    self._take(json.loads(line))
            except (OSError, ValueError) as error:
                logger().warning("keeper_away", why=str(error))
            finally:
                if self._writer is not None:
                    self._writer.close()
                    self._writer = None
                for number in list(self._arrivals):
                    self._take({"id": number, "failed": "unavailable", "retry_s": 1})
            await asyncio.sleep(_RECONNECT_S)

    def need(self, want: FileWant) -> Arrival:
        """The arrival of the file, asked for if nobody has yet."""
        arrival = self._by_key.get(want.key)
        if arrival is None:
            arrival = Arrival(want)
            self._number += 1
            if self._writer is None or self._writer.is_closing():
                arrival.failed, arrival.retry_s = "unavailable", 1
                return arrival
            self._arrivals[self._number] = arrival
            arrival.flying = True
            self._load.begin()
            self._by_key[want.key] = arrival
            _say(self._writer, {"need": self._number, "want": list(want)})
        return arrival

    def brings(self, want: FileWant) -> bool:
        """The file is on its way: who joins begins no flight."""
        return want.key in self._by_key

    def players(self, notes: list[list[tuple[str, str, str]]]) -> None:
        """Players have said this (`quality.Notes`). While the keeper does not listen, it learns
        less."""
        for part in notes:
            if self._writer is not None and not _is_behind(self._writer):
                _say(self._writer, {"players": part})

    def touch(self, keys: list[str]) -> None:
        """These files were served. While the keeper does not listen, it learns less."""
        if self._writer is not None and not _is_behind(self._writer):
            for start in range(0, len(keys), 1000):
                _say(self._writer, {"touch": keys[start : start + 1000]})

    def _take(self, message: dict[str, Any]) -> None:
        arrival = self._arrivals.get(message["id"])
        if arrival is None:
            return
        arrival.take(message)
        if arrival.flying and (arrival.ended or arrival.releasable() > 0):
            arrival.flying = False
            if arrival.failed is None:
                self._load.first_byte(int((time.monotonic() - arrival.asked_s) * 1e6))
            else:
                self._load.failed()
        if arrival.ended:
            del self._arrivals[message["id"]]
            self._by_key.pop(arrival.want.key, None)


class WorkerDesk:
    """The keeper's end: serves every worker that connects."""

    def __init__(
        self,
        fills: Fills,
        place: Callable[[str], Path],
        touch: Callable[[str], None],
        hear: Callable[[list[list[str]]], object] = lambda notes: None,
    ) -> None:
        self._hear = hear
        self._fills = fills
        self._place = place
        self._touch = touch

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one worker until it leaves."""
        watched: list[tuple[Fill, Callable[[Fill], None]]] = []
        try:
            async for line in reader:
                message = json.loads(line)
                for key in message.get("touch", ()):
                    self._touch(key)
                if "players" in message:
                    self._hear(message["players"])
                if "need" in message:
                    watched = [pair for pair in watched if not pair[0].ended]
                    watched += self._bring(message["need"], FileWant(*message["want"]), writer)
                await writer.drain()
        except (ConnectionError, ValueError):
            pass
        finally:
            for fill, watcher in watched:
                if watcher in fill.watchers:
                    fill.watchers.remove(watcher)
            writer.close()

    def _bring(
        self, number: int, want: FileWant, writer: asyncio.StreamWriter
    ) -> list[tuple[Fill, Callable[[Fill], None]]]:
        fill = self._fills.join(want)

        def tell(fill: Fill) -> None:
            if not fill.ended and _is_behind(writer):
                return  # the next word says as much, and more
            _say(writer, {"id": number, **self._state(fill)})

        if fill.ended or fill.landing is not None:
            tell(fill)
        if fill.ended:
            return []
        fill.watchers.append(tell)
        return [(fill, tell)]

    def _state(self, fill: Fill) -> dict[str, Any]:
        if fill.held:
            return {"held": str(self._place(fill.want.key))}
        if fill.problem is not None:
            return {"failed": fill.problem.code, "retry_s": fill.problem.retry_after_s}
        assert fill.landing is not None
        return {"path": str(fill.landing.path), "size": fill.size, "landed": fill.landed}


def _say(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    """Sends a line. Who has gone gets none: uvloop would raise, in the midst of a fill."""
    if not writer.is_closing():
        writer.write(json.dumps(message).encode() + b"\n")


def _is_behind(writer: asyncio.StreamWriter) -> bool:
    """The other end has not read for a while: only what must be told is told."""
    return writer.transport.get_write_buffer_size() > _BEHIND_BYTES

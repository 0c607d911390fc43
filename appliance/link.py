"""The line between a worker and the keeper: JSON lines on a Unix socket.

    worker -> keeper   {"need": id, "want": [title, package, inventory, path, sha256, size, max],
                        "asker": number, "trace": traceparent or ""}
                       {"touch": [key, …]}
                       {"players": [[session, key, CMCD], …]}
                       {"answers": [[began, microseconds, what, whose], …]}
                       {"served": [[package, rendition, bytes], …]}
                       {"early": [[reason, title, package, inventory, path, sha256, size, max], …]}
    keeper -> worker   {"id": id, "path": landing file, "size": bytes, "landed": bytes}
                       {"id": id, "held": path}
                       {"id": id, "failed": code, "retry_s": seconds or null}

Only misses and batches of touches travel here; hits never do. A touch comes at the next miss, or
after a moment: so what leaves for a file is chosen by all that was served before it.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from appliance.access_log import Record
from appliance.demand import Viewed
from appliance.early import Wish
from appliance.gate import releasable
from appliance.home import Asker
from appliance.load import WorkerLoad
from appliance.open_file import OpenFile
from appliance.want import FileWant
from runtime.log import logger

MAX_LINE_BYTES = 256 * 1024
_RECONNECT_S = 0.1
_BEHIND_BYTES = 1024 * 1024


class Arrival:
    """A file that the keeper is bringing, as a worker sees it. Watchers are called on change."""

    def __init__(self, want: FileWant, asker: Asker, find: Callable[[str], OpenFile]) -> None:
        """`find` opens a held file by its key, or raises OSError."""
        self.want = want
        self.asker = asker
        self._find = find
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
            if self.file is None:  # it has moved on since
                with suppress(OSError):
                    self.file = self._find(self.want.key)
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

    def __init__(
        self,
        socket_path: Path,
        load: WorkerLoad,
        find: Callable[[str], OpenFile],
        after: Callable[[], None] = lambda: None,
        used: Callable[[], list[str]] = list,
    ) -> None:
        """`find` opens a held file by its key, or raises OSError; `after` is called after each
        message from the keeper. `used` gives the files that were served and that the keeper does
        not know of yet, in order: it hears of them before a miss makes it choose what leaves."""
        self._after = after
        self._used = used
        self._path = socket_path
        self._find = find
        self._load = load
        self._line: Line | None = None
        self._arrivals: dict[int, Arrival] = {}
        self._by_key: dict[tuple[str, Asker], Arrival] = {}
        self._number = 0

    async def run(self, connected: Callable[[], None]) -> None:
        """Stays connected; when the keeper goes, everything awaited has failed."""
        while True:
            try:
                with reachable(self._path) as path:
                    reader, writer = await asyncio.open_unix_connection(path, limit=MAX_LINE_BYTES)
                self._line = Line(writer)
                connected()
                async for line in reader:
                    self._take(json.loads(line))
                    self._after()
            except (OSError, ValueError) as error:
                logger().warning("keeper_away", why=str(error))
            finally:
                if self._line is not None:
                    self._line.close()
                    self._line = None
                for number in list(self._arrivals):
                    self._take({"id": number, "failed": "unavailable", "retry_s": 1})
            await asyncio.sleep(_RECONNECT_S)

    def need(self, want: FileWant, asker: Asker, trace: str = "") -> Arrival:
        """The arrival of the file, asked for if nobody has yet; for each kind of asker apart, since
        what may be waited for on their behalf differs. `trace` is whose wish it is, as a
        `traceparent`."""
        arrival = self._by_key.get((want.key, asker))
        if arrival is None:
            arrival = Arrival(want, asker, self._find)
            self._number += 1
            if self._line is None or self._line.is_closing:
                arrival.failed, arrival.retry_s = "unavailable", 1
                return arrival
            self._arrivals[self._number] = arrival
            arrival.flying = True
            self._load.begin()
            self._by_key[want.key, asker] = arrival
            self.touch(self._used())
            message = {"need": self._number, "want": list(want), "asker": asker}
            if trace:
                message["trace"] = trace
            self._line.say(message)
        return arrival

    def brings(self, want: FileWant, asker: Asker) -> bool:
        """The file is on its way: who joins begins no flight."""
        return (want.key, asker) in self._by_key

    def players(self, notes: list[list[tuple[str, str, str]]]) -> None:
        """Players have said this (`quality.Notes`). While the keeper does not listen, it learns
        less."""
        for part in notes:
            if self._line is not None and not self._line.is_behind:
                self._line.say({"players": part})

    def answers(self, records: list[Record]) -> None:
        """These are some of what was answered. While the keeper does not listen, it learns less."""
        if self._line is not None and not self._line.is_behind:
            self._line.say({"answers": records})

    def early(self, wishes: list[Wish]) -> None:
        """Sessions will want these files. While the keeper does not listen, it learns less."""
        if wishes and self._line is not None and not self._line.is_behind:
            self._line.say({"early": [[wish.reason, *wish.want] for wish in wishes]})

    def served(self, viewed: Viewed) -> None:
        """Viewers took this. While the keeper does not listen, it is kept for later."""
        if self._line is not None and not self._line.is_behind:
            for part in viewed.take():
                self._line.say({"served": part})

    def touch(self, keys: list[str]) -> None:
        """These files were served. While the keeper does not listen, it learns less."""
        if self._line is not None and not self._line.is_behind:
            for start in range(0, len(keys), 1000):
                self._line.say({"touch": keys[start : start + 1000]})

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
            self._by_key.pop((arrival.want.key, arrival.asker), None)


class Line:
    """The way to the other end. What is said in one turn of the event loop leaves at its end, in
    one write: each would wake the other process, which may have to share this one's core."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._said: list[str] = []
        self._said_bytes = 0

    def say(self, message: dict[str, Any]) -> None:
        """The other end hears it soon, if it is still there."""
        if not self._said:
            self._loop.call_soon(self._send)
        text = json.dumps(message)
        self._said.append(text)
        self._said_bytes += len(text)

    def _send(self) -> None:
        if not self._writer.is_closing():  # uvloop would raise
            self._writer.write("\n".join((*self._said, "")).encode())
        self._said.clear()
        self._said_bytes = 0

    @property
    def is_behind(self) -> bool:
        """The other end has not read for a while: only what must be told is told."""
        waiting_bytes = self._writer.transport.get_write_buffer_size()
        return waiting_bytes + self._said_bytes > _BEHIND_BYTES

    @property
    def is_closing(self) -> bool:
        """Nothing is heard at the other end any more."""
        return self._writer.is_closing()

    def close(self) -> None:
        """The other end sees that we have left."""
        self._writer.close()


@contextmanager
def reachable(socket_path: Path) -> Iterator[str]:
    """The path of a Unix socket in a few bytes, of which it may have 107 (unix(7)), however deep
    its folder lies: by way of a descriptor of the folder, as long as the block lasts."""
    folder = os.open(socket_path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{socket_path.name}"
    finally:
        os.close(folder)

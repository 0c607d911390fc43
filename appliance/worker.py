"""A worker: accepts connections on its socket, and serves what is on disk. It only reads.

What it shares with its connections: the gate, a bounded table of open descriptors, the link to
the keeper, its row of the board, and the batched access log.
"""

import asyncio
import errno
import json
import os
import socket
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path

from appliance import answers
from appliance.board import Board, Word
from appliance.connection import Connection
from appliance.folders import Folders
from appliance.gate import Decision, FileWant, Gate
from appliance.http1 import Request
from appliance.link import KeeperLink, OpenFile
from appliance.settings import ApplianceSettings
from media.fleet import Notices
from media.keys import Keyring
from media.token import PathClaims
from runtime.log import logger

TICK_S = 0.25
_DRAIN_S = 7.0  # the parent waits for us, and then for the keeper, within runtime.service.GRACE_S
_ACCEPTS_PER_TURN = 64
_LOG_LINES = 5_000
_LOG_BYTES = 64 * 1024 * 1024
_TOUCHES = 20_000
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Worker:
    """One process's share of the data port."""

    def __init__(
        self,
        appliance_id: str,
        slot: int,
        listener: socket.socket,
        home: Path,
        folders: Folders,
        trust: Path,
        log: Path | None,
        keeper_socket: Path,
        settings: ApplianceSettings,
    ) -> None:
        self.settings = settings
        self.loop = asyncio.get_running_loop()
        self.now = time.monotonic()
        self.date_line = b""
        self._name = appliance_id.encode()
        self._listener = listener
        self._folders = folders
        self._log = log
        self._board = Board(home / "board")
        self.row = self._board.row(slot)
        self.gate = Gate(Keyring([]))
        self._orders = (
            _Watched(trust, lambda: self.gate.trust(Keyring.read(trust))),
            _Watched(home / "notices.json", lambda: self._obey(home / "notices.json")),
        )
        self.link = KeeperLink(keeper_socket)
        self._files: OrderedDict[str, OpenFile] = OrderedDict()
        self._connections: set[Connection] = set()
        self._per_address: Counter[str] = Counter()
        self._touched: dict[str, None] = {}
        self._lines: list[str] = []
        self._lines_lost = 0
        self._full = False  # no descriptor was left for a connection: the kernel keeps them
        self._tick_date()

    # What connections use.

    def decide(self, request: Request) -> Decision:
        """The gate's answer, by the newest notices."""
        if self.row[Word.ACKED] != self._board.epoch:
            self._let_go()
        return self.gate.decide(request.method, request.target, time.time())

    def open_file(self, want: FileWant) -> OpenFile | None:
        """The file, if it is on disk and of the right size; its use is noted."""
        key = want.key
        file = self._files.get(key)
        if file is None:
            try:
                file = self._open(key)
            except OSError:
                return None
            if want.size is not None and file.size != want.size:
                logger().error("wrong_size_on_disk", file=key, bytes=file.size)
                return None
            self._files[key] = file
            if len(self._files) > self.settings.open_files:
                self._files.popitem(last=False)
        else:
            self._files.move_to_end(key)
        if len(self._touched) < _TOUCHES:
            self._touched[key] = None
        return file

    def _open(self, key: str) -> OpenFile:
        """Raises OSError: FileNotFoundError, when no folder has it."""
        trouble: OSError = FileNotFoundError(key)
        for path in self._folders.paths(key, self._board.folders_out):
            try:
                return OpenFile(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                trouble = error
        raise trouble

    def learn_from_disk(self, want: FileWant) -> bool:
        """Reads an inventory or a file list into the gate. False if it is not here, or not it."""
        try:
            file = self._open(want.key)
            raw = os.pread(file.descriptor, want.max_bytes + 1, 0)
            self.gate.learn(want, raw)
        except FileNotFoundError:
            return False
        except (OSError, ValueError) as error:
            logger().error("unreadable_list", file=want.key, why=str(error))
            return False
        return True

    def fields(self, want: FileWant, claims: PathClaims, status: str) -> bytes:
        """Header lines of a file's answer (Cache-Status: RFC 9211)."""
        said = b"; hit" if status == "hit" else b"; fwd=miss"
        life = claims.expires_s - int(time.time())
        return answers.file_fields(want, life, self._name + said)

    def record(
        self,
        request: Request | None,
        status: int,
        sent: int,
        cache: str,
        claims: PathClaims | None,
        began: float,
    ) -> None:
        """Notes an answer for the access log: never the token or the query, but the session."""
        if self._log is None:
            return
        if len(self._lines) >= _LOG_LINES:
            self._lines_lost += 1
            return
        path = ""
        if request is not None and claims is not None:
            path = "/" + request.target.partition(b"?")[0].split(b"/", 2)[2].decode("latin-1")
        self._lines.append(
            json.dumps(
                {
                    "ts": datetime.now(UTC).isoformat(timespec="milliseconds"),
                    "method": request.method.decode("latin-1") if request else "",
                    "path": path,
                    "status": status,
                    "bytes": sent,
                    "cache": cache,
                    "ms": round((time.monotonic() - began) * 1000, 2),
                    "session_id": claims.session_id if claims else None,
                    "scope": claims.scope if claims else None,
                }
            )
        )

    def forget(self, connection: Connection) -> None:
        """The connection has closed."""
        self._connections.discard(connection)
        self._per_address[connection.address] -= 1
        if self._per_address[connection.address] <= 0:
            del self._per_address[connection.address]
        self.row[Word.OPEN] = len(self._connections)

    # Its own life.

    async def run(self, stopping: asyncio.Event) -> None:
        """Serves until `stopping`, then lets running answers end. Raises OSError or ValueError if
        notices or key ring cannot be read: without them nothing may be served."""
        self.row[Word.OPEN] = 0
        self.row[Word.ALIVE] = 1
        for order in self._orders:
            order.look()
        self._let_go()
        self.loop.add_reader(self._listener.fileno(), self._accept)
        try:
            while not stopping.is_set():
                self._tick()
                try:
                    async with asyncio.timeout(TICK_S):
                        await stopping.wait()
                except TimeoutError:
                    pass
        finally:
            self._full = False
            self.loop.remove_reader(self._listener.fileno())
        await self._end()

    async def _end(self) -> None:
        deadline = self.now + _DRAIN_S
        while self.now < deadline and any(connection.busy for connection in self._connections):
            await asyncio.sleep(0.05)
            self._tick()
        for connection in list(self._connections):
            connection.stop("unavailable")
            connection.close()
        self._tick()
        self.row[Word.ALIVE] = 0

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                sock, address = self._listener.accept()
            except OSError as error:
                if error.errno in _NO_ROOM:  # and they will be no fewer the next moment
                    self._full = True
                    self.loop.remove_reader(self._listener.fileno())
                return
            sock.setblocking(False)
            host = str(address[0])
            if (
                len(self._connections) >= self.settings.max_connections
                or self._per_address[host] >= self.settings.max_connections_per_address
            ):
                sock.close()
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.add(Connection(self, sock, host))
            self._per_address[host] += 1
            self.row[Word.ACCEPTED] += 1
            self.row[Word.OPEN] = len(self._connections)

    def _tick(self) -> None:
        """What is done a few times a second, for all connections at once."""
        self.now = time.monotonic()
        self._tick_date()
        if self.row[Word.ACKED] != self._board.epoch:
            self._let_go()
        for connection in [c for c in self._connections if c.deadline < self.now]:
            connection.stop("unavailable")
        if self._full:
            self._full = False
            self.loop.add_reader(self._listener.fileno(), self._accept)
        if self._touched:
            self.link.touch(list(self._touched))
            self._touched.clear()
        self._write_log()

    def _tick_date(self) -> None:
        self.date_line = b"Date: %b\r\n" % formatdate(usegmt=True).encode()

    def _let_go(self) -> None:
        """Acknowledges the epoch: unlinked files are closed, notices and key ring hold as they are
        now. Ones that cannot be read leave the earlier ones in force."""
        epoch = self._board.epoch
        for key, file in list(self._files.items()):
            if os.fstat(file.descriptor).st_nlink == 0:
                del self._files[key]
        for order in self._orders:
            try:
                order.look()
            except (OSError, ValueError) as error:
                logger().error("order_unreadable", file=order.path.name, why=str(error))
        self.row[Word.ACKED] = epoch

    def _obey(self, path: Path) -> None:
        self.gate.obey(Notices.model_validate_json(path.read_bytes()), time.time())
        for connection in list(self._connections):
            claims = connection.reads_for
            code = self.gate.withdrawn(claims) if claims is not None else None
            if code is not None:
                connection.stop(code)

    def _write_log(self) -> None:
        if self._log is None or not self._lines:
            return
        lines, self._lines = self._lines, []
        lost, self._lines_lost = self._lines_lost, 0
        try:
            if self._log.exists() and self._log.stat().st_size > _LOG_BYTES:
                self._log.replace(self._log.with_suffix(".1.log"))
            with self._log.open("a") as file:
                file.write("\n".join(lines) + "\n")
        except OSError as error:
            logger().warning("access_log_lost", why=str(error), lines=len(lines) + lost)
        else:
            if lost:
                logger().warning("access_log_lost", why="too many at once", lines=lost)


class _Watched:
    """A small file that others replace; `take` is called when it is another than before."""

    def __init__(self, path: Path, take: Callable[[], None]) -> None:
        self.path = path
        self._take = take
        self._seen: tuple[int, int] | None = None

    def look(self) -> None:
        """Raises what `take` does; the file then counts as not seen."""
        status = self.path.stat()
        stamp = status.st_ino, status.st_mtime_ns
        if stamp != self._seen:
            self._take()
            self._seen = stamp

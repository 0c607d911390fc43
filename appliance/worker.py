"""A worker: accepts connections on its socket, and serves what is on disk. It only reads.

What it shares with its connections: the gate, a bounded table of open descriptors, the link to
the keeper, its row of the board, and the batched access log.
"""

import asyncio
import os
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path

from appliance.access_log import NOBODY, Cache, Record, quoted, what
from appliance.answers import Listed
from appliance.at_once import AtOnce
from appliance.board import EPOCH, Board, Word
from appliance.certificates import Certificates
from appliance.closer import Closer
from appliance.connection import Connection
from appliance.demand import Viewed
from appliance.doors import Door, Doors
from appliance.early import Ahead
from appliance.folders import Folders
from appliance.gate import Decision, Gate, Grant
from appliance.http1 import Request, SeenHeads
from appliance.link import KeeperLink
from appliance.load import WorkerLoad
from appliance.log_file import LogFile
from appliance.open_file import OpenFile
from appliance.poller import Poller
from appliance.quality import Notes
from appliance.settings import ApplianceSettings
from appliance.shed import Priority
from appliance.spans import Sample
from appliance.tally import Tally
from appliance.want import FileWant
from appliance.wire import Wire
from media import cmsd
from media.fleet import Notices
from media.keys import Keyring
from runtime import tracing
from runtime.log import logger

TICK_S = 0.25
_DRAIN_S = 7.0  # the parent waits for us, and then for the keeper, within runtime.service.GRACE_S
_TOUCHES = 20_000
_READERS = 16  # threads that wait for the disk; a rotating one gains nothing by more


class Worker:
    """One process's share of the data port."""

    def __init__(
        self,
        appliance_id: str,
        slot: int,
        doors: list[Door],
        certificates: Certificates | None,
        home: Path,
        folders: Folders,
        trust: Path,
        log: Path | None,
        keeper_socket: Path,
        settings: ApplianceSettings,
    ) -> None:
        self.settings = settings
        self.loop = asyncio.get_running_loop()
        self.poller = Poller(self.loop, self._obey_epoch, self._count)
        self.at_once = AtOnce(self)
        self.seen_heads: SeenHeads = {}
        self.name = appliance_id.encode()
        self.quoted_name = cmsd.quoted(appliance_id)
        self._under_duress = b"CMSD-Dynamic: %b\r\n" % cmsd.dynamic(self.quoted_name, duress=True)
        self.duress_line = b""  # that, while there is too much to do
        self._certificates = certificates
        self._doors = Doors(
            doors,
            settings.max_connections,
            settings.max_connections_per_address,
            settings.pace_bps,
            self._welcome,
        )
        self._folders = folders
        self._closer = Closer(self.loop)
        self._sample = Sample()
        hear = self._tell_answers if tracing.on() else None
        self.log = None if log is None else LogFile(log, self._closer.close, hear)
        self._board = Board(home / "board")
        self.words = self._board.words
        self.row = self._board.row(slot)
        self._obeyed = -1  # the epoch that holds here
        self.counts: defaultdict[int, int] = defaultdict(int)  # by word, since the last turn
        self.gate = Gate(Keyring([]))
        self._ring = Keyring([])  # as it is on disk
        self._keys: dict[str, str | None] = {}  # that overrule it
        self._orders = (
            _Watched(trust, lambda: self._trust(Keyring.read(trust), self._keys)),
            _Watched(home / "notices.json", lambda: self._obey(home / "notices.json")),
        )
        self.tally = self._board.tally(slot)
        self.load = WorkerLoad(self.tally, time.monotonic(), TICK_S)
        self.notes = Notes()
        self.ahead = Ahead(
            lambda grant, path: self.gate.find(grant, path, self.clock_s),
            on=settings.early_fills > 0,
        )
        self.link = KeeperLink(keeper_socket, self.load, self._open, self._count, self._take_used)
        self.files: OrderedDict[str, OpenFile] = OrderedDict()
        self._by_inode: dict[int, set[str]] = {}  # two disks may have the same number
        self._heard = self._board.announced
        self._folders_out = self._board.folders_out
        self._connections: set[Connection] = set()
        self._touched: dict[str, Listed] = {}  # since the last tick
        self._used: list[str] = []  # and the keeper does not know yet; at most as many
        self.viewed = Viewed()
        self._readers = ThreadPoolExecutor(_READERS, "read-ahead")
        self._soon: list[Callable[[], None]] = []
        self._look_at_clocks()

    # What connections use.

    def decide(self, request: Request, address: str) -> Decision:
        """The gate's answer, by the newest notices."""
        self._obey_epoch()
        return self.gate.decide(request.method, request.target, address, self.clock_s)

    def open_file(self, listed: Listed) -> OpenFile | None:
        """The file, if it is on disk and of the right size; its use is noted."""
        key = listed.key
        file = self.files.get(key)
        if file is None:
            try:
                file = self._open(key)
            except OSError:
                return None
            if listed.want.size is not None and file.size != listed.size:
                logger().error("wrong_size_on_disk", file=key, bytes=file.size)
                return None
            self.files[key] = file
            self._by_inode.setdefault(file.inode, set()).add(key)
            if len(self.files) > self.settings.open_files:
                self._take(next(iter(self.files)))
        if not file.used:
            file.used = len(self._touched) < _TOUCHES
            if file.used:
                self._touched[key] = listed
                self._used.append(key)
        return file

    def _take_used(self) -> list[str]:
        """The files that were used since the last time, each once, in the order of that."""
        used, self._used = self._used, []
        for key in used:
            if (file := self.files.get(key)) is not None:
                file.used = False
        return used

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

    def look_ahead(self) -> None:
        """The keeper hears what sessions will want, while there is room for it."""
        wishes = [w for w in self.ahead.wishes(self._touched) if not self._holds(w.want.key)]
        if self.load.may_begin(Priority.PREFETCH):
            self.link.early(wishes)
        else:
            for _ in wishes:
                self.load.shed(Priority.PREFETCH)

    def _holds(self, key: str) -> bool:
        return key in self.files or any(
            map(os.path.exists, self._folders.paths(key, self._board.folders_out))
        )

    def read_ahead(self, file: OpenFile, offset: int, count: int) -> asyncio.Future[None]:
        """A thread brings these bytes into the page cache."""
        return self.loop.run_in_executor(self._readers, file.read_ahead, offset, count)

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

    def record(
        self,
        request: Request | None,
        listed: Listed | None,
        status: int,
        sent: int,
        cache: Cache,
        grant: Grant | None,
        began: float,
    ) -> None:
        """Notes an answer for the access log: never the token or the query, but the session."""
        if self.log is None:
            return
        us = int((time.monotonic() - began) * 1e6)
        path = '""'
        if listed is not None:
            path = listed.quoted
        elif grant is not None and request is not None:
            path = quoted(b"/" + request.target.partition(b"?")[0].split(b"/", 2)[2])
        said = what(None if request is None else request.method, path, status, sent, cache)
        self.log.add((self.epoch_s + began, us, said, NOBODY if grant is None else grant.who))

    def forget(self, connection: Connection) -> None:
        """The connection has closed."""
        self._connections.discard(connection)
        self._doors.left(connection.address)
        self.row[Word.OPEN] = self._doors.inside

    def soon(self, call: Callable[[], None]) -> None:
        """`call`, in the loop's next turn."""
        if not self._soon:
            self.loop.call_soon(self._do_these)
        self._soon.append(call)

    def _do_these(self) -> None:
        calls, self._soon = self._soon[::-1], []
        self._obey_epoch()
        try:
            while calls:
                calls.pop()()
        finally:
            self._count()
            for call in reversed(calls):  # one broke, and the others have nothing to do with that
                self.soon(call)

    def _tell_answers(self, records: list[Record]) -> None:
        """Some of them are told in traces, by the keeper."""
        taken = self._sample.take(records)
        if taken:
            self.link.answers(taken)

    def _count(self) -> None:
        """What was counted is on the board: after each event, or some that came together."""
        self.at_once.settle()
        row, counts = self.row, self.counts
        for word, more in counts.items():
            row[word] += more
        counts.clear()

    # Its own life.

    async def run(self, stopping: asyncio.Event) -> None:
        """Serves until `stopping`, then lets running answers end. Raises OSError or ValueError if
        notices or key ring cannot be read: without them nothing may be served."""
        self.row[Word.OPEN] = 0
        self.row[Word.ALIVE] = 1
        for order in self._orders:
            order.look()
        self._let_go()
        self._doors.open()
        try:
            while not stopping.is_set():
                self._tick()
                try:
                    async with asyncio.timeout(TICK_S):
                        await stopping.wait()
                except TimeoutError:
                    pass
        finally:
            self._doors.close()
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
        self.poller.close()
        self._readers.shutdown(wait=False)
        self._closer.end()
        self.row[Word.ALIVE] = 0

    def _welcome(self, wire: Wire, address: str) -> None:
        self._connections.add(Connection(self, wire, address))
        self.row[Word.ACCEPTED] += 1
        self.row[Word.OPEN] = self._doors.inside

    def _tick(self) -> None:
        """What is done a few times a second, for all connections at once."""
        self._look_at_clocks()
        self._count()
        self._obey_epoch()
        for connection in [c for c in self._connections if c.deadline < self.now]:
            connection.overdue()
        self._doors.tick()
        if self._certificates is not None:
            self._certificates.look()
        for grant, listed, said in self.notes:
            self.ahead.heard(grant, listed.want, said)
        self.look_ahead()
        self.viewed.gather(self._touched.values())
        self.link.served(self.viewed)
        self.link.touch(self._take_used())
        for key in self._touched:
            if key in self.files:
                self.files.move_to_end(key)
        self._touched.clear()
        self.load.tick(self.now, self._board.pressure, time.process_time_ns() // 1000)
        self.duress_line = b"" if self.load.calm else self._under_duress
        self.link.players(self.notes.take())
        if self.notes.lost:
            self.tally[Tally.NOTES_LOST] += self.notes.lost
            self.notes.lost = 0
        if self.log is not None:
            self.log.tick()

    def _look_at_clocks(self) -> None:
        """What depends on the time alone, and may be a tick old."""
        self.now = now = time.monotonic()
        self.clock_s = time.time()
        self.second = int(self.clock_s)
        self.epoch_s = self.clock_s - now  # of the monotonic clock
        self.request_until = now + self.settings.request_timeout_s
        self.idle_until = now + self.settings.idle_timeout_s
        self.stalled_until = now + self.settings.send_stall_s
        self.date_line = date = b"Date: %b\r\n" % formatdate(self.clock_s, usegmt=True).encode()
        self.hit_lines = b"%bCache-Status: %b; hit\r\n" % (date, self.name)
        self.miss_lines = b"%bCache-Status: %b; fwd=miss\r\n" % (date, self.name)

    def _obey_epoch(self) -> None:
        """What holds now is in force: before requests are answered."""
        if self._obeyed != self.words[EPOCH]:
            self._let_go()

    def _let_go(self) -> None:
        """Obeys the epoch: unlinked files are used no more, notices and key ring hold as they are
        now. Ones that cannot be read leave the earlier ones in force. The epoch is acknowledged
        when the files are closed."""
        epoch = self._board.epoch
        unlinked = self._take_unlinked()
        for order in self._orders:
            try:
                order.look()
            except (OSError, ValueError) as error:
                logger().error("order_unreadable", file=order.path.name, why=str(error))
        self._obeyed = epoch
        self._closer.let_go(unlinked, lambda: self._acknowledge(epoch))

    def _acknowledge(self, epoch: int) -> None:
        self.row[Word.ACKED] = epoch

    def _take_unlinked(self) -> list[OpenFile]:
        """Takes the files from the table that were announced since the last time, and all when they
        were too many, or when a folder went out of service or came back."""
        announced, out = self._board.announced, self._board.folders_out
        inodes = self._board.since(self._heard)
        if inodes is None or out != self._folders_out:
            self._heard, self._folders_out = announced, out
            unlinked = list(self.files.values())
            self.files.clear()
            self._by_inode.clear()
            return unlinked
        self._heard += len(inodes)
        return [self._take(key) for inode in inodes for key in tuple(self._by_inode.get(inode, ()))]

    def _take(self, key: str) -> OpenFile:
        file = self.files.pop(key)
        keys = self._by_inode[file.inode]
        keys.discard(key)
        if not keys:
            del self._by_inode[file.inode]
        return file

    def _trust(self, ring: Keyring, keys: dict[str, str | None]) -> None:
        self.gate.trust(ring.overruled(keys))
        self._ring, self._keys = ring, keys

    def _obey(self, path: Path) -> None:
        notices = Notices.model_validate_json(path.read_bytes())
        if notices.keys != self._keys:  # else no token has to be verified anew
            self._trust(self._ring, notices.keys)
        self.gate.obey(notices, time.time())
        for connection in list(self._connections):
            grant = connection.reads_for
            code = self.gate.withdrawn(grant.claims) if grant is not None else None
            if code is not None:
                connection.stop(code)


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

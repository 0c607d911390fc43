"""One connection of the data port: reads requests, sends answers with sendfile, in order.

Raw sockets with `add_reader` and `add_writer`, because the kernel then sends straight from the
page cache. A connection is idle, sending, or waiting: for a fill's bytes, or for a cold page that
a thread reads ahead, so that the loop never waits for a disk.
"""

import os
import socket
import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from appliance import answers
from appliance.board import Word
from appliance.gate import FileWant, Learn, Preflight, Reject, Serve
from appliance.http1 import BadRequest, Request, RequestReader, head
from appliance.link import Arrival, OpenFile
from appliance.ranges import NotSatisfiable, has_current, range_applies, wanted_span
from media.token import PathClaims
from runtime.log import logger

if TYPE_CHECKING:
    from appliance.worker import Worker

_RECV_BYTES = (
    16 * 1024
)  # what a client sends ahead while it is answered; the rest waits in the kernel
_SEND_BYTES = 1024 * 1024  # per turn of the loop, so that a fast reader does not starve the others
_LINGER_S = 2.0
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER 0: close() sends RST, and no client takes it for whole


class Connection:
    """A client, from accept to close. The worker's sweep closes it when `deadline` has passed."""

    def __init__(self, worker: "Worker", sock: socket.socket, address: str) -> None:
        self.address = address
        self.deadline = worker.now + worker.settings.request_timeout_s
        self._worker = worker
        self._sock = sock
        self._number = sock.fileno()
        self._reader = RequestReader()
        self._closed = False
        self._reading = False
        self._writing = False
        self._reading_ahead = False
        self._half_closed = False  # the client sends no more, and still reads
        self._lingering = False  # we send no more, and still read
        self._busy = False  # an answer is under way; what follows describes it
        self._request: Request | None = None
        self._claims: PathClaims | None = None
        self._out: memoryview = memoryview(b"")
        self._file: OpenFile | None = None
        self._arrival: Arrival | None = None
        self._watcher: Callable[[], None] | None = None
        self._offset = self._end = self._sent = 0
        self._partial = False
        self._status = 0
        self._cache = "-"
        self._began = 0.0
        self._read_on()

    # Reading.

    def _on_readable(self) -> None:
        try:
            data = self._sock.recv(_RECV_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        if self._lingering:
            if not data:
                self.close()
        elif self._busy:  # pipelined: it waits its turn
            self._half_closed = not data
            self._reader.feed(data)
            self._read_no_more()
        else:
            if not self._reader.in_request:  # a head begins: it has this long, and not longer
                self.deadline = self._worker.now + self._worker.settings.request_timeout_s
            self._half_closed = not data
            self._reader.feed(data)
            self._next()

    def _read_on(self) -> None:
        if not self._reading:
            self._reading = True
            self._worker.loop.add_reader(self._number, self._on_readable)

    def _read_no_more(self) -> None:
        if self._reading:
            self._reading = False
            self._worker.loop.remove_reader(self._number)

    # Deciding.

    def _next(self) -> None:
        """Answers the next request, or waits until one has come whole."""
        if self._busy or self._closed:
            return
        try:
            request = self._reader.next()
        except BadRequest as refused:
            self._read_no_more()
            self._start(None)
            self._refuse("bad_request", status=refused.status)
            return
        if request is not None:
            self._start(request)
            self._decide(request)
        elif self._half_closed:
            self.close()
        else:
            self._read_on()

    def _start(self, request: Request | None) -> None:
        """An answer is under way; None: to what is no request."""
        self._busy = True
        self._request = request
        self._sent, self._cache, self._claims = 0, "-", None
        self._began = time.monotonic()
        self.deadline = self._worker.now + self._worker.settings.send_stall_s
        self._worker.row[Word.REQUESTS] += 1

    def _decide(self, request: Request) -> None:
        try:
            decision = self._worker.decide(request)
        except Exception:  # a fault of ours with one request must not leave its client waiting
            logger().exception("request_broke")
            decision = Reject("internal")
        match decision:
            case Serve() as serve:
                self._claims = serve.claims
                self._serve(serve, request)
            case Learn() as learn:
                self._claims = learn.claims
                if self._worker.learn_from_disk(learn.want):
                    self._decide(request)
                else:
                    self._ask(learn.want, learn.only_if_held, request, self._on_learnt)
            case Preflight():
                self._answer(204, answers.PREFLIGHT, None)
            case Reject(code, claims):
                self._claims = claims
                self._refuse(code)

    def _serve(self, serve: Serve, request: Request) -> None:
        """Answers for a file whose size and digest are known: conditions first, then bytes."""
        want = serve.want
        size = want.max_bytes if want.size is None else want.size
        etag = answers.etag_of(want)
        if has_current(request.headers.get(b"if-none-match"), etag):
            self._answer(304, self._worker.fields(want, serve.claims, "hit"), None)
            return
        try:
            span = None  # ranges are defined for GET alone (RFC 9110 14.2)
            if request.method == b"GET" and range_applies(request.headers.get(b"if-range"), etag):
                span = wanted_span(request.headers.get(b"range"), size)
        except NotSatisfiable:
            self._refuse("range_not_satisfiable", fields=b"Content-Range: bytes */%d\r\n" % size)
            return
        self._partial = span is not None
        self._offset, self._end = span or (0, size)
        self._file = self._worker.open_file(want)
        self._cache = "hit" if self._file else "miss"
        if self._file is None and request.method == b"GET":
            self._ask(want, serve.only_if_held, request, self._on_landed)
            return
        self._worker.row[Word.HITS] += self._file is not None
        self._begin(want, serve.claims, request)

    def _begin(self, want: FileWant, claims: PathClaims, request: Request) -> None:
        """Sends the head of the file's answer, and then its bytes."""
        size = want.max_bytes if want.size is None else want.size
        fields = self._worker.fields(want, claims, self._cache)
        if self._partial:
            fields += b"Content-Range: bytes %d-%d/%d\r\n" % (self._offset, self._end - 1, size)
        if request.method == b"HEAD":
            self._file = None
        self._answer(206 if self._partial else 200, fields, self._end - self._offset)

    # Waiting for the keeper.

    def _ask(
        self,
        want: FileWant,
        only_if_held: bool,
        request: Request,
        on_change: Callable[[Arrival, Request], None],
    ) -> None:
        """Has the keeper bring the file. Nothing is filled for peers, nor for who asks with
        `only-if-cached` (RFC 9111 5.2.1.7)."""
        if only_if_held or b"only-if-cached" in request.headers.get(b"cache-control", b""):
            self._refuse("not_held")
            return
        self._worker.row[Word.MISSES] += 1
        self._cache = "fill"
        arrival = self._worker.link.need(want)
        self._arrival = arrival
        self._watcher = lambda: on_change(arrival, request)
        arrival.watchers[self._watcher] = None
        self._wait_for_keeper()
        self._watcher()

    def _wait_for_keeper(self) -> None:
        """Longer than for a client: the keeper tries one source after the other."""
        self.deadline = self._worker.now + self._worker.settings.send_stall_s * 3

    def _leave_arrival(self) -> None:
        if self._arrival is not None and self._watcher is not None:
            self._arrival.watchers.pop(self._watcher, None)
        self._arrival = self._watcher = None

    def _on_learnt(self, arrival: Arrival, request: Request) -> None:
        if arrival.failed is not None:
            self.stop(arrival.failed, arrival.retry_s)
        elif not arrival.held:
            self._wait_for_keeper()
        elif self._worker.learn_from_disk(arrival.want):
            self._leave_arrival()
            self._decide(request)
        else:
            self.stop("fill_failed")

    def _on_landed(self, arrival: Arrival, request: Request) -> None:
        if arrival.failed is not None:
            self.stop(arrival.failed, arrival.retry_s)
            return
        if self._writing or self._reading_ahead:
            return  # what holds us up is not the keeper
        self._wait_for_keeper()
        if self._file is not None:
            self._pump()
        elif arrival.held or arrival.releasable() > self._offset:
            self._file = arrival.file
            assert self._claims is not None
            self._begin(arrival.want, self._claims, request)

    # Answering.

    def _refuse(
        self,
        code: str,
        *,
        status: int | None = None,
        fields: bytes = b"",
        retry_s: int | None = None,
    ) -> None:
        self._worker.row[Word.REJECTS] += 1
        usual, lines, body = answers.error(code, retry_s)
        self._file = None
        self._answer(status or usual, lines + fields, len(body), body)

    def _answer(self, status: int, fields: bytes, length: int | None, body: bytes = b"") -> None:
        keep_alive = self._request is not None and self._request.keep_alive
        if self._request is not None and self._request.method == b"HEAD":
            body = b""
        self._status = status
        lines = fields + self._worker.date_line
        self._out = memoryview(head(status, lines, length, keep_alive) + body)
        self._pump()

    def _pump(self) -> None:
        """Sends what can be sent now, and arranges for the rest."""
        budget = _SEND_BYTES
        try:
            while self._out:
                bytes_follow = self._file is not None and self._offset < self._end
                more = socket.MSG_MORE if bytes_follow else 0
                sent = self._sock.send(self._out, more)
                self._out = self._out[sent:]
            while self._file is not None and self._offset < self._end:
                limit = self._end if self._arrival is None else self._released()
                if self._offset >= limit:
                    self._stop_writing()
                    self._wait_for_keeper()
                    return
                if budget <= 0:
                    self._write_later()
                    return
                count = min(limit - self._offset, _SEND_BYTES)
                if not _resident(self._file.descriptor, self._offset):
                    self._read_ahead(self._file, count)
                    return
                sent = os.sendfile(self._number, self._file.descriptor, self._offset, count)
                if sent == 0:
                    self.abort()  # the file is shorter than it was said to be
                    return
                self._offset += sent
                self._sent += sent
                budget -= sent
                self.deadline = self._worker.now + self._worker.settings.send_stall_s
        except (BlockingIOError, InterruptedError):
            self._write_later()
        except OSError:
            self.close()
        else:
            self._finish()

    def _released(self) -> int:
        assert self._arrival is not None
        return min(self._end, self._arrival.releasable())

    def _write_later(self) -> None:
        if not self._writing:
            self._writing = True
            self.deadline = self._worker.now + self._worker.settings.send_stall_s
            self._worker.loop.add_writer(self._number, self._pump)

    def _stop_writing(self) -> None:
        if self._writing:
            self._writing = False
            self._worker.loop.remove_writer(self._number)

    def _read_ahead(self, file: OpenFile, count: int) -> None:
        """Has a thread bring pages in, then goes on sending."""
        self._stop_writing()
        self._reading_ahead = True
        offset = self._offset

        def read() -> None:
            os.posix_fadvise(file.descriptor, offset, count, os.POSIX_FADV_WILLNEED)
            os.pread(file.descriptor, min(count, 256 * 1024), offset)

        def go_on(_: object) -> None:
            self._reading_ahead = False
            if not self._closed:
                self._pump()

        self._worker.loop.run_in_executor(None, read).add_done_callback(go_on)

    def _finish(self) -> None:
        """The answer has left: the next one, or the end."""
        self._stop_writing()
        self._leave_arrival()
        self._record()
        self._file, self._status, self._busy = None, 0, False
        if self._request is None:
            self._linger()
        elif not self._request.keep_alive:
            self.close()
        elif self._reader.in_request:
            self.deadline = self._worker.now + self._worker.settings.request_timeout_s
            self._worker.loop.call_soon(self._next)
        elif self._half_closed:
            self.close()
        else:
            self.deadline = self._worker.now + self._worker.settings.idle_timeout_s
            self._read_on()

    def _record(self) -> None:
        self._worker.row[Word.BYTES_OUT] += self._sent
        self._worker.record(
            self._request, self._status, self._sent, self._cache, self._claims, self._began
        )

    # Ending.

    def stop(self, code: str, retry_s: int | None = 1) -> None:
        """The answer under way is given up: refused with this code while nothing of it has left,
        else cut off. A connection without one is closed."""
        self._leave_arrival()
        if self._status:
            self.abort()
        elif self._busy:
            self._refuse(code, retry_s=retry_s)
        else:
            self.close()

    def _linger(self) -> None:
        """Closes in stages: the client may still be sending what was refused, and a reset would
        overtake the answer (RFC 9112 9.6)."""
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return
        self._lingering = True
        self.deadline = self._worker.now + _LINGER_S
        self._read_on()

    def abort(self) -> None:
        """The client sees a reset: nothing that was sent can pass for a whole answer."""
        self._worker.row[Word.ABORTED] += 1
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        except OSError:
            pass
        self.close()

    def close(self) -> None:
        """The connection is gone, and nothing waits for it."""
        if self._closed:
            return
        self._closed = True
        self._read_no_more()
        self._stop_writing()
        self._leave_arrival()
        if self._busy and self._status:
            self._record()
        self._file = None
        self._sock.close()
        self._worker.forget(self)

    @property
    def busy(self) -> bool:
        """An answer is under way."""
        return self._busy

    @property
    def reads_for(self) -> PathClaims | None:
        """The claims of the answer under way."""
        return self._claims if self._busy else None


def _resident(descriptor: int, offset: int) -> bool:
    """Whether the page at `offset` can be read without waiting for the disk."""
    try:
        os.preadv(descriptor, _PROBE, offset, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system that cannot tell
    return True


_PROBE = [bytearray(1)]

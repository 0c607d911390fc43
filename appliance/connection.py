"""One connection of the data port: reads requests, sends answers with sendfile, in order.

Raw sockets with `add_reader` and `add_writer`, because the kernel then sends straight from the
page cache. A connection is idle, sending, or waiting: for a fill's bytes, or for a cold page that
a thread reads ahead, so that the loop never waits for a disk.
"""

import os
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from appliance import answers
from appliance.board import Word
from appliance.gate import FileWant, Learn, Preflight, Reject, Serve
from appliance.http1 import MAX_PIPELINED, BadRequest, Request, RequestReader, head
from appliance.link import Arrival, OpenFile
from appliance.ranges import NotSatisfiable, has_current, range_applies, wanted_span
from media.token import PathClaims

if TYPE_CHECKING:
    from appliance.worker import Worker

_RECV_BYTES = 64 * 1024
_SEND_BYTES = 1024 * 1024  # per turn of the loop, so that a fast reader does not starve the others
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
        self._queue: deque[Request | BadRequest] = deque()
        self._closed = False
        self._reading = False
        self._writing = False
        self._busy = False  # an answer is under way; what follows describes it
        self._request: Request | None = None
        self._claims: PathClaims | None = None
        self._out: memoryview = memoryview(b"")
        self._file: OpenFile | None = None
        self._arrival: Arrival | None = None
        self._watcher: Callable[[], None] | None = None
        self._offset = self._end = self._sent = 0
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
            data = b""
        if not data:
            self.close()
            return
        fresh = not self._reader.in_request
        try:
            self._queue.extend(self._reader.feed(data))
        except BadRequest as refused:
            self._queue.append(refused)
            self._read_no_more()
        if len(self._queue) >= MAX_PIPELINED:
            self._read_no_more()
        if not self._busy:
            if fresh and not self._queue:  # a head has begun: it has this long, and not longer
                self.deadline = self._worker.now + self._worker.settings.request_timeout_s
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
        """Answers queued requests, until one has to wait or the queue is empty."""
        while self._queue and not self._busy and not self._closed:
            item = self._queue.popleft()
            self._busy = True
            self._sent, self._cache, self._claims = 0, "-", None
            self._began = time.monotonic()
            self._worker.row[Word.REQUESTS] += 1
            if isinstance(item, BadRequest):
                self._request = None
                self._refuse("bad_request", status=item.status)
            else:
                self._request = item
                self._decide(item)
        if not self._busy and not self._closed:
            self._read_on()

    def _decide(self, request: Request) -> None:
        match self._worker.decide(request):
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
            span = None
            if range_applies(request.headers.get(b"if-range"), etag):
                span = wanted_span(request.headers.get(b"range"), size)
        except NotSatisfiable:
            self._refuse("range_not_satisfiable", fields=b"Content-Range: bytes */%d\r\n" % size)
            return
        self._offset, self._end = span or (0, size)
        self._file = self._worker.open_file(want)
        self._cache = "hit" if self._file else "miss"
        if self._file is None and request.method == b"GET":
            self._ask(want, serve.only_if_held, request, self._on_landed)
            return
        self._worker.row[Word.HITS] += 1
        self._begin(want, serve.claims, request)

    def _begin(self, want: FileWant, claims: PathClaims, request: Request) -> None:
        """Sends the head of the file's answer, and then its bytes."""
        size = want.max_bytes if want.size is None else want.size
        fields = self._worker.fields(want, claims, self._cache)
        length = self._end - self._offset
        status = 200
        if length != size:
            status = 206
            fields += b"Content-Range: bytes %d-%d/%d\r\n" % (self._offset, self._end - 1, size)
        if request.method == b"HEAD":
            self._file = None
        self._answer(status, fields, length)

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
        arrival.watchers.append(self._watcher)
        self.deadline = self._worker.now + self._worker.settings.send_stall_s * 3
        self._watcher()

    def _leave_arrival(self) -> None:
        if self._arrival is not None and self._watcher in self._arrival.watchers:
            self._arrival.watchers.remove(self._watcher)
        self._arrival = self._watcher = None

    def _on_learnt(self, arrival: Arrival, request: Request) -> None:
        if arrival.failed is not None:
            self._leave_arrival()
            self._refuse(arrival.failed, retry_s=arrival.retry_s)
        elif arrival.held:
            self._leave_arrival()
            if self._worker.learn_from_disk(arrival.want):
                self._decide(request)
            else:
                self._refuse("fill_failed")

    def _on_landed(self, arrival: Arrival, request: Request) -> None:
        if arrival.failed is not None:
            self._leave_arrival()
            if self._status:
                self.abort()  # a part has left: the client must not take it for the whole
            else:
                self._refuse(arrival.failed, retry_s=arrival.retry_s)
        elif self._file is None and (arrival.held or arrival.releasable() > self._offset):
            self._file = arrival.file
            assert self._claims is not None
            self._begin(arrival.want, self._claims, request)
        elif self._file is not None and not self._writing:
            self._pump()

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
                more = socket.MSG_MORE if self._file is not None else 0
                sent = self._sock.send(self._out, more)
                self._out = self._out[sent:]
            while self._file is not None and self._offset < self._end:
                limit = self._end if self._arrival is None else self._released()
                if self._offset >= limit:
                    self._stop_writing()
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
        offset = self._offset

        def read() -> None:
            os.posix_fadvise(file.descriptor, offset, count, os.POSIX_FADV_WILLNEED)
            os.pread(file.descriptor, min(count, 256 * 1024), offset)

        def go_on(_: object) -> None:
            if not self._closed:
                self._pump()

        self._worker.loop.run_in_executor(None, read).add_done_callback(go_on)

    def _finish(self) -> None:
        """The answer has left: the next one, or the end."""
        self._stop_writing()
        self._leave_arrival()
        self._record()
        keep_alive = self._request is not None and self._request.keep_alive
        self._file, self._status, self._busy = None, 0, False
        self.deadline = self._worker.now + self._worker.settings.idle_timeout_s
        if not keep_alive:
            self.close()
        elif self._queue:
            self._worker.loop.call_soon(self._next)
        else:
            self._read_on()

    def _record(self) -> None:
        self._worker.row[Word.BYTES_OUT] += self._sent
        self._worker.record(
            self._request, self._status, self._sent, self._cache, self._claims, self._began
        )

    # Ending.

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

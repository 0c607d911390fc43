"""One request and its answer: decided, waited for, sent.

Sending is a loop of `sendfile`, because the kernel then sends straight from the page cache. It goes
as far as the bytes may leave; then the exchange waits: for its client to read, for a fill's bytes,
or for a cold page that a thread reads ahead, so that the loop never waits for a disk.
"""

import os
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from appliance import answers
from appliance.board import Word
from appliance.gate import FileWant, Learn, Preflight, Reject, Serve
from appliance.http1 import Request, head
from appliance.link import Arrival, OpenFile
from appliance.ranges import NotSatisfiable, has_current, range_applies, wanted_span
from media.token import PathClaims
from runtime.log import logger

if TYPE_CHECKING:
    from appliance.connection import Connection

_SEND_BYTES = 1024 * 1024  # per turn of the loop, so that a fast reader does not starve the others


class Exchange:
    """Begins with `decide` or `refuse`; ends by telling its connection that it is `answered`, or
    with the connection. `request` None: what came is no request, and its answer is the last."""

    __slots__ = (
        "_arrival", "_began", "_cache", "_connection", "_end", "_ended", "_file", "_offset",
        "_out", "_partial", "_reading_ahead", "_sent", "_status", "_watcher", "_worker",
        "_writing", "claims", "request",
    )  # fmt: skip

    def __init__(self, connection: "Connection", request: Request | None) -> None:
        self.request = request
        self.claims: PathClaims | None = None
        self._connection = connection
        self._worker = connection.worker
        self._began = time.monotonic()
        self._out = memoryview(b"")
        self._file: OpenFile | None = None
        self._offset = self._end = self._sent = 0
        self._partial = False
        self._status = 0  # none, while nothing of the answer has left
        self._cache = "-"
        self._arrival: Arrival | None = None
        self._watcher: Callable[[], None] | None = None
        self._writing = self._reading_ahead = self._ended = False
        self._wait_for_client()
        self._worker.row[Word.REQUESTS] += 1

    # Deciding.

    def decide(self, request: Request) -> None:
        """Answers the request, or sees to what has to come first."""
        try:
            decision = self._worker.decide(request)
        except Exception:  # a fault of ours with one request must not leave its client waiting
            logger().exception("request_broke")
            decision = Reject("internal")
        match decision:
            case Serve() as serve:
                self.claims = serve.claims
                self._serve(serve, request)
            case Learn() as learn:
                self.claims = learn.claims
                if self._worker.learn_from_disk(learn.want):
                    self.decide(request)
                else:
                    self._ask(learn.want, learn.only_if_held, request, self._on_learnt)
            case Preflight():
                self._answer(204, answers.PREFLIGHT, None)
            case Reject(code, claims):
                self.claims = claims
                self.refuse(code)

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
            self.refuse("range_not_satisfiable", fields=b"Content-Range: bytes */%d\r\n" % size)
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
            self.refuse("not_held")
            return
        self._worker.row[Word.MISSES] += 1
        self._cache = "fill"
        arrival = self._worker.link.need(want)
        self._arrival = arrival
        self._watcher = lambda: on_change(arrival, request)
        arrival.watchers[self._watcher] = None
        self._wait_for_keeper()
        self._watcher()

    def _on_learnt(self, arrival: Arrival, request: Request) -> None:
        if arrival.failed is not None:
            self.give_up(arrival.failed, arrival.retry_s)
        elif not arrival.held:
            self._wait_for_keeper()
        elif self._worker.learn_from_disk(arrival.want):
            self._leave_arrival()
            self.decide(request)
        else:
            self.give_up("fill_failed")

    def _on_landed(self, arrival: Arrival, request: Request) -> None:
        if arrival.failed is not None:
            self.give_up(arrival.failed, arrival.retry_s)
            return
        if self._writing or self._reading_ahead:
            return  # what holds us up is not the keeper
        self._wait_for_keeper()
        if self._file is not None:
            self._pump()
        elif arrival.held or arrival.releasable() > self._offset:
            self._file = arrival.file
            assert self.claims is not None
            self._begin(arrival.want, self.claims, request)

    def _leave_arrival(self) -> None:
        if self._arrival is not None and self._watcher is not None:
            self._arrival.watchers.pop(self._watcher, None)
        self._arrival = self._watcher = None

    def _wait_for_client(self) -> None:
        self._connection.deadline = self._worker.now + self._worker.settings.send_stall_s

    def _wait_for_keeper(self) -> None:
        """Longer than for a client: the keeper tries one source after the other."""
        self._connection.deadline = self._worker.now + self._worker.settings.send_stall_s * 3

    # Sending.

    def refuse(
        self,
        code: str,
        *,
        status: int | None = None,
        fields: bytes = b"",
        retry_s: int | None = None,
    ) -> None:
        """Answers with an error; `status` overrules the one of its code."""
        self._worker.row[Word.REJECTS] += 1
        usual, lines, body = answers.error(code, retry_s)
        self._file = None
        self._answer(status or usual, lines + fields, len(body), body)

    def _answer(self, status: int, fields: bytes, length: int | None, body: bytes = b"") -> None:
        request = self.request
        keep_alive = request is not None and request.keep_alive
        if request is not None and request.method == b"HEAD":
            body = b""
        self._status = status
        lines = fields + self._worker.date_line
        self._out = memoryview(head(status, lines, length, keep_alive) + body)
        self._pump()

    def _pump(self) -> None:
        """Sends what can be sent now, and arranges for the rest."""
        connection, budget = self._connection, _SEND_BYTES
        try:
            while self._out:
                bytes_follow = self._file is not None and self._offset < self._end
                sent = connection.sock.send(self._out, socket.MSG_MORE if bytes_follow else 0)
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
                sent = os.sendfile(connection.number, self._file.descriptor, self._offset, count)
                if sent == 0:
                    connection.abort()  # the file is shorter than it was said to be
                    return
                self._offset += sent
                self._sent += sent
                budget -= sent
                self._wait_for_client()
        except (BlockingIOError, InterruptedError):
            self._write_later()
        except OSError:
            connection.close()
        else:
            self.end()
            connection.answered(self.request)

    def _released(self) -> int:
        assert self._arrival is not None
        return min(self._end, self._arrival.releasable())

    def _write_later(self) -> None:
        if not self._writing:
            self._writing = True
            self._wait_for_client()
            self._worker.loop.add_writer(self._connection.number, self._pump)

    def _stop_writing(self) -> None:
        if self._writing:
            self._writing = False
            self._worker.loop.remove_writer(self._connection.number)

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
            if not self._ended:
                self._pump()

        self._worker.loop.run_in_executor(None, read).add_done_callback(go_on)

    # Ending.

    def give_up(self, code: str, retry_s: int | None = 1) -> None:
        """Refused with this code while nothing has left, else cut off: the client must not take a
        part for the whole."""
        self._leave_arrival()
        if self._status:
            self._connection.abort()
        else:
            self.refuse(code, retry_s=retry_s)

    def end(self) -> None:
        """Nothing more happens here, and what was answered is on record."""
        if self._ended:
            return
        self._ended = True
        self._stop_writing()
        self._leave_arrival()
        self._file = None
        if self._status:
            self._worker.row[Word.BYTES_OUT] += self._sent
            self._worker.record(
                self.request, self._status, self._sent, self._cache, self.claims, self._began
            )


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

"""One request and its answer: decided, waited for, and sent (appliance/sending.py)."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from appliance import answers
from appliance.access_log import Cache
from appliance.answers import MAX_AGES, Listed
from appliance.board import OWN_WORDS, Word
from appliance.gate import Grant, Learn, Preflight, Reject, Serve
from appliance.home import AS_TIER, Asker, went_through
from appliance.http1 import Request, head
from appliance.link import Arrival
from appliance.open_file import OpenFile
from appliance.ranges import NotSatisfiable, has_current, is_current, range_applies, wanted_span
from appliance.sending import Sending
from appliance.shed import Priority, retry_after_s
from appliance.tally import BUCKET, Tally
from appliance.tcp_info import UNKNOWN, path_of
from appliance.want import FileWant
from media import cmcd, cmsd
from runtime import tracing
from runtime.log import logger

if TYPE_CHECKING:
    from appliance.connection import Connection

# Plain ints: a member of an enum costs twice as much as an index.
_REQUESTS, _HITS, _REJECTS, _BYTES_OUT = map(
    int, (Word.REQUESTS, Word.HITS, Word.REJECTS, Word.BYTES_OUT)
)
_ANSWERS, _HIT_SUM, _HIT_BUCKETS = (
    OWN_WORDS + word for word in (Tally.ANSWERS, Tally.HIT, Tally.HIT + 1)
)
_CMCD = frozenset(cmcd.HEADERS)


class Exchange(Sending):
    """Begins with `decide` or `refuse`; ends by telling its connection that it is `answered`, or
    with the connection. `request` None: what came is no request, and its answer is the last."""

    # What most exchanges never change costs them nothing here.
    grant: Grant | None = None
    _listed: Listed | None = None
    _partial = False
    _status = 0  # none, while nothing of the answer has left
    _cache: Cache = "-"
    _said = b""  # CMCD
    _arrival: Arrival | None = None
    _watcher: Callable[[], None] | None = None

    def __init__(self, connection: "Connection", request: Request | None) -> None:
        super().__init__(connection)
        self.request = request
        self._began = time.monotonic()
        self._worker.counts[_REQUESTS] += 1

    @classmethod
    def midway(
        cls,
        connection: "Connection",
        request: Request,
        status: int,
        began: float,
        out: memoryview,
        body_bytes: int,
        grant: Grant | None,
    ) -> "Exchange":
        """Waits for the client of an answer that has begun to leave: `out` is still to be sent, the
        end of which is `body_bytes` of a body."""
        self = cls(connection, request)
        self.grant, self._began, self._status = grant, began, status
        self._out, self._body_bytes = out, body_bytes
        self._write_later()
        return self

    def followed_by(self, listed: Listed, file: OpenFile | None, offset: int) -> None:
        """What leaves is a hit's, with the file's bytes from `offset` behind it."""
        self._listed, self._cache = listed, "hit"
        self._file, self._end = file, listed.size
        self._offset = self._sent = offset

    # Deciding.

    def decide(self, request: Request) -> None:
        """Answers the request, or sees to what has to come first."""
        try:
            decision = self._worker.decide(request, self._connection.address)
        except Exception:  # a fault of ours with one request must not leave its client waiting
            logger().exception("request_broke")
            decision = Reject("internal")
        if type(decision) is Serve:  # nearly always, and quicker than a pattern
            listed, self.grant = decision
            self._serve(listed, request)
            return
        match decision:
            case Learn(want, grant):
                self.grant = grant
                if self._worker.learn_from_disk(want):
                    self.decide(request)
                else:
                    self._ask(want, request, self._on_learnt)
            case Preflight():
                self._answer(204, answers.PREFLIGHT, None)
            case Reject("bad_request"):
                self.request = None  # so this answer is the last
                self.refuse("bad_request")
            case Reject(code, grant, retry_s):
                self.grant = grant
                self.refuse(code, retry_s=retry_s)

    def _serve(self, listed: Listed, request: Request) -> None:
        """Answers for a file whose size and digest are known: conditions first, then bytes."""
        self._listed = listed
        self._end = listed.size
        worker = self._worker
        if not worker.load.calm and not worker.load.served[self._priority()]:
            self._shed()
            return
        if b"?" in request.target or not request.plain:
            self._note_players_words(listed, request)
        if not request.plain and not self._meets_conditions(listed, request):
            return
        self._file = file = worker.open_file(listed)
        if file is not None:
            self._cache = "hit"
            worker.counts[_HITS] += 1
        elif request.method == b"GET":
            self._ask(listed.want, request, self._on_landed)
            return
        else:
            self._cache = "miss"
        self._begin(listed, request)

    def _note_players_words(self, listed: Listed, request: Request) -> None:
        query = request.target.partition(b"?")[2]
        if b"CMCD" in query or not _CMCD.isdisjoint(request.headers):
            assert self.grant is not None
            self._said = said = cmcd.raw(query, request.headers)
            self._worker.notes.add(self.grant, listed, said)

    def _meets_conditions(self, listed: Listed, request: Request) -> bool:
        """What is to be sent is known. False: the request has been answered without it."""
        headers = request.headers
        if not is_current(headers.get(b"if-match"), listed.etag):
            self.refuse("precondition_failed")
            return False
        if has_current(headers.get(b"if-none-match"), listed.etag):
            self._answer(304, listed.fields + self._varying("hit"), None)
            return False
        try:
            span = None  # ranges are defined for GET alone (RFC 9110 14.2)
            if request.method == b"GET" and range_applies(headers.get(b"if-range"), listed.etag):
                span = wanted_span(headers.get(b"range"), listed.size)
        except NotSatisfiable:
            fields = b"Content-Range: bytes */%d\r\n" % listed.size
            self.refuse("range_not_satisfiable", fields=fields)
            return False
        if span is not None:
            self._partial = True
            self._offset, self._end = span
        return True

    def _begin(self, listed: Listed, request: Request) -> None:
        """Sends the head of the file's answer, and then its bytes."""
        if self._cache == "hit":
            us = int((time.monotonic() - self._began) * 1e6)
            counts = self._worker.counts
            counts[_HIT_SUM] += us
            counts[_HIT_BUCKETS + BUCKET[us.bit_length()]] += 1
        file, offset, end = self._file, self._offset, self._end
        if self._partial:
            self._status = 206
            length = b"Content-Length: %d\r\n" % (end - offset)
            span = b"Content-Range: bytes %d-%d/%d\r\n" % (offset, end - 1, listed.size)
            start = b"".join((b"HTTP/1.1 206 Partial Content\r\n", length, span, listed.fields))
        else:
            self._status = 200
            start = listed.whole
        closing = b"\r\n" if request.keep_alive else b"Connection: close\r\n\r\n"
        body = b""
        if offset == end or request.method == b"HEAD":  # the head is all there is
            self._file = None
        elif file is not None and self._arrival is None and (held := file.body or file.load()):
            self._file = None
            self._body_bytes = end - offset
            body = held[offset:end]
        self._out = b"".join((start, self._varying(self._cache), closing, body))
        self._pump()

    def _varying(self, cache: Cache) -> bytes:
        """The lines that the file alone does not tell (Cache-Status: RFC 9211). The answer may be
        kept for the rest of the token's life: the package never changes, and ends with it."""
        assert self.grant is not None
        worker = self._worker
        lines = worker.hit_lines if cache == "hit" else worker.miss_lines
        if self._said or cache == "fill":
            lines += self._dynamic(cache)
        elif worker.duress_line:
            lines += worker.duress_line
        return lines + MAX_AGES[self.grant.expires_s - worker.second]

    def _dynamic(self, cache: Cache) -> bytes:
        """The line CMSD-Dynamic. The kernel is asked about the connection, which with the telling
        costs 4 µs, a third of a hit, only for a player that speaks itself."""
        delay_ms = None
        if cache == "fill":
            delay_ms = int((time.monotonic() - self._began) * 1000)
        path = path_of(self._connection.wire.sock) if self._said else UNKNOWN
        worker = self._worker
        told = cmsd.dynamic(
            worker.quoted_name,
            throughput_kbps=path.throughput_kbps,
            rtt_ms=path.rtt_ms,
            delay_ms=delay_ms,
            duress=not worker.load.calm,
        )
        return b"CMSD-Dynamic: %b\r\n" % told

    # Waiting for the keeper.

    def _ask(
        self,
        want: FileWant,
        request: Request,
        on_change: Callable[[Arrival, Request], None],
    ) -> None:
        """Has the keeper bring the file, but not for who asks with `only-if-cached` (RFC 9111
        5.2.1.7), nor for what has been here before (RFC 8586)."""
        assert self.grant is not None
        headers = request.headers
        asked = headers.get(b"cache-control", b"")
        asker = Asker.OURS
        if self.grant.from_peer:
            asker = Asker.TIER if AS_TIER in asked else Asker.SITE
        if b"only-if-cached" in asked or (
            asker and went_through(headers.get(b"cdn-loop", b""), self._worker.name)
        ):
            self.refuse("not_held")
            return
        worker = self._worker
        begins = not worker.link.brings(want, asker)
        if begins and not worker.load.may_begin(self._priority()):
            self._shed()
            return
        self._worker.row[Word.MISSES] += 1
        self._cache = "fill"
        arrival = self._worker.link.need(want, asker, self._trace(headers))
        self._arrival = arrival
        self._watcher = lambda: on_change(arrival, request)
        arrival.watchers[self._watcher] = None
        if begins and self._listed is not None:
            worker.ahead.missed(self.grant, want, self._said)
            worker.look_ahead()
        self._wait_for_keeper()
        self._watcher()

    def _trace(self, headers: dict[bytes, bytes]) -> str:
        """Whose trace the fill belongs to: its session's, or what a peer tells."""
        if not tracing.on() or self.grant is None:
            return ""
        if self.grant.from_peer:
            return headers.get(b"traceparent", b"")[:128].decode("latin-1")
        return tracing.of_session(self.grant.claims.session_id).traceparent

    def _priority(self) -> Priority:
        assert self.grant is not None
        return self.grant.priority(self._worker.clock_s)

    def _shed(self) -> None:
        """Refused for want of room, until a time of its session's own."""
        assert self.grant is not None
        self._worker.load.shed(self._priority())
        retry_s = retry_after_s(self.grant.claims.session_id)
        self.refuse("overloaded", fields=self._worker.duress_line, retry_s=retry_s)

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
            assert self._listed is not None
            self._begin(self._listed, request)

    def _leave_arrival(self) -> None:
        if self._arrival is not None and self._watcher is not None:
            self._arrival.watchers.pop(self._watcher, None)
        self._arrival = self._watcher = None

    def _may_leave(self) -> int:
        return self._end if self._arrival is None else min(self._end, self._arrival.releasable())

    def _wait_for_keeper(self) -> None:
        """Longer than for a client: the keeper tries one source after the other."""
        self._connection.deadline = self._worker.now + self._worker.settings.send_stall_s * 3

    _on_starved = _wait_for_keeper

    # Without a file.

    def refuse(
        self,
        code: str,
        *,
        detail: str = "",
        fields: bytes = b"",
        retry_s: int | None = None,
    ) -> None:
        """Answers with an error; `detail` is said instead of its code's sentence. Each is one of a
        few: heads of errors are remembered."""
        self._worker.counts[_REJECTS] += 1
        status, lines, body = answers.error(code, retry_s, detail)
        self._file = None
        self._answer(status, lines + fields, len(body), body)

    def _answer(self, status: int, fields: bytes, length: int | None, body: bytes = b"") -> None:
        request = self.request
        keep_alive = request is not None and request.keep_alive
        if request is not None and request.method == b"HEAD":
            body = b""
        self._status = status
        self._body_bytes = len(body)
        lines = fields + self._worker.date_line
        self._out = head(status, lines, length, keep_alive) + body
        self._pump()

    # Ending.

    def _on_sent(self) -> None:
        self.end()
        request = self.request
        self._connection.answered(request is not None and request.keep_alive)

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
        if self._writing:
            self._stop_writing()
        if self._arrival is not None:
            self._leave_arrival()
        self._file = None
        if self._status:
            counts = self._worker.counts
            counts[_ANSWERS + self._status // 100] += 1
            counts[_BYTES_OUT] += self._sent
            if self._listed is not None and self.grant is not None and self._status in (200, 206):
                self._worker.viewed.add(self._listed, self._sent, self.grant)
            self._worker.record(
                self.request,
                self._listed,
                self._status,
                self._sent,
                self._cache,
                self.grant,
                self._began,
            )

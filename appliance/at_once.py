"""Hits and refusals that are answered at once: the way of nearly every request.

An Exchange can wait for a list, for the keeper, for the disk, for its client. Most requests need
none of that: token, file and head are known, the bytes are in memory, and the socket takes them.
They are answered here, in one function, because in Python a call costs as much as a look-up, and an
Exchange takes seventeen. It decides nothing of its own: whatever is not plain is left to an
Exchange, and so is what remains when the client takes a part. Refusals are here for those who are
served beside them: whoever forges tokens sends thousands a second.
"""

import socket
import time
from typing import TYPE_CHECKING

from appliance.answers import error
from appliance.board import EPOCH, OWN_WORDS, Word
from appliance.exchange import Exchange
from appliance.gate import Reject
from appliance.http1 import Request, head
from appliance.open_file import WINDOW_BYTES, OpenFile
from appliance.tally import BUCKET, Tally
from appliance.wire import Wire

if TYPE_CHECKING:
    from appliance.connection import Connection
    from appliance.worker import Worker

# Plain ints: a member of an enum costs twice as much as an index.
_REQUESTS, _HITS, _REJECTS, _BYTES_OUT = map(
    int, (Word.REQUESTS, Word.HITS, Word.REJECTS, Word.BYTES_OUT)
)
_ANSWERS, _SUM, _BUCKETS = (OWN_WORDS + word for word in (Tally.ANSWERS, Tally.HIT, Tally.HIT + 1))
_FINE = _ANSWERS + 2
_MORE = int(socket.MSG_MORE)


class AtOnce:
    """A worker's quick way."""

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker

    def answer(self, connection: "Connection", request: Request) -> bool:
        """The plain request is answered, or an Exchange of the connection goes on with it. False:
        nothing has happened."""
        worker, target = self._worker, request.target
        if worker.acked != worker.words[EPOCH] or not worker.load.calm or b"?" in target:
            return False
        known = worker.gate.known(target, worker.clock_s)
        if known is None:
            return self._refuse(connection, request)
        began = time.monotonic()
        listed, grant = known
        file, size = worker.open_file(listed), listed.size
        if file is None:
            return False
        body = file.body
        if body is None and not (size and file.is_resident(0, min(size, WINDOW_BYTES))):
            return False
        life_s = grant.expires_s - worker.second
        out = b"%b%bCache-Control: private, max-age=%d, immutable\r\n%b%b" % (
            listed.whole,
            worker.hit_lines,
            life_s if life_s > 0 else 0,
            b"\r\n" if request.keep_alive else b"Connection: close\r\n\r\n",
            body or b"",
        )
        counts = worker.counts
        counts[_HITS] += 1
        us = int((time.monotonic() - began) * 1e6)
        counts[_SUM] += us
        counts[_BUCKETS + BUCKET[us.bit_length()]] += 1
        wire, sent, offset = connection.wire, 0, 0
        try:
            sent = wire.send(out, _MORE if body is None else 0)
            if sent == len(out):
                offset = size if body is not None else self._send_file(wire, file)
        except OSError:
            pass  # it has to wait for its client; or that has gone, as an Exchange will find
        if offset < size or sent < len(out):
            rest, in_it = memoryview(out)[sent:], 0 if body is None else size
            exchange = Exchange.midway(connection, request, 200, began, rest, in_it, grant)
            exchange.followed_by(listed, file if body is None else None, offset)
            connection.go_on(exchange)
            return True
        counts[_REQUESTS] += 1
        counts[_FINE] += 1
        counts[_BYTES_OUT] += size
        worker.record(request, listed, 200, size, "hit", grant, began)
        connection.answered(request)
        return True

    def _send_file(self, wire: Wire, file: OpenFile) -> int:
        """Sends a file whose first window is in memory, as far as the rest is, too, and as the
        socket and the others who wait allow. Returns how far that is."""
        offset, size = 0, file.size
        try:
            offset = wire.send_file(file, 0, min(size, WINDOW_BYTES))
            if offset < WINDOW_BYTES:
                return offset
            share = min(size, self._worker.poller.share_bytes())
            while offset < share:
                count = min(size - offset, WINDOW_BYTES)
                sent = wire.send_file(file, offset, count) if file.is_resident(offset, count) else 0
                offset += sent
                if sent < count:
                    break
        except OSError:
            pass
        return offset

    def _refuse(self, connection: "Connection", request: Request) -> bool:
        """The same for a request that the gate refuses, and that leaves the connection as it is."""
        worker, began = self._worker, time.monotonic()
        try:
            decision = worker.gate.decide(
                b"GET", request.target, connection.address, worker.clock_s
            )
        except Exception:  # a fault of ours, as the Exchange will find
            return False
        if type(decision) is not Reject or decision.code == "bad_request":
            return False
        code, grant, retry_s = decision
        status, fields, body = error(code, retry_s)
        out = head(status, fields + worker.date_line, len(body), request.keep_alive) + body
        counts, sent = worker.counts, 0
        counts[_REJECTS] += 1
        try:
            sent = connection.wire.send(out, 0)
        except OSError:
            pass
        if sent < len(out):
            rest = memoryview(out)[sent:]
            connection.go_on(
                Exchange.midway(connection, request, status, began, rest, len(body), grant)
            )
            return True
        counts[_REQUESTS] += 1
        counts[_ANSWERS + status // 100] += 1
        counts[_BYTES_OUT] += len(body)
        worker.record(request, None, status, len(body), "-", grant, began)
        connection.answered(request)
        return True

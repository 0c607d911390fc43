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

from appliance.answers import MAX_AGES, error
from appliance.board import OWN_WORDS, Word
from appliance.exchange import Exchange
from appliance.gate import Reject
from appliance.http1 import Request, head
from appliance.open_file import OpenFile
from appliance.sending import SEND_BYTES
from appliance.shed import Priority
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
_LOWEST = int(Priority.PEER)  # of those who ask: when it is served, everyone is
_MORE = int(socket.MSG_MORE)
_QUERY = ord("?")


class AtOnce:
    """A worker's quick way."""

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        # Hits since the last settling: each one's time to its first byte; how many of them an
        # Exchange ends; the bytes of the others.
        self._took_us: list[int] = []
        self._begun = self._sent = 0

    def settle(self) -> None:
        """What was answered is counted in the worker's row."""
        took_us = self._took_us
        if not took_us:
            return
        row, whole = self._worker.row, len(took_us) - self._begun
        row[_REQUESTS] += whole
        row[_FINE] += whole
        row[_BYTES_OUT] += self._sent
        row[_HITS] += len(took_us)
        row[_SUM] += sum(took_us)
        for us in took_us:
            row[_BUCKETS + BUCKET[us.bit_length()]] += 1
        took_us.clear()
        self._begun = self._sent = 0

    def answer(self, connection: "Connection", request: Request) -> bool:
        """The plain request is answered, or an Exchange of the connection goes on with it. False:
        nothing has happened."""
        worker = self._worker
        _, target, _, keep_alive, _ = request
        if _QUERY in target:
            return False
        known = worker.gate.recall(target, worker.clock_s)
        if known is None:
            return self._refuse(connection, request)
        began = time.monotonic()
        listed, grant = known
        served = worker.load.served
        if not served[_LOWEST] and not served[grant.priority(worker.clock_s)]:
            return False
        file, size = worker.files.get(listed.key), listed.size
        if file is None or not file.used:
            file = worker.open_file(listed)
            if file is None:
                return False
        body = file.body
        ready = 0 if body is not None else file.ready(0, size, began)
        if not ready and body is None:
            return False
        out = b"".join(
            (
                listed.whole,
                worker.hit_lines,
                worker.duress_line,
                MAX_AGES[grant.expires_s - worker.second],
                b"\r\n" if keep_alive else b"Connection: close\r\n\r\n",
                body or b"",
            )
        )
        wire, sent, offset = connection.wire, 0, 0
        send = wire.send  # found quicker than as a method
        try:
            sent = send(out, _MORE if body is None else 0)
        except OSError:
            pass  # it has to wait for its client; or that has gone, as an Exchange will find
        us = int((time.monotonic() - began) * 1e6)
        self._took_us.append(us)
        if sent == len(out):
            offset = size if body is not None else _send_file(wire, file, ready)
        if offset < size or sent < len(out):
            rest, in_it = memoryview(out)[sent:], 0 if body is None else size
            self._begun += 1
            exchange = Exchange.midway(connection, request, 200, began, rest, in_it, grant)
            exchange.followed_by(listed, file if body is None else None, offset)
            connection.go_on(exchange)
            return True
        self._sent += size
        if not grant.from_peer:
            listed.viewed += size
        if worker.log is not None:
            if body is None:
                us = int((time.monotonic() - began) * 1e6)
            worker.log.add((worker.epoch_s + began, us, listed.hit, grant.who))
        connection.answered(keep_alive)
        return True

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
        connection.answered(request.keep_alive)
        return True


def _send_file(wire: Wire, file: OpenFile, ready: int) -> int:
    """Sends of a file whose first bytes are `ready` what the socket takes, and a turn allows.
    Returns how much that is."""
    try:
        return wire.send_file(file, 0, min(ready, SEND_BYTES))
    except OSError:
        return 0

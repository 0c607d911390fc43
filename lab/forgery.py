"""A paced sender of requests with forged tokens: well formed, naming a key that is trusted, each
with a signature of its own that is none."""

import asyncio
import base64
import os
import re
import socket
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from lab.ours import Ours
from runtime.errors import Problem

_SIGNATURE_BYTES = 64  # Ed25519; the last element of a COSE_Sign1 (RFC 9052 4.2)
# Each with an address of its own: who forges in earnest has many.
_CONNECTIONS = 40
_STEP_S = 0.01
_CATCH_UP_S = 0.1  # of what could not be sent in time, so much is sent later
# What one connection may owe before it is offered no more: a server that refuses slowly is offered
# less, and the figures say so.
_OWED = 100
_STATUS = re.compile(rb"HTTP/1\.1 (\d\d\d)")
_STATUS_BYTES = 12
_RECV_BYTES = 1024 * 1024
_CONNECT_S = 2.0


@dataclass
class Tally:
    """What a sender did in so many seconds, and the share of a core that it took."""

    offered: int = 0
    refused: int = 0
    seconds: float = 0.0
    busy: float = 0.0


def forged_requests(ours: Ours, path: str, count: int) -> list[bytes]:
    """So many requests, made beforehand: while they are sent, the core belongs to the load."""
    token = ours.new_token()
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))[:-_SIGNATURE_BYTES]
    start, end = ours.under("\0", path).encode().split(b"\0")
    requests = []
    for _ in range(count):
        forged = base64.urlsafe_b64encode(raw + os.urandom(_SIGNATURE_BYTES)).rstrip(b"=")
        requests.append(b"GET %b%b%b HTTP/1.1\r\nHost: bench\r\n\r\n" % (start, forged, end))
    return requests


async def offer(base: str, requests: list[bytes], per_s: int, ending: asyncio.Event) -> Tally:
    """Sends so many requests a second, in small batches over a few connections, until `ending` or
    until there are no more. A connection that the server closes is opened again.

    Sockets are looked at once a step: woken for each answer, the sender would take a fifth of the
    load's core.
    """
    loop, tally = asyncio.get_running_loop(), Tally()
    left = requests[::-1]  # taken from the end
    links = [_Link(base, f"127.0.8.{number + 1}") for number in range(_CONNECTIONS)]
    used_s, began = time.process_time(), loop.time()
    then, credit = began, 0.0
    share = max(1, int(2 * per_s * _STEP_S / _CONNECTIONS))  # of a connection, in one step
    try:
        while left and not ending.is_set():
            now = loop.time()
            credit = min(credit + (now - then) * per_s, per_s * _CATCH_UP_S)
            then = now
            for link in links:
                tally.refused += link.read()
                offered = link.send(left, min(int(credit), share))
                credit -= offered
                tally.offered += offered
            await asyncio.sleep(_STEP_S)
    finally:
        for link in links:
            link.close()
    tally.seconds = loop.time() - began
    tally.busy = (time.process_time() - used_s) / tally.seconds
    return tally


class _Link:
    """One connection of the sender: never waits."""

    def __init__(self, base: str, local: str) -> None:
        where = urlsplit(base)
        assert where.hostname is not None and where.port is not None
        self._where = (where.hostname, where.port)
        self._local = local
        self._socket: socket.socket | None = None
        self._owed = 0
        self._unsent = self._rest = b""

    def read(self) -> int:
        """How many refusals have come since the last time. Raises Problem for anything else."""
        if self._socket is None:
            return 0
        try:
            came = self._socket.recv(_RECV_BYTES)
        except BlockingIOError:
            return 0
        except OSError:
            came = b""
        if not came:
            self.close()
            return 0
        data = self._rest + came
        answers = _STATUS.findall(data)
        if b"200" in answers:
            raise Problem("internal", "A forged token opened a file.")
        self._rest = data[1 - _STATUS_BYTES :]  # a status may come in two parts
        self._owed = max(0, self._owed - len(answers))
        return len(answers)

    def send(self, left: list[bytes], count: int) -> int:
        """Sends up to `count` of the requests left, and returns how many."""
        count = min(count, _OWED - self._owed, len(left))
        if count <= 0:
            return 0
        try:
            if self._socket is None:
                self._socket = socket.create_connection(self._where, _CONNECT_S, (self._local, 0))
                self._socket.setblocking(False)
            batch = self._unsent + b"".join(left[-count:])
            self._unsent = batch[self._socket.send(batch) :]
        except BlockingIOError:
            return 0
        except OSError:
            self.close()
            return 0
        del left[-count:]
        self._owed += count
        return count

    def close(self) -> None:
        """The connection is gone, and what it owed is forgotten."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._owed, self._unsent, self._rest = 0, b"", b""

"""A paced sender of requests with forged tokens: well formed, naming a key that is trusted, each
with a signature of its own that is none."""

import asyncio
import base64
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from lab.ours import Ours

_SIGNATURE_BYTES = 64  # Ed25519; the last element of a COSE_Sign1 (RFC 9052 4.2)
_CONNECTIONS = 8
_STEP_S = 0.01
_CATCH_UP_S = 0.1  # of what could not be sent in time, so much is sent later
# What one connection may owe before it is offered no more: a server that refuses slowly is offered
# less, and the figures say so.
_OWED = 400
_REFUSED = b"HTTP/1.1 403"


@dataclass(frozen=True)
class Offered:
    """How much came to be sent and refused, a second."""

    offered_per_s: float
    refused_per_s: float


@dataclass
class Tally:
    """What a sender did in all."""

    offered: int = 0
    refused: int = 0

    def over(self, seconds: float) -> Offered:
        """The same per second."""
        return Offered(self.offered / seconds, self.refused / seconds)


def forged_targets(ours: Ours, path: str) -> Iterator[bytes]:
    """Targets with forged tokens, for ever."""
    token = ours.new_token()
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))[:-_SIGNATURE_BYTES]
    start, end = ours.under("\0", path).encode().split(b"\0")
    while True:
        forged = base64.urlsafe_b64encode(raw + os.urandom(_SIGNATURE_BYTES)).rstrip(b"=")
        yield start + forged + end


async def offer(base: str, targets: Iterator[bytes], per_s: int, ending: asyncio.Event) -> Tally:
    """Sends so many requests a second, in small batches over a few connections, until `ending`. A
    connection that the server closes is opened again."""
    loop, tally = asyncio.get_running_loop(), Tally()
    parts = urlsplit(base)
    assert parts.hostname is not None and parts.port is not None
    links = [_Link(tally) for _ in range(_CONNECTIONS)]
    then, credit = loop.time(), 0.0
    try:
        while not ending.is_set():
            now = loop.time()
            credit = min(credit + (now - then) * per_s, per_s * _CATCH_UP_S)
            then = now
            for link in links:
                if link.transport is None:
                    await loop.create_connection(partial(_same, link), parts.hostname, parts.port)
                credit -= link.send(targets, int(min(credit, per_s * _STEP_S / _CONNECTIONS * 2)))
            await asyncio.sleep(_STEP_S)
    finally:
        for link in links:
            if link.transport is not None:
                link.transport.abort()
    return tally


def _same(link: "_Link") -> "_Link":
    return link


class _Link(asyncio.Protocol):
    """One connection: counts what it sent and what was refused."""

    def __init__(self, tally: Tally) -> None:
        self.transport: asyncio.Transport | None = None
        self.owed = 0
        self._tally = tally
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.owed, self._rest = transport, 0, b""

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        refused = data.count(_REFUSED)
        self._rest = data[1 - len(_REFUSED) :]  # a status line may come in two parts
        self._tally.refused += refused
        self.owed = max(0, self.owed - refused)

    def send(self, targets: Iterator[bytes], count: int) -> int:
        """Sends up to `count` requests, and returns how many."""
        count = min(count, _OWED - self.owed)
        if self.transport is None or count <= 0:
            return 0
        lines = (b"GET %b HTTP/1.1\r\nHost: bench\r\n\r\n" % next(targets) for _ in range(count))
        self.transport.write(b"".join(lines))
        self.owed += count
        self._tally.offered += count
        return count

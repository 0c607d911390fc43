"""Many clients that ask for one file at the same moment, and what each of them sees.

One thread, bare protocols: a client notes when the first byte of its body came, and holds every
byte against the right one as it comes, so that five hundred bodies need no memory.
"""

import asyncio
from dataclasses import dataclass
from statistics import median
from urllib.parse import urlsplit

from lab.sides import Side
from runtime.errors import Problem

_PATIENCE_S = 60.0
_AT_ONCE = 50  # connections opened side by side: a listen queue holds more


@dataclass(frozen=True)
class Herd:
    """How it went: bodies that were right, and the median time to the first byte of a body."""

    clients: int
    right: int
    first_byte_ms: float


async def stampede(side: Side, target: str, data: bytes, clients: int) -> Herd:
    """All clients ask at once, over connections that stand already. Raises Problem when the server
    cannot be reached; what it does afterwards is in the figures."""
    loop = asyncio.get_running_loop()
    where = urlsplit(side.base)
    assert where.hostname is not None and where.port is not None
    request = f"GET {target} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
    herd: list[_Client] = []
    try:
        for start in range(0, clients, _AT_ONCE):
            opened = await asyncio.gather(
                *(
                    loop.create_connection(lambda: _Client(data), where.hostname, where.port)
                    for _ in range(min(_AT_ONCE, clients - start))
                )
            )
            herd += [client for _, client in opened]
    except OSError as error:
        raise Problem("unavailable", f"{side.name} takes no connection: {error}") from None
    try:
        for client in herd:
            client.ask(request)
        await asyncio.wait([client.ended for client in herd], timeout=_PATIENCE_S)
    finally:
        for client in herd:
            client.close()
    came = [client.first_byte_s for client in herd if client.first_byte_s is not None]
    return Herd(
        clients=clients,
        right=sum(client.right for client in herd),
        first_byte_ms=median(came) * 1000 if came else _PATIENCE_S * 1000,
    )


class _Client(asyncio.Protocol):
    """One of the herd."""

    def __init__(self, data: bytes) -> None:
        self._loop = asyncio.get_running_loop()
        self._data = memoryview(data)
        self._head = bytearray()
        self._offset: int | None = None  # of the next byte of the body
        self._asked_s = 0.0
        self._transport: asyncio.Transport | None = None
        self._wrong = False
        self.first_byte_s: float | None = None
        self.ended: asyncio.Future[None] = self._loop.create_future()

    @property
    def right(self) -> bool:
        """The whole file came, and nothing else."""
        return not self._wrong and self._offset == len(self._data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def ask(self, request: bytes) -> None:
        """Sends the request; from now on time counts."""
        assert self._transport is not None
        self._asked_s = self._loop.time()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._offset is None:
            self._head += data
            head, found, data = bytes(self._head).partition(b"\r\n\r\n")
            if not found:
                return
            self._wrong = not head.startswith(b"HTTP/1.1 200 ")
            self._offset = 0
        if data and self.first_byte_s is None:
            self.first_byte_s = self._loop.time() - self._asked_s
        end = self._offset + len(data)
        self._wrong = self._wrong or self._data[self._offset : end] != data
        self._offset = end
        if self._wrong or end >= len(self._data):
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def close(self) -> None:
        """The connection is gone."""
        if self._transport is not None:
            self._transport.abort()

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

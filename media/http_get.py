"""GETs to one address, their bodies poured: given on as they come, in views of one buffer.

An appliance fills hundreds of files a second. So connections are kept, all of them receive into one
buffer, and nothing stands between the socket and who takes the bytes: no copy, no queue, no task
that is woken for a piece. httptools (llhttp) reads heads and chunked bodies.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import httptools

Take = Callable[[memoryview], object]
"""Takes the next bytes, which it must not keep: the view is of a buffer that is used again."""

_BUFFER_BYTES = 512 * 1024  # stays in a core's cache between receiving, hashing and writing
CONNECTIONS = 128  # to one origin
_CONNECT_S = 3.0
_KEPT_S = 30.0  # servers and the boxes between forget silent connections, some without a word
_MAX_HEAD_BYTES = 32 * 1024
_TOLD_BYTES = 512  # of a body that was not wanted: enough for its code
_WORTH_READING_BYTES = 16 * 1024  # of such a body, for the sake of its connection
_END_OF_HEAD = b"\r\n\r\n"


class GetFailed(Exception):
    """The other side does not answer, or not as HTTP has it."""


class Answer(NamedTuple):
    """A status, and what was told beside it if it is another than the wanted one."""

    status: int
    told: bytes


class Getter:
    """Kept connections to one `http(s)://host:port`. Made and used in one event loop."""

    def __init__(
        self,
        origin: str,
        *,
        stall_s: float = 20.0,
        connections: int = CONNECTIONS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """At most so many connections. One on which nothing comes for `stall_s` is given up."""
        parts = urlsplit(origin)
        secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if secure else 80)
        self._tls = (tls or ssl.create_default_context()) if secure else None
        self._stall_s = stall_s
        self._host_field = parts.netloc.rpartition("@")[2]
        self._places = asyncio.Semaphore(connections)
        self._kept: list[_Connection] = []  # the one used last at the end
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._closed = False

    async def get(
        self, target: str, fields: Mapping[str, str], take: Take, *, wanted: int = 200
    ) -> Answer:
        """Asks once. `take` was given the whole body, if the answer's status is the wanted one.
        Raises GetFailed, and what `take` raises."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        head = f"GET {target} HTTP/1.1\r\nHost: {self._host_field}\r\n{lines}\r\n".encode("latin-1")
        async with self._places:
            kept = self._take_kept()
            if kept is not None:
                with suppress(_Stale):
                    return await self._ask(kept, head, take, wanted)
            return await self._ask(await self._connect(), head, take, wanted)

    def close(self) -> None:
        """No connection is kept any more; those in use end with their answers."""
        self._closed = True
        while self._kept:
            self._kept.pop().close()

    async def _ask(self, connection: "_Connection", head: bytes, take: Take, wanted: int) -> Answer:
        try:
            answer = await connection.ask(head, take, wanted)
        except BaseException:  # cancelled, too: what still comes belongs to nobody
            connection.close()
            raise
        if connection.reusable and not self._closed:
            self._kept.append(connection)
        else:
            connection.close()
        return answer

    def _take_kept(self) -> "_Connection | None":
        while self._kept:
            connection = self._kept.pop()
            if connection.reusable and time.monotonic() - connection.heard_s < _KEPT_S:
                return connection
            connection.close()
        return None

    async def _connect(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_S):
                _, connection = await loop.create_connection(
                    lambda: _Connection(loop, self._buffer, self._stall_s),
                    self._host,
                    self._port,
                    ssl=self._tls,
                )
        except TimeoutError:
            raise GetFailed("no connection in time") from None
        except OSError as error:
            raise GetFailed(str(error)) from error
        return connection


class _Stale(Exception):
    """A kept connection was closed by the other side before it answered: ask on another one."""


class _Head:
    """What httptools reads of a head, and of a chunked body."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.keep_alive = False
        self.length: int | None = None
        self.chunked = False
        self.body = bytearray()
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"content-length":
            self.length = int(value)
        elif name == b"transfer-encoding":
            self.chunked = True

    def on_headers_complete(self) -> None:
        self.keep_alive = self.parser.should_keep_alive()

    def on_body(self, piece: bytes) -> None:
        self.body += piece

    def on_message_complete(self) -> None:
        self.complete = True


class _Connection(asyncio.BufferedProtocol):
    """One connection, for one question after the other."""

    def __init__(self, loop: asyncio.AbstractEventLoop, buffer: memoryview, stall_s: float) -> None:
        self.heard_s = time.monotonic()
        self._loop = loop
        self._buffer = buffer
        self._stall_s = stall_s
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None  # while one is awaited
        self._used = self._closing = False

    @property
    def reusable(self) -> bool:
        """Another question may be asked."""
        transport = self._transport
        return transport is not None and not self._closing and not transport.is_closing()

    async def ask(self, head: bytes, take: Take, wanted: int) -> Answer:
        """The answer to this head, its body taken. Raises GetFailed, _Stale, what `take` raises."""
        assert self._transport is not None
        self._take, self._wanted = take, wanted
        self._stale_if_lost, self._used = self._used, True
        self._reading = bytearray()  # of the head, until it is whole
        self._head: _Head | None = None
        self._left: int | None = None  # bytes of the body to come; None: it says when it ends
        self._status, self._told = 0, bytearray()
        self._answer = self._loop.create_future()
        self.heard_s = time.monotonic()
        self._timer = self._loop.call_later(self._stall_s, self._look)
        self._transport.write(head)
        try:
            return await self._answer
        finally:
            self._answer = None
            self._timer.cancel()

    def close(self) -> None:
        """Nothing is kept of it."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, count: int) -> None:
        self.heard_s = time.monotonic()
        if self._answer is None or self._answer.done():  # nobody has asked for anything
            self.close()
            return
        try:
            self._hear(self._buffer[:count])
        except Exception as error:
            self._fail(error)

    def eof_received(self) -> bool:
        answer = self._answer
        if answer is not None and not answer.done() and self._ends_with_connection:
            self._closing = True
            answer.set_result(Answer(self._status, bytes(self._told)))
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._closing = True
        answer = self._answer
        if answer is None or answer.done():
            return
        if self._stale_if_lost and self._head is None and not self._reading:
            answer.set_exception(_Stale())
        else:
            why = str(error) if error else "the connection was closed before the answer's end"
            answer.set_exception(GetFailed(why))

    # Reading an answer.

    def _hear(self, view: memoryview) -> None:
        if self._head is None:
            rest = self._hear_head(view)
            if rest is None:
                return
            view = rest
        if self._left is not None:
            self._hear_counted(view)
        elif self._head is not None and self._head.chunked:
            self._hear_chunks(view)
        elif view:
            self._take(view)

    def _hear_head(self, view: memoryview) -> memoryview | None:
        """What follows the head; None as long as that is not whole."""
        begun = len(self._reading)
        self._reading += view[: _MAX_HEAD_BYTES + 1]
        end = self._reading.find(_END_OF_HEAD, max(0, begun - 3))
        if end < 0 or end > _MAX_HEAD_BYTES:
            if len(self._reading) > _MAX_HEAD_BYTES:
                raise GetFailed("the answer's head is too large")
            return None
        end += len(_END_OF_HEAD)
        head = _Head()
        try:
            head.parser.feed_data(bytes(self._reading[:end]))
        except (httptools.HttpParserError, ValueError) as error:
            raise GetFailed(f"the answer is malformed: {error}") from None
        rest = view[end - begun :]
        status = head.parser.get_status_code()
        if status < 200:  # 100 Continue, 103 Early Hints: the answer is yet to come
            self._reading = bytearray()
            return self._hear_head(rest) if rest else None
        self._head, self._status = head, status
        if status in (204, 304):
            self._left = 0
        elif not head.chunked:
            self._left = head.length
        self._closing = self._closing or not head.keep_alive
        if status != self._wanted:
            self._take = self._note
            if self._left is None or self._left > _WORTH_READING_BYTES:
                self._closing = True
        return rest

    @property
    def _ends_with_connection(self) -> bool:
        return self._head is not None and self._left is None and not self._head.chunked

    def _hear_counted(self, view: memoryview) -> None:
        assert self._left is not None
        more = len(view) - self._left
        if more > 0:  # it says more than it announced: what, nobody knows
            self._closing = True
            view = view[:-more] if self._left else view[:0]
        if view:
            self._left -= len(view)
            self._take(view)
        if self._left == 0:
            self._end()

    def _hear_chunks(self, view: memoryview) -> None:
        head = self._head
        assert head is not None
        try:
            head.parser.feed_data(bytes(view))
        except httptools.HttpParserError as error:
            raise GetFailed(f"the answer is malformed: {error}") from None
        if head.body:
            piece, head.body = head.body, bytearray()
            self._take(memoryview(piece))
        if head.complete:
            self._end()

    def _note(self, view: memoryview) -> None:
        """Takes a body that was not wanted, as far as it tells something."""
        self._told += view[: _TOLD_BYTES - len(self._told)]
        if self._closing and len(self._told) >= _TOLD_BYTES:
            self._end()

    def _end(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Answer(self._status, bytes(self._told)))

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self.close()

    def _look(self) -> None:
        """Gives up when nothing has come for too long; else looks again when that may be."""
        silent_s = time.monotonic() - self.heard_s
        if silent_s >= self._stall_s:
            self._fail(GetFailed(f"nothing came for {self._stall_s:g} s"))
        else:
            self._timer = self._loop.call_later(self._stall_s - silent_s, self._look)

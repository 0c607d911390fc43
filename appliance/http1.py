"""HTTP/1.1 as the data port speaks it: bytes in, requests out; answers' heads as bytes.

httptools (llhttp) parses; the limits are ours. No I/O and no clock here. A request with a body
is refused, so nothing can be smuggled behind one (RFC 9112 11.2).
"""

from typing import NamedTuple

import httptools

MAX_TARGET_BYTES = 4096
MAX_HEAD_BYTES = 16 * 1024
MAX_HEADERS = 64
MAX_PIPELINED = 16

REASONS = {
    200: b"OK", 204: b"No Content", 206: b"Partial Content", 304: b"Not Modified",
    400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found",
    405: b"Method Not Allowed", 408: b"Request Timeout", 410: b"Gone", 413: b"Content Too Large",
    414: b"URI Too Long", 416: b"Range Not Satisfiable", 417: b"Expectation Failed",
    431: b"Request Header Fields Too Large", 500: b"Internal Server Error",
    502: b"Bad Gateway", 503: b"Service Unavailable", 504: b"Gateway Timeout",
    507: b"Insufficient Storage",
}  # fmt: skip


class Request(NamedTuple):
    """A request without a body. Header names are lower case; of repeated ones the last counts."""

    method: bytes
    target: bytes
    headers: dict[bytes, bytes]
    keep_alive: bool


class BadRequest(Exception):
    """What the client sent is refused, and the connection is closed after the answer."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class RequestReader:
    """Turns the bytes of one connection into requests."""

    def __init__(self) -> None:
        self._ready: list[Request] = []
        self._refused: BadRequest | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._start()

    def feed(self, data: bytes) -> list[Request]:
        """The requests that these bytes complete. Raises BadRequest; the reader is then done."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise BadRequest(400, "No other protocol is spoken here.") from None
        except httptools.HttpParserCallbackError as error:
            raise self._refused or BadRequest(400, "The request is malformed.") from error
        except httptools.HttpParserError:
            raise BadRequest(400, "The request is malformed.") from None
        self._head_bytes += len(data) if self._begun else 0
        if self._head_bytes > MAX_HEAD_BYTES:
            raise BadRequest(431, "The request head is too large.")
        ready, self._ready = self._ready, []
        return ready

    @property
    def in_request(self) -> bool:
        """A request has begun and is not whole yet."""
        return self._begun

    def _start(self) -> None:
        self._begun = False
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._count = 0
        self._head_bytes = 0

    def _refuse(self, status: int, detail: str) -> None:
        self._refused = BadRequest(status, detail)
        raise self._refused

    # called by httptools, in this order

    def on_message_begin(self) -> None:
        self._start()
        self._begun = True

    def on_url(self, piece: bytes) -> None:
        self._target += piece
        if len(self._target) > MAX_TARGET_BYTES:
            self._refuse(414, "The address is too long.")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count += 1
        self._head_bytes += len(name) + len(value) + 4
        if self._count > MAX_HEADERS or self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(431, "The request has too many header fields.")
        name = name.lower()
        if name == b"host" and name in self._headers:
            self._refuse(400, "The request names two hosts.")
        if name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0"):
            self._refuse(413, "Requests with a body are not taken here.")
        self._headers[name] = value

    def on_headers_complete(self) -> None:
        if b"host" not in self._headers and self._parser.get_http_version() == "1.1":
            self._refuse(400, "The request names no host.")
        if b"expect" in self._headers:
            self._refuse(417, "No expectation is met here.")

    def on_message_complete(self) -> None:
        self._begun = False
        if len(self._ready) >= MAX_PIPELINED:
            self._refuse(400, "Too many requests at once.")
        self._ready.append(
            Request(
                self._parser.get_method(),
                self._target,
                self._headers,
                self._parser.should_keep_alive(),
            )
        )
        self._head_bytes = 0


def head(status: int, fields: bytes, length: int | None, keep_alive: bool) -> bytes:
    """An answer's head: `fields` are whole lines; `length` None sends no Content-Length."""
    size = b"" if length is None else b"Content-Length: %d\r\n" % length
    connection = b"" if keep_alive else b"Connection: close\r\n"
    return b"HTTP/1.1 %d %b\r\n%b%b%b\r\n" % (status, REASONS[status], fields, size, connection)

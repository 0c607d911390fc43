"""HTTP/1.1 as the data port speaks it: bytes in, requests out; answers' heads as bytes.

httptools (llhttp) parses, strictly: a bare LF, a folded field or an odd space is an error. The
limits are ours. No I/O and no clock here. A request with a body is refused, so nothing can be
smuggled behind one (RFC 9112 11.2).

A player sends the same fields with every segment that it asks for, so the fields of a head that was
parsed are remembered: the next head with the same bytes behind its request line means the same. Its
target is then taken as it stands: whoever knows it, byte for byte, need not look at it, and who
does not asks `is_target` first.
"""

import re
from typing import Any, NamedTuple

import httptools

from media import cmcd
from runtime.errors import Problem

MAX_TARGET_BYTES = 4096
MAX_HEAD_BYTES = 16 * 1024
MAX_HEADERS = 64
_END_OF_HEAD = b"\r\n\r\n"
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*[ \t]*")  # RFC 9110 7.2
_CR = b"\r"  # looked for quicker than CR LF, and no head has one without the other
# A byte is found in bytes as a number: as bytes it costs an exception, unseen (bytes.__contains__).
_SPACE = ord(" ")
_GET, _VERSION = b"GET ", b" HTTP/1.1"
_TARGET_BYTES = bytes(range(0x21, 0x7F))
_SEEN_BYTES = 2048
_tuple = tuple.__new__  # a named tuple without the detour through its constructor
_SEEN_HEADS = 1024  # some 4 MB at most
# A request without any of these wants all of the file, whatever it holds, and says no more.
_MORE_IS_SAID = {
    b"range",
    b"if-range",
    b"if-match",
    b"if-none-match",
    b"cache-control",
    *cmcd.HEADERS,
}

REASONS = {
    200: b"OK", 204: b"No Content", 206: b"Partial Content", 304: b"Not Modified",
    400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found",
    405: b"Method Not Allowed", 408: b"Request Timeout", 410: b"Gone", 412: b"Precondition Failed",
    413: b"Content Too Large", 414: b"URI Too Long", 416: b"Range Not Satisfiable",
    417: b"Expectation Failed", 431: b"Request Header Fields Too Large",
    500: b"Internal Server Error", 502: b"Bad Gateway", 503: b"Service Unavailable",
    504: b"Gateway Timeout", 505: b"HTTP Version Not Supported", 507: b"Insufficient Storage",
}  # fmt: skip


class Request(NamedTuple):
    """A request without a body, its target in origin form, or what `is_target` says no to. Header
    names are lower case; repeated fields are one, joined by commas (RFC 9110 5.3). `plain`: a GET
    of the whole, whatever its client holds, and no header says more."""

    method: bytes
    target: bytes
    headers: dict[bytes, bytes]
    keep_alive: bool
    plain: bool


SeenHeads = dict[bytes, tuple[dict[bytes, bytes], bool, bool]]
"""Fields, keep-alive and plainness by the bytes of a head behind its request line and CR. Readers
share one, and bound it."""


class BadRequest(Problem):
    """What the client sent is refused, and the connection is closed after the answer."""


class RequestReader:
    """Turns the bytes of one connection into requests, one at a time. What is pipelined behind a
    request stays bytes until its turn: so a connection holds little, however much a client sends
    ahead, and what is wrong with a later request does not change the answer to an earlier one."""

    __slots__ = (
        "_begun", "_count", "_head_bytes", "_headers", "_host", "_parser", "_refused", "_request",
        "_seen", "_tail", "_target", "_unread",
    )  # fmt: skip

    def __init__(self, seen: SeenHeads) -> None:
        self._seen = seen
        self._unread = b""
        self._tail = b""  # the last bytes of a head that has begun: its end may be cut in two
        self._request: Request | None = None
        self._refused: BadRequest | None = None
        self._host = b""  # the last one that was valid: mostly they are all alike
        self._parser: Any = None  # made when it is needed: most connections idle without one
        self._head_bytes = 0
        self._start()

    def feed(self, data: bytes) -> None:
        """More bytes have come."""
        self._unread = self._unread + data if self._unread else data

    def next(self, data: bytes = b"") -> Request | None:
        """The next request, `data` fed; None until more bytes have come. Raises BadRequest: the
        reader is then done."""
        unread = self._unread + data if self._unread else data
        if not self._begun and unread:
            # What has come may begin with a head whose fields were seen before; mostly it is one.
            line, _, fields = unread.partition(_CR)
            seen, behind = self._seen.get(fields), b""
            if seen is None:
                end = fields.find(_END_OF_HEAD) + len(_END_OF_HEAD)
                seen, behind = self._seen.get(fields[:end]), fields[end:]
            if seen is not None and len(line) <= MAX_TARGET_BYTES:
                target = line[4:-9]
                if (
                    line.startswith(b"GET /")
                    and line.endswith(_VERSION)
                    and _SPACE not in target  # llhttp forgives more of them
                ):
                    self._unread = behind
                    headers, keep_alive, plain = seen
                    return _tuple(Request, (b"GET", target, headers, keep_alive, plain))
        self._unread = unread
        while self._unread:
            begins = not self._begun
            piece = self._take_piece()
            self._head_bytes += len(piece)
            if self._head_bytes > MAX_HEAD_BYTES:
                raise BadRequest("head_too_large")
            self._parse(piece)
            request = self._request
            if request is not None:
                self._request = None
                if begins:
                    self._remember(piece, request)
                return request
        return None

    @property
    def in_request(self) -> bool:
        """A request has begun, and `next` has not given it yet."""
        return self._begun or bool(self._unread)

    def _remember(self, head: bytes, request: Request) -> None:
        line, _, fields = head.partition(_CR)
        if (
            len(fields) <= _SEEN_BYTES
            and line.startswith(_GET)
            and line.endswith(_VERSION)
            and b"upgrade" not in request.headers
        ):
            if len(self._seen) >= _SEEN_HEADS:
                self._seen.clear()
            self._seen[fields] = request[2:]

    def _take_piece(self) -> bytes:
        """The unread bytes, no further than to the end of this head."""
        unread, tail = self._unread, self._tail
        end = (tail + unread).find(_END_OF_HEAD)
        if end < 0:
            self._unread, self._tail = b"", (tail + unread)[1 - len(_END_OF_HEAD) :]
            return unread
        end += len(_END_OF_HEAD) - len(tail)
        self._unread, self._tail = unread[end:], b""
        return unread[:end]

    def _parse(self, piece: bytes) -> None:
        if self._parser is None:
            self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            pass  # the request is whole; we go on in HTTP/1.1, as a server may (RFC 9110 7.8)
        except httptools.HttpParserCallbackError as error:
            raise self._refused or BadRequest("bad_request", "The request is malformed.") from error
        except httptools.HttpParserError:
            raise BadRequest("bad_request", "The request is malformed.") from None

    def _start(self) -> None:
        self._begun = False
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._count = 0

    def _refuse(self, code: str, detail: str = "") -> None:
        self._refused = BadRequest(code, detail)
        raise self._refused

    # called by httptools, in this order

    def on_message_begin(self) -> None:
        self._start()
        self._begun = True

    def on_url(self, piece: bytes) -> None:
        self._target += piece
        if len(self._target) > MAX_TARGET_BYTES:
            self._refuse("address_too_long")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count += 1
        if self._count > MAX_HEADERS:
            self._refuse("head_too_large")
        name = name.lower()
        if name == b"host":
            if name in self._headers or (value != self._host and not _HOST.fullmatch(value)):
                self._refuse("bad_request", "The request names no host, or two.")
            self._host = value
        elif name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0"):
            self._refuse("body_too_large", "Requests with a body are not taken here.")
        if name in self._headers:
            value = self._headers[name] + b", " + value
        self._headers[name] = value

    def on_headers_complete(self) -> None:
        version = self._parser.get_http_version()
        if version not in ("1.0", "1.1"):
            self._refuse("version_not_supported")
        if version == "1.1" and b"host" not in self._headers:
            self._refuse("bad_request", "The request names no host.")
        if b"expect" in self._headers and version == "1.1":  # 1.0 knew none (RFC 9110 10.1.1)
            self._refuse("expectation_failed")

    def on_message_complete(self) -> None:
        self._begun = False
        self._head_bytes = 0
        target, keep_alive = self._target, self._parser.should_keep_alive()
        if not target.startswith(b"/"):
            target = _origin_form(target)
        if keep_alive and b"connection" in self._headers:
            # A client of 1.0 that asks for it wants to be told, and few ask.
            keep_alive = self._parser.get_http_version() == "1.1"
        method = self._parser.get_method()
        plain = method == b"GET" and _MORE_IS_SAID.isdisjoint(self._headers)
        self._request = Request(method, target, self._headers, keep_alive, plain)


def is_target(target: bytes) -> bool:
    """No byte is in it that a request line cannot have, as llhttp has it."""
    return not target.translate(None, _TARGET_BYTES)


def _origin_form(target: bytes) -> bytes:
    """`/path?query` of an absolute target (RFC 9112 3.2.2); others as they are."""
    _, absolute, rest = target.partition(b"://")
    return b"/" + rest.partition(b"/")[2] if absolute else target


def head(status: int, fields: bytes, length: int | None, keep_alive: bool) -> bytes:
    """An answer's head: `fields` are whole lines; `length` None sends no Content-Length."""
    size = b"" if length is None else b"Content-Length: %d\r\n" % length
    connection = b"" if keep_alive else b"Connection: close\r\n"
    return b"HTTP/1.1 %d %b\r\n%b%b%b\r\n" % (status, REASONS[status], fields, size, connection)

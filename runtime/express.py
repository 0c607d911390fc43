"""The express way: whole answers for the few requests that come most, in few steps.

aiohttp makes headers for each answer, looks through them and writes them out. That is much work for
nothing where all but the length, the date and the body is the same in each answer.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from functools import lru_cache

from aiohttp import HttpVersion11, web
from aiohttp.http import SERVER_SOFTWARE

Express = Callable[[web.BaseRequest], "Whole | None"]
_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Whole(web.StreamResponse):
    """200 with this body, on a connection of HTTP/1.1 that stays."""

    def __init__(self, head: bytes, body: bytes) -> None:
        """`head` is from `head_of`."""
        super().__init__()
        self._bytes = head % (len(body), _date(int(time.time()))) + body

    @property
    def keep_alive(self) -> bool:
        """It stays."""
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        """The answer has left."""
        await request.writer.write(self._bytes)
        await request.writer.drain()

    async def write_eof(self, data: bytes = b"") -> None:
        """There is no more."""


def head_of(headers: Mapping[str, str]) -> bytes:
    """What `Whole` fills in."""
    lines = [f"{name}: {value}" for name, value in headers.items()]
    lines = ["HTTP/1.1 200 OK", *lines, f"Server: {SERVER_SOFTWARE}"]
    fixed = "\r\n".join(lines).encode().replace(b"%", b"%%")
    return fixed + b"\r\nContent-Length: %d\r\nDate: %b\r\n\r\n"


def before(express: Express, usual: _Handler) -> _Handler:
    """A handler that asks `express` first. What that answers with None, or fails at, takes the
    usual way; so does what comes by another version of HTTP, or wants the connection closed."""

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        answer = None
        if request.keep_alive and request.version == HttpVersion11:
            try:
                answer = express(request)
            except Exception:
                pass  # the usual way tells what it is
        return await usual(request) if answer is None else answer

    return handler


@lru_cache(1)
def _date(now_s: int) -> bytes:
    return formatdate(now_s, usegmt=True).encode()

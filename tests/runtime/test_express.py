"""The express way over real connections."""

import asyncio
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime

import pytest
from aiohttp import web

from runtime.express import Whole, head_of
from runtime.service import serve_http

_HEAD = head_of({"Content-Type": "text/plain", "X-Discount": "100%d"})


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A service with an express way for /whole, one that breaks for /broken, and a usual way."""

    def express(request: web.BaseRequest) -> Whole | None:
        if request.raw_path == "/broken":
            raise RuntimeError("a bug")
        if not request.raw_path.startswith("/whole"):
            return None
        return Whole(_HEAD, f"express {request.raw_path}".encode())

    async def usual(request: web.Request) -> web.Response:
        return web.Response(text=f"usual {await request.text()}")

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", usual)
    runner, url = await serve_http(app, "127.0.0.1:0", express)
    yield url.removeprefix("http://")
    await runner.cleanup()


async def _answer(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], str]:
    """The next answer: status line, headers and body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    status, *lines = head.strip().split("\r\n")
    headers = dict(line.split(": ") for line in lines)
    return status, headers, (await reader.readexactly(int(headers["Content-Length"]))).decode()


def _get(path: str, version: str = "1.1", more: str = "") -> bytes:
    return f"GET {path} HTTP/{version}\r\nHost: a\r\n{more}\r\n".encode()


async def test_a_whole_answer_has_all_that_one_of_aiohttp_has(url: str) -> None:
    reader, writer = await asyncio.open_connection(*url.split(":"))
    heads = []
    for path, said in (("/whole/1", "express /whole/1"), ("/other", "usual ")):
        writer.write(_get(path))
        status, headers, body = await _answer(reader)
        assert (status, body) == ("HTTP/1.1 200 OK", said)
        heads.append(headers)
    writer.close()
    ours, theirs = heads
    assert ours.pop("X-Discount") == "100%d"
    assert ours.keys() == theirs.keys()
    assert ours["Server"] == theirs["Server"]
    apart = parsedate_to_datetime(theirs["Date"]) - parsedate_to_datetime(ours["Date"])
    assert 0 <= apart.total_seconds() <= 2


@pytest.mark.parametrize(
    "sent",
    [
        _get("/whole", "1.0"),
        _get("/whole", "1.0", "Connection: keep-alive\r\n"),
        _get("/whole", more="Connection: close\r\n"),
        _get("/broken"),
    ],
    ids=["1.0", "1.0 kept", "close", "broken"],
)
async def test_what_it_is_not_for_takes_the_usual_way(url: str, sent: bytes) -> None:
    reader, writer = await asyncio.open_connection(*url.split(":"))
    writer.write(sent)
    assert (await _answer(reader))[2] == "usual "
    writer.close()


async def test_answers_keep_their_order_and_bodies_of_requests_do_not_matter(url: str) -> None:
    reader, writer = await asyncio.open_connection(*url.split(":"))
    writer.write(_get("/whole/1") + _get("/other"))
    writer.write(_get("/whole/2", more="Content-Length: 3\r\n") + b"abc" + _get("/whole/3"))
    said = [(await _answer(reader))[2] for _ in range(4)]
    assert said == ["express /whole/1", "usual ", "express /whole/2", "express /whole/3"]
    writer.close()


async def test_who_reads_nothing_is_not_answered_without_end(url: str) -> None:
    """Answers stop at what the buffers take, and go on when they are read."""
    count, path = 10_000, "/whole/" + "x" * 4000
    reader, writer = await asyncio.open_connection(*url.split(":"), limit=1024)
    asked = 0

    async def ask() -> None:
        nonlocal asked
        for asked in range(1, count + 1):  # noqa: B007
            writer.write(_get(path))
            await writer.drain()

    asking = asyncio.create_task(ask())
    before = -1
    while asked != before:  # until the server takes no more
        before = asked
        await asyncio.wait({asking}, timeout=0.3)
    assert asked < count  # 40 MB of questions, and as many of answers
    for _ in range(count):
        assert (await _answer(reader))[2] == f"express {path}"
    await asking
    writer.close()

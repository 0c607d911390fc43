"""GETs against servers that say what a script has them say, byte for byte."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from media.http_get import Answer, GetFailed, Getter
from tests.certificates import write_certificate

BODY = os.urandom(700_000)
COUNTED = b"HTTP/1.1 200 OK\r\nContent-Length: 700000\r\n\r\n" + BODY
Script = list[bytes | float | None]  # sent; waited for, in seconds; None closes the connection


class Scripted:
    """Answers request after request, on whatever connection, with one script after the other."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.heads: list[bytes] = []
        self.connections = 0
        self.url = ""
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            while True:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                for step in self.scripts.pop(0):
                    match step:
                        case bytes():
                            writer.write(step)
                            await writer.drain()
                        case float():
                            await asyncio.sleep(step)
                        case None:
                            return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def scripted(*scripts: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    server = Scripted(*scripts)
    listening = await asyncio.start_server(server.serve, "127.0.1.1", 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    server.url = f"{'https' if tls else 'http'}://127.0.1.1:{port}"
    try:
        yield server
    finally:
        listening.close()
        for writer in server.writers:
            writer.transport.abort()
        await asyncio.sleep(0)


async def poured(getter: Getter, *, wanted: int = 200) -> tuple[Answer, bytes]:
    body = bytearray()
    answer = await getter.get("/a?b=c", {"X-Field": "value"}, body.extend, wanted=wanted)
    return answer, bytes(body)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(
    b"%x\r\n%b\r\n" % (len(BODY[at : at + 70_000]), BODY[at : at + 70_000])
    for at in range(0, len(BODY), 70_000)
)


@pytest.mark.parametrize(
    "script",
    [
        [COUNTED],
        [COUNTED[:30], 0.01, COUNTED[30:]],
        [COUNTED[:43], 0.01, COUNTED[43:46], 0.01, COUNTED[46:]],
        [b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", COUNTED],
        [CHUNKED + b"0\r\n\r\n"],
        [CHUNKED[:100], 0.01, CHUNKED[100:], 0.01, b"0\r\nTrailer: x\r\n\r\n"],
    ],
    ids=["whole", "head in two", "end of head in two", "hints", "chunked", "chunks in pieces"],
)
async def test_a_body_is_poured_and_its_connection_kept(script: Script) -> None:
    async with scripted(script, [COUNTED]) as server:
        getter = Getter(server.url)
        for _ in range(2):
            assert await poured(getter) == (Answer(200, b""), BODY)
        assert server.connections == 1
        host = server.url.removeprefix("http://").encode()
        head = b"GET /a?b=c HTTP/1.1\r\nHost: %b\r\nX-Field: value\r\n\r\n" % host
        assert server.heads == [head, head]
        getter.close()


@pytest.mark.parametrize(
    "script",
    [
        [b"HTTP/1.1 200 OK\r\n\r\n" + BODY, None],
        [b"HTTP/1.0 200 OK\r\nContent-Length: 700000\r\n\r\n" + BODY],
        [COUNTED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)],
        [COUNTED + b"and more"],
    ],
    ids=["ends with its connection", "1.0", "close", "more than announced"],
)
async def test_such_a_connection_is_not_kept(script: Script) -> None:
    async with scripted(script, [COUNTED]) as server:
        getter = Getter(server.url)
        for _ in range(2):
            assert await poured(getter) == (Answer(200, b""), BODY)
        assert server.connections == 2
        getter.close()


@pytest.mark.parametrize(
    "script",
    [
        [None],
        [COUNTED[:600_000], None],
        [CHUNKED, None],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 5", None],
        [b"SSH-2.0-OpenSSH\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n"],
        [b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000],
        [COUNTED[:1000], 5.0],
        [5.0],
    ],
    ids=[
        "nothing", "cut", "cut chunks", "half a head", "no HTTP", "negative length", "two lengths",
        "no chunk", "endless head", "stalls", "silent",
    ],
)  # fmt: skip
async def test_what_is_no_answer_fails_and_the_next_question_is_asked_anew(script: Script) -> None:
    async with scripted([COUNTED], script, [COUNTED]) as server:
        getter = Getter(server.url, stall_s=0.1)
        await poured(getter)
        server.scripts.insert(1, server.scripts[0])  # nothing at all on a kept one: asked twice
        if script != [None]:
            server.scripts.pop(1)
        with pytest.raises(GetFailed):
            await poured(getter)
        assert await poured(getter) == (Answer(200, b""), BODY)
        getter.close()


async def test_a_kept_connection_that_was_closed_meanwhile_is_replaced() -> None:
    async with scripted([COUNTED], [None], [COUNTED]) as server:
        getter = Getter(server.url)
        assert await poured(getter) == await poured(getter) == (Answer(200, b""), BODY)
        assert (server.connections, len(server.heads)) == (2, 3)
        getter.close()


@pytest.mark.parametrize("size", [0, 100, 10_000, 100_000])
async def test_another_status_is_told_with_what_was_said(size: int) -> None:
    refusal = b"HTTP/1.1 503 Slow Down\r\nContent-Length: %d\r\n\r\n%b" % (size, b"e" * size)
    async with scripted([refusal], [COUNTED]) as server:
        getter = Getter(server.url)
        assert await poured(getter) == (Answer(503, b"e" * min(size, 512)), b"")
        assert await poured(getter) == (Answer(200, b""), BODY)
        assert server.connections == (2 if size > 16_384 else 1)
        getter.close()


async def test_a_whole_for_a_part_is_not_taken() -> None:
    async with scripted([COUNTED]) as server:
        getter = Getter(server.url)
        answer, body = await poured(getter, wanted=206)
        assert answer.status == 200 and body == b""
        getter.close()


async def test_who_takes_may_refuse() -> None:
    def refuse(piece: memoryview) -> None:
        raise KeyError("enough")

    async with scripted([COUNTED], [COUNTED]) as server:
        getter = Getter(server.url)
        with pytest.raises(KeyError):
            await getter.get("/", {}, refuse)
        assert await poured(getter) == (Answer(200, b""), BODY)
        assert server.connections == 2
        getter.close()


async def test_who_asks_may_leave() -> None:
    async with scripted([COUNTED[:1000], 5.0], [COUNTED]) as server:
        getter = Getter(server.url)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await poured(getter)
        assert await poured(getter) == (Answer(200, b""), BODY)
        assert server.connections == 2
        getter.close()


async def test_no_more_connections_than_allowed_at_once() -> None:
    async with scripted(*[[0.01, COUNTED] for _ in range(12)]) as server:
        getter = Getter(server.url, connections=3)
        answers = await asyncio.gather(*(poured(getter) for _ in range(12)))
        assert all(body == BODY for _, body in answers)
        assert server.connections == 3
        getter.close()


async def test_tls_is_spoken_and_verified(tmp_path: Path) -> None:
    chain, key = write_certificate(tmp_path, "origin")
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(chain, key)
    async with scripted([COUNTED], [CHUNKED + b"0\r\n\r\n"], tls=own) as server:
        getter = Getter(server.url, tls=ssl.create_default_context(cafile=str(chain)))
        for _ in range(2):
            assert await poured(getter) == (Answer(200, b""), BODY)
        assert server.connections == 1
        getter.close()
        with pytest.raises(GetFailed, match="certificate"):
            await poured(Getter(server.url))


async def test_nobody_there() -> None:
    with pytest.raises(GetFailed):
        await poured(Getter("http://127.0.1.1:9"))

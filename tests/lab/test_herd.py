"""A herd tells a right body from a wrong, a short and a late one."""

import asyncio
import random
from collections.abc import Callable

import pytest

from lab.herd import Herd, stampede

DATA = random.Random(1).randbytes(300_000)


class _Side:
    name = "it"
    base = tls_base = ""

    def target(self, path: str, session: int = 0) -> str:
        return f"/{path}"

    def pids(self) -> list[int]:
        return []


async def _herd(answer: Callable[[int], bytes], clients: int) -> Herd:
    """A stampede on a server whose n-th answer has this body."""
    served = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        await reader.readuntil(b"\r\n\r\n")
        body, served = answer(served), served + 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(DATA) + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        side = _Side()
        side.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return await stampede(side, side.target("x"), DATA, clients)


async def test_all_right() -> None:
    herd = await _herd(lambda n: DATA, 120)
    assert (herd.clients, herd.right) == (120, 120)
    assert 0 < herd.first_byte_ms < 10_000


@pytest.mark.parametrize("wrong", [DATA[:-1], DATA[:150_000] + b"x" + DATA[150_001:], b""])
async def test_one_wrong_body_is_seen(wrong: bytes) -> None:
    herd = await _herd(lambda n: wrong if n == 3 else DATA, 10)
    assert herd.right == 9

"""Requests made to be read in two ways, and clients made to be waited for, on a real appliance.

Each request of the table stands between two good ones on a connection. What comes before it is
answered whatever it is; what comes behind one that is refused is not even read: who disagrees with
us about where it ends (a proxy before us, RFC 9112 11.2) gains nothing by it.
"""

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.appliance.conftest import Standing
from tests.appliance.test_serving import get
from tests.packages import make_package

SIZE = 64  # of the file that is asked for
GET = b"GET {t} HTTP/1.1\r\nHost: x\r\n"
POST = GET.replace(b"GET", b"POST")
CHUNKED = b"Transfer-Encoding: chunked\r\n"
SMUGGLED = b"GET {t} HTTP/1.1\r\nHost: x\r\n\r\n"

# What is sent, and the status of its answer; it ends the connection, but for 200.
HOSTILE: dict[str, tuple[bytes, int]] = {
    # a body, and where it ends
    "CL and TE": (POST + b"Content-Length: 6\r\n" + CHUNKED + b"\r\n0\r\n\r\nG", 413),
    "TE and CL": (POST + CHUNKED + b"Content-Length: 4\r\n\r\n1c\r\n" + SMUGGLED, 413),
    "CL on GET": (GET + b"Content-Length: 40\r\n\r\n", 413),
    "chunks on GET": (GET + CHUNKED + b"\r\n0\r\n\r\n", 413),
    "chunks on HEAD": (GET.replace(b"GET", b"HEAD") + CHUNKED + b"\r\n0\r\n\r\n", 413),
    "two CLs": (GET + b"Content-Length: 0\r\nContent-Length: 40\r\n\r\n", 400),
    "two CLs alike": (GET + b"Content-Length: 40\r\nContent-Length: 40\r\n\r\n", 413),
    "a list of CLs": (GET + b"Content-Length: 0, 40\r\n\r\n", 400),
    "CL with a sign": (GET + b"Content-Length: +0\r\n\r\n", 400),
    "CL below zero": (GET + b"Content-Length: -1\r\n\r\n", 400),
    "CL in hex": (GET + b"Content-Length: 0x0\r\n\r\n", 400),
    "CL beyond 64 bits": (GET + b"Content-Length: 18446744073709551616\r\n\r\n", 400),
    "CL of nothing": (GET + b"Content-Length: \r\n\r\n", 400),
    "no CL to speak of": (GET + b"Content-Length: 0\r\n\r\n", 200),
    "TE by a tab": (GET + b"Transfer-Encoding:\tchunked\r\n\r\n", 413),
    "TE of our own": (GET + b"Transfer-Encoding: xchunked\r\n\r\n", 413),
    "TE not last": (GET + b"Transfer-Encoding: chunked, identity\r\n\r\n", 400),
    "TE twice": (GET + CHUNKED + b"Transfer-Encoding: identity\r\n\r\n", 413),
    "TE in HTTP/1.0": (GET.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n", 413),
    "TE with a space": (GET + b"Transfer-Encoding : chunked\r\n\r\n", 400),
    "TE after a fold": (GET + b"X: y\r\n Transfer-Encoding: chunked\r\n\r\n", 400),
    "TE behind a CR": (GET + b"X: y\rTransfer-Encoding: chunked\r\n\r\n", 400),
    "TE behind an LF": (GET + b"X: y\nTransfer-Encoding: chunked\r\n\r\n", 400),
    # where lines and heads end
    "a fold": (GET + b"X: a\r\n b\r\n\r\n", 400),
    "a fold at once": (b"GET {t} HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    "bare LFs": (b"GET {t} HTTP/1.1\nHost: x\n\n", 400),
    "a head ended by an LF": (GET + b"\n", 400),
    "CR CR LF": (GET + b"\r\r\n", 400),
    "a space before the colon": (GET + b"X : y\r\n\r\n", 400),
    "a space before the name": (b"GET {t} HTTP/1.1\r\n\tHost: x\r\n\r\n", 400),
    "no name": (GET + b": y\r\n\r\n", 400),
    "no colon": (GET + b"X\r\n\r\n", 400),
    "empty lines first": (b"\r\n\r\n" + GET + b"\r\n", 200),
    # bytes that end a string elsewhere
    "NUL in a value": (GET + b"X: a\0b\r\n\r\n", 400),
    "NUL in a name": (GET + b"X\0: y\r\n\r\n", 400),
    "NUL in the target": (GET.replace(b"{t}", b"{t}\0.m4s") + b"\r\n", 400),
    "NUL in the method": (b"GET\0 {t} HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "an escape in a value": (GET + b"X: \x1b[2J\r\n\r\n", 400),
    "a high byte in a name": (GET + b"X\xff: y\r\n\r\n", 400),
    # the request line
    "absolute, another host": (GET.replace(b"{t}", b"http://other.example{t}") + b"\r\n", 200),
    "absolute, another scheme": (GET.replace(b"{t}", b"ftp://x{t}") + b"\r\n", 200),
    "two spaces": (GET.replace(b" {t}", b"  {t}") + b"\r\n", 200),
    "a tab": (GET.replace(b" {t}", b"\t{t}") + b"\r\n", 400),
    "a space in the target": (GET.replace(b"{t}", b"{t} HTTP/1.1 {t}") + b"\r\n", 400),
    "a method in small letters": (GET.replace(b"GET", b"get") + b"\r\n", 400),
    "a method unheard of": (GET.replace(b"GET", b"GETS") + b"\r\n", 400),
    "HTTP/0.9": (b"GET {t}\r\n\r\n", 505),
    "HTTP/1.2": (GET.replace(b"1.1", b"1.2") + b"\r\n", 400),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "another protocol": (GET.replace(b"HTTP/", b"ICY/") + b"\r\n", 400),
    "no host": (b"GET {t} HTTP/1.1\r\n\r\n", 400),
    "two hosts": (GET + b"Host: y\r\n\r\n", 400),
    "a host with a path": (GET.replace(b": x", b": x/y") + b"\r\n", 400),
    "an expectation": (GET + b"Expect: 100-continue\r\n\r\n", 417),
}


@asynccontextmanager
async def connected(standing: Standing) -> AsyncIterator[Any]:
    """A connection to the data port."""
    assert standing.daemon is not None
    host, port = standing.daemon.urls["data"].removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(10):
            yield reader, writer
    finally:
        writer.close()


def statuses(answers: bytes) -> list[int]:
    """Of all answers, in their order. (The file's own bytes are random: they hold no such line.)"""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


@pytest.fixture(scope="module")
def target(shared: Standing) -> bytes:
    """The path of a small file, with a token."""
    package = make_package(shared.store, {"1.m4s": SIZE})
    return b"/" + shared.url(package, "v-avc-720/1.m4s").split("/", 3)[3].encode()


@pytest.mark.parametrize("how", ["at once", "in pieces", "one by one"])
@pytest.mark.parametrize("case", HOSTILE)
async def test_nothing_gets_past_what_is_refused(
    shared: Standing, target: bytes, case: str, how: str
) -> None:
    hostile, status = (HOSTILE[case][0].replace(b"{t}", target), HOSTILE[case][1])
    good = SMUGGLED.replace(b"{t}", target)
    last = good.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    sent = good + hostile + good + last
    async with connected(shared) as (reader, writer):
        answers = b""
        if how == "at once":
            writer.write(sent)
        elif how == "in pieces":
            for start in range(0, len(sent), 7):
                writer.write(sent[start : start + 7])
                await asyncio.sleep(0)
        else:
            writer.write(good)
            answers = await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(SIZE)
            writer.write(hostile)
            await asyncio.sleep(0.01)  # it comes alone
            writer.write(good + last)
        answers += await reader.read()
    if status == 200:
        assert statuses(answers) == [200] * 4
    else:
        assert statuses(answers) == [200, status]
        assert b"\r\nConnection: close\r\n" in answers[answers.rindex(b"HTTP/1.1 ") :]


IMPATIENT = {"request_timeout_s": "0.5", "idle_timeout_s": "0.5", "send_stall_s": "0.5"}
LARGE = 24_000_000  # more than the kernel takes for a reader that does not read
STEP = 4_000_000  # more than the kernel holds back: each step lets the appliance send on


@pytest.mark.parametrize("appliance", [IMPATIENT], indirect=True)
async def test_who_dawdles_is_dropped_and_hinders_nobody(appliance: Standing) -> None:
    package = make_package(appliance.store, {"1.m4s": SIZE})
    url = appliance.url(package, "v-avc-720/1.m4s")
    dawdling = [asyncio.create_task(dawdle(appliance)) for _ in range(50)]
    while not all(task.done() for task in dawdling):
        assert (await get(url))[0] == 200
        await asyncio.sleep(0.05)
    for task in dawdling:
        answers, lasted_s = await task
        assert answers == b""
        assert 0.3 < lasted_s < 3  # a worker looks at its clock every 0.1 s


@pytest.mark.parametrize("appliance", [IMPATIENT], indirect=True)
async def test_who_reads_nothing_is_dropped_and_who_reads_slowly_is_not(
    appliance: Standing,
) -> None:
    package = make_package(appliance.store, {"1.m4s": LARGE})
    url = appliance.url(package, "v-avc-720/1.m4s")
    data = package.files["v-avc-720/1.m4s"]
    assert (await get(url))[1] == data  # warm
    request = f"GET /{url.split('/', 3)[3]} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    with narrow(appliance) as stuck:
        await loop.sock_sendall(stuck, request * 3)
        async with connected(appliance) as (reader, writer):
            writer.write(request)
            await reader.readuntil(b"\r\n\r\n")
            # It takes longer than the stall, in steps that are shorter.
            began, read = time.monotonic(), b""
            while len(read) < LARGE:
                read += await reader.readexactly(min(STEP, LARGE - len(read)))
                await asyncio.sleep(0.2)
            assert time.monotonic() - began > 2 * float(IMPATIENT["send_stall_s"])
            assert read == data
        # The one that read nothing finds what the kernel had taken for it, and a reset.
        got = 0
        async with asyncio.timeout(10):
            with pytest.raises(ConnectionResetError):
                while piece := await loop.sock_recv(stuck, 1_000_000):
                    got += len(piece)
        assert got < LARGE


@pytest.mark.parametrize("appliance", [{"send_stall_s": "1.2"}], indirect=True)
async def test_who_reads_a_little_at_a_time_is_served(appliance: Standing) -> None:
    """The kernel holds megabytes, and it takes a poor network long to make room in them."""
    package = make_package(appliance.store, {"1.m4s": LARGE})
    url = appliance.url(package, "v-avc-720/1.m4s")
    assert (await get(url))[0] == 200  # warm
    request = f"GET /{url.split('/', 3)[3]} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    with narrow(appliance, 256_000) as poor:
        await loop.sock_sendall(poor, request)
        got = 0
        for _ in range(30):  # more than twice the stall, and nothing can be written meanwhile
            await asyncio.sleep(0.1)
            got += len(await loop.sock_recv(poor, 40_000))
        while got < LARGE:
            piece = await loop.sock_recv(poor, 1_000_000)
            assert piece, f"cut off after {got} bytes"
            got += len(piece)


async def dawdle(standing: Standing) -> tuple[bytes, float]:
    """Sends a head byte by byte until it is dropped: what it was answered, and how long it was
    let."""
    began = time.monotonic()  # before the server's own clock can
    async with connected(standing) as (reader, writer):
        closed = asyncio.create_task(reader.read())
        for byte in b"GET /slow HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 200:
            if closed.done():
                break
            writer.write(bytes([byte]))
            await asyncio.wait([closed], timeout=0.05)
        try:
            answers = await closed
        except ConnectionError:  # a byte of ours met the closed door: reset, or broken pipe
            answers = b""
        return answers, time.monotonic() - began


def narrow(standing: Standing, window: int = 4096) -> socket.socket:
    """A connection whose kernel holds little for its reader."""
    assert standing.daemon is not None
    host, port = standing.daemon.urls["data"].removeprefix("http://").split(":")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    sock.connect((host, int(port)))
    sock.setblocking(False)
    return sock

"""The parser and the range code against inputs made to break them: whole requests that were changed
here and there. `NEARCAST_FUZZ` says how many inputs each gets; what ever failed is kept in
tests/appliance/corpus, and tried first."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase

from appliance.http1 import (
    MAX_HEAD_BYTES,
    BadRequest,
    Request,
    RequestReader,
    SeenHeads,
    is_target,
)
from appliance.ranges import NotSatisfiable, has_current, range_applies, wanted_span

INPUTS = int(os.environ.get("NEARCAST_FUZZ", "500"))
CORPUS = DirectoryBasedExampleDatabase(Path(__file__).parent / "corpus")
SEEDS = (
    b"GET /t/titles/a/b/c.m4s HTTP/1.1\r\nHost: x\r\nUser-Agent: p\r\nAccept: */*\r\n\r\n",
    b'GET /a?CMCD=br%3D1 HTTP/1.1\r\nHost: x:80\r\nRange: bytes=0-99\r\nIf-Range: "e"\r\n\r\n',
    b"HEAD /a HTTP/1.1\r\nHost: [::1]\r\nConnection: keep-alive, close\r\n\r\n",
    b"GET http://x/a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"GET /a HTTP/1.0\r\nExpect: 100-continue\r\n\r\nGET /b HTTP/1.1\r\nHost: y\r\n\r\n",
)
TROUBLE = st.sampled_from(
    (
        *(b"", b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"HTTP/1.1", b"\xff", b"A" * 5000),
        *(b"\r\n\r\n", b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: z\r\n"),
    )
)
CHANGE = st.tuples(st.integers(0, 400), st.integers(0, 40), TROUBLE | st.binary(max_size=8))


def changed(seed: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """The seed with pieces cut out and others put in their place."""
    for at, length, piece in changes:
        seed = seed[:at] + piece + seed[at + length :]
    return seed


def fuzzed(test: Callable[..., None]) -> Callable[..., None]:
    """As many inputs as are wanted, however long that takes."""
    patient = settings(
        max_examples=INPUTS,
        deadline=None,
        database=CORPUS,
        suppress_health_check=list(HealthCheck),
    )
    return patient(test)


def read_all(reader: RequestReader, pieces: list[bytes]) -> tuple[list[Request], int | None]:
    """The requests, and the status by which the rest was refused."""
    requests = []
    try:
        for piece in pieces:
            request = reader.next(piece)
            while request is not None:
                if not is_target(request.target):  # as the gate asks, and nothing follows
                    return requests, 400
                requests.append(request)
                if not request.keep_alive:  # the server reads no further
                    return requests, None
                request = reader.next()
    except BadRequest as refused:
        return requests, refused.status
    return requests, None


@pytest.mark.timeout(60 + INPUTS // 200)
@fuzzed
@given(
    st.lists(st.sampled_from(SEEDS), min_size=1, max_size=3).map(b"".join),
    st.lists(CHANGE, max_size=5),
    st.integers(1, 500),
)
@example(SEEDS[0] * 2, [], 7)
def test_whatever_comes_is_requests_or_refused(
    seed: bytes, changes: list[tuple[int, int, bytes]], cut: int
) -> None:
    raw = changed(seed, changes)
    whole = read_all(RequestReader({}), [raw])
    for request in whole[0]:
        assert isinstance(request.method, bytes) and len(request.target) <= 4096
        assert b"transfer-encoding" not in request.headers
        assert request.headers.get(b"content-length", b"0").strip() == b"0"
        assert sum(map(len, request.headers)) <= MAX_HEAD_BYTES
    # Whatever was seen before, it says the same; however it is cut, the same but for the status,
    # since of two faults another may be met first.
    seen: SeenHeads = {}
    read_all(RequestReader(seen), [raw])
    pieces = [raw[at : at + cut] for at in range(0, len(raw), cut)]
    requests, refused = read_all(RequestReader(seen), pieces)
    assert (requests, refused is None) == (whole[0], whole[1] is None)
    assert read_all(RequestReader(seen), [raw]) == whole


RANGE_PART = st.sampled_from([b"bytes=", b"Bytes=", b"-", b",", b" ", b"\t", b"=", b"0", b"99"])
NUMBER = st.integers(-1, 10**19).map(lambda number: b"%d" % number)
RANGE = st.lists(RANGE_PART | NUMBER | st.binary(max_size=3), max_size=8).map(b"".join)


@pytest.mark.timeout(60 + INPUTS // 200)
@fuzzed
@given(RANGE, st.integers(0, 2**40), st.binary(max_size=12))
@example(b"bytes=0-0", 1, b'"e"')
@example(b"bytes=-0", 5, b"W/")
def test_whatever_is_asked_a_span_lies_inside(header: bytes, size: int, tag: bytes) -> None:
    try:
        span = wanted_span(header, size)
    except NotSatisfiable:
        span = None
    if span is not None:
        start, end = span
        assert 0 <= start < end <= size
    has_current(tag, b'"e"')
    range_applies(tag, b'"e"')

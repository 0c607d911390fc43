"""The parser: whole and split requests, limits, and what is refused."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.http1 import MAX_HEADERS, BadRequest, RequestReader, head

GET = b"GET /a?b HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1\r\n\r\n"


def test_a_request_arrives_whole() -> None:
    (request,) = RequestReader().feed(GET)
    assert (request.method, request.target, request.keep_alive) == (b"GET", b"/a?b", True)
    assert request.headers[b"range"] == b"bytes=0-1"


@given(st.lists(st.integers(1, len(GET) * 2 - 1), max_size=6))
def test_it_does_not_matter_how_bytes_are_cut(cuts: list[int]) -> None:
    reader, data = RequestReader(), GET * 2
    edges = [0, *sorted(cuts), len(data)]
    requests = [r for a, b in itertools.pairwise(edges) for r in reader.feed(data[a:b])]
    assert [r.target for r in requests] == [b"/a?b", b"/a?b"]
    assert not reader.in_request


def test_connection_close_and_http_10() -> None:
    (closing,) = RequestReader().feed(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    (old,) = RequestReader().feed(b"GET / HTTP/1.0\r\n\r\n")
    assert not closing.keep_alive and not old.keep_alive


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no host
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 413),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 3\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", 417),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * MAX_HEADERS + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 17_000 + b"\r\n\r\n", 431),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),  # TLS on the plain port
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ],
)
def test_what_is_refused(raw: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as refused:
        RequestReader().feed(raw)
    assert refused.value.status == status


def test_an_endless_head_is_cut_off() -> None:
    reader = RequestReader()
    reader.feed(b"GET / HTTP/1.1\r\nHost: a\r\n")
    with pytest.raises(BadRequest) as refused:
        for _ in range(100):
            reader.feed(b"X-Slow: " + b"y" * 500)
    assert refused.value.status == 431


@given(st.binary(max_size=300))
def test_nothing_but_bad_request_is_raised(raw: bytes) -> None:
    reader = RequestReader()
    try:
        for _ in range(3):
            reader.feed(raw)
    except BadRequest:
        pass


def test_a_head() -> None:
    assert head(206, b"A: b\r\n", 3, False) == (
        b"HTTP/1.1 206 Partial Content\r\nA: b\r\nContent-Length: 3\r\nConnection: close\r\n\r\n"
    )

"""The parser: whole and split requests, limits, and what is refused."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.http1 import MAX_HEADERS, BadRequest, Request, RequestReader, SeenHeads, head

GET = b"GET /a?b HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1\r\n\r\n"


def read(reader: RequestReader, data: bytes) -> list[Request]:
    """The requests that these bytes complete."""
    reader.feed(data)
    return list(iter(reader.next, None))


def test_a_request_arrives_whole() -> None:
    (request,) = read(RequestReader({}), GET)
    assert (request.method, request.target, request.keep_alive) == (b"GET", b"/a?b", True)
    assert request.headers[b"range"] == b"bytes=0-1"


@given(st.lists(st.integers(1, len(GET) * 2 - 1), max_size=6))
def test_it_does_not_matter_how_bytes_are_cut(cuts: list[int]) -> None:
    reader, data = RequestReader({}), GET * 2
    edges = [0, *sorted(cuts), len(data)]
    requests = [r for a, b in itertools.pairwise(edges) for r in read(reader, data[a:b])]
    assert [r.target for r in requests] == [b"/a?b", b"/a?b"]
    assert not reader.in_request


def test_connection_close_and_http_10() -> None:
    head = b"GET / HTTP/1.1\r\nHost: x\r\n"
    (closing,) = read(RequestReader({}), head + b"Connection: close\r\n\r\n")
    (old,) = read(RequestReader({}), b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert not closing.keep_alive and not old.keep_alive


def test_http_10_expects_nothing() -> None:
    """It has no expectations, so one that it carries is taken no notice of (RFC 9110 10.1.1)."""
    (old,) = read(RequestReader({}), b"GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n")
    assert old.target == b"/"


CODES = {
    400: "bad_request",
    413: "body_too_large",
    414: "address_too_long",
    417: "expectation_failed",
    431: "head_too_large",
    505: "version_not_supported",
}


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
        (b"GET /\r\n\r\n", 505),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nHost: a/b c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
    ],
)
def test_what_is_refused(raw: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as refused:
        read(RequestReader({}), raw)
    assert (refused.value.status, refused.value.code) == (status, CODES[status])


def test_an_endless_head_is_cut_off() -> None:
    reader = RequestReader({})
    assert read(reader, b"GET / HTTP/1.1\r\nHost: a\r\n") == []
    with pytest.raises(BadRequest) as refused:
        for _ in range(100):
            read(reader, b"X-Slow: " + b"y" * 500)
    assert refused.value.status == 431


@given(st.binary(max_size=300))
def test_nothing_but_bad_request_is_raised(raw: bytes) -> None:
    reader = RequestReader({})
    try:
        for _ in range(3):
            read(reader, raw)
    except BadRequest:
        pass


def test_a_long_head_may_come_in_pieces() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 9_000
    reader = RequestReader({})
    assert read(reader, head) == [] and reader.in_request
    assert len(read(reader, b"\r\n\r\n")) == 1


def test_what_is_pipelined_waits_and_spoils_nothing() -> None:
    reader = RequestReader({})
    reader.feed(GET * 500 + b"nonsense\r\n\r\n")
    for _ in range(500):
        request = reader.next()
        assert request is not None and request.target == b"/a?b"
    with pytest.raises(BadRequest):
        reader.next()


def test_an_absolute_target_is_taken() -> None:
    (request,) = read(RequestReader({}), b"GET http://a:80/b?c HTTP/1.1\r\nHost: x\r\n\r\n")
    assert request.target == b"/b?c"


def test_an_upgrade_is_not_followed() -> None:
    upgrade = b"GET /a?b HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    assert [r.target for r in read(RequestReader({}), upgrade + GET)] == [b"/a?b", b"/a?b"]


def test_repeated_fields_are_one_list() -> None:
    twice = b"GET / HTTP/1.1\r\nHost: x\r\nIf-None-Match: a\r\nif-none-match: b\r\n\r\n"
    (request,) = read(RequestReader({}), twice)
    assert request.headers[b"if-none-match"] == b"a, b"


def test_a_head() -> None:
    assert head(206, b"A: b\r\n", 3, False) == (
        b"HTTP/1.1 206 Partial Content\r\nA: b\r\nContent-Length: 3\r\nConnection: close\r\n\r\n"
    )


HEADS = st.lists(
    st.sampled_from(
        [
            b"Host: x\r\n",
            b"User-Agent: a player\r\n",
            b"Range: bytes=0-9\r\n",
            b"Connection: close\r\n",
            b"Upgrade: h2c\r\nConnection: Upgrade\r\n",
            b"Content-Length: 0\r\n",
            b"Expect: 100-continue\r\n",
            b"X: \x00\r\n",
            b"\r\n",
        ]
    ),
    max_size=4,
).map(b"".join)
LINES = st.sampled_from(
    [
        b"GET /a HTTP/1.1",
        b"GET /b?c=%22d%22 HTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"GET /\xff HTTP/1.1",
        b"GET /#a HTTP/1.1",
        b"GET  HTTP/1.1",
        b"GET /a HTTP/1.0",
        b"GET http://x/a HTTP/1.1",
        b"HEAD /a HTTP/1.1",
        b"\r\nGET /a HTTP/1.1",
        b"",
    ]
)


@given(st.lists(st.tuples(LINES, HEADS), max_size=6))
def test_a_head_that_was_seen_before_means_the_same(heads: list[tuple[bytes, bytes]]) -> None:
    """Whatever a reader remembers of earlier heads, it says what one without a memory says."""
    seen: SeenHeads = {}
    for line, fields in heads:
        raw = line + b"\r\n" + fields + b"\r\n"
        told = []
        for reader in (RequestReader({}), RequestReader(seen)):
            try:
                told.append(read(reader, raw))
            except BadRequest as refused:
                told.append([refused.status])  # type: ignore[list-item]
        assert told[0] == told[1]


def test_what_is_remembered_of_heads_is_bounded() -> None:
    seen: SeenHeads = {}
    for number in range(3000):
        read(RequestReader(seen), b"GET / HTTP/1.1\r\nHost: %d\r\n\r\n" % number)
    read(RequestReader(seen), b"GET / HTTP/1.1\r\nHost: x\r\nX: %b\r\n\r\n" % (b"y" * 4000))
    assert 0 < len(seen) <= 1024 and max(map(len, seen)) <= 2048

"""Ranges and conditions, against their definition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.ranges import NotSatisfiable, has_current, is_current, range_applies, wanted_span


@pytest.mark.parametrize(
    ("header", "span"),
    [
        (None, None),
        (b"bytes=0-99", (0, 100)),
        (b"bytes=10-", (10, 1000)),
        (b"bytes=-10", (990, 1000)),
        (b"bytes=-5000", (0, 1000)),
        (b"bytes=990-5000", (990, 1000)),
        (b"Bytes=0-0", (0, 1)),
        (b"bytes=5-4", None),
        (b"bytes=a-b", None),
        (b"bytes=-", None),
        (b"items=0-1", None),
        (b"bytes=0-1,5-6", None),
        (b"bytes=5-99999999999999999999", (5, 1000)),
        (b"bytes=-99999999999999999999", (0, 1000)),
        (b"bytes=000000000000000000005-000000000000000000006", (5, 7)),
    ],
)
def test_spans_of_a_thousand_bytes(header: bytes | None, span: tuple[int, int] | None) -> None:
    assert wanted_span(header, 1000) == span


@pytest.mark.parametrize(
    "header",
    [b"bytes=1000-", b"bytes=1000-2000", b"bytes=-0", b"bytes=99999999999999999999-"],
)
def test_outside(header: bytes) -> None:
    with pytest.raises(NotSatisfiable):
        wanted_span(header, 1000)


@given(st.binary(max_size=40), st.integers(0, 10**12))
def test_a_span_always_lies_inside(header: bytes, size: int) -> None:
    try:
        span = wanted_span(b"bytes=" + header, size)
    except NotSatisfiable:
        return
    assert span is None or 0 <= span[0] < span[1] <= size


def test_conditions() -> None:
    etag = b'"abc"'
    assert has_current(b'"x", W/"abc"', etag) and has_current(b"*", etag)
    assert not has_current(b'"x"', etag) and not has_current(None, etag)
    assert is_current(None, etag) and is_current(b"*", etag) and is_current(b'"x", "abc"', etag)
    assert not is_current(b'"x"', etag) and not is_current(b'W/"abc"', etag)
    assert range_applies(None, etag) and range_applies(b'"abc"', etag)
    assert not range_applies(b'W/"abc"', etag)
    assert not range_applies(b"Sat, 21 Nov 2026 00:00:00 GMT", etag)

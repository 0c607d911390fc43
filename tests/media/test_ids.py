"""Identifiers sort by time and survive the round trip."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.ids import decode, encode, from_bytes, id_from, new_id, to_bytes


@given(st.integers(0, (1 << 128) - 1))
def test_round_trip(value: int) -> None:
    text = encode(value)
    assert len(text) == 26 and decode(text) == value
    identifier = f"pkg_{text}"
    assert from_bytes("pkg", to_bytes(identifier)) == identifier


@given(st.integers(0, (1 << 48) - 2), st.integers(0, (1 << 80) - 1), st.integers(0, (1 << 80) - 1))
def test_later_sorts_after(now_ms: int, one: int, two: int) -> None:
    assert id_from("ttl", now_ms, one) < id_from("ttl", now_ms + 1, two)


@pytest.mark.parametrize("text", ["", "x", "8" + "0" * 25, "0" * 25 + "u", "0" * 25 + "A"])
def test_what_is_no_id(text: str) -> None:
    with pytest.raises(ValueError, match="26 characters"):
        decode(text)


def test_ids_differ() -> None:
    assert len({new_id("ses") for _ in range(1000)}) == 1000

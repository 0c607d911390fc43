"""Lines of the access log say what json.dumps would say."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.access_log import NOBODY, Lines, Stamps, quoted, session_part, what

SESSION = "ses_01jd0000000000000000000000"


@given(
    method=st.binary(max_size=20) | st.sampled_from([b"GET", b"HEAD", b'G"T', b"\r\n"]),
    path=st.binary(max_size=200),
    status=st.integers(100, 599),
    sent=st.integers(0, 2**62),
    took_us=st.integers(0, 10**10),
    now_s=st.floats(0, 4e9),
    scope=st.sampled_from(["play", "fill", None]),
)
def test_every_line_is_one_json_object(
    method: bytes, path: bytes, status: int, sent: int, took_us: int, now_s: float, scope: str
) -> None:
    who = session_part(SESSION, scope) if scope else NOBODY  # type: ignore[arg-type]
    text = Lines()([(now_s, took_us, what(method, quoted(path), status, sent, "hit"), who)])
    assert text.endswith("}\n") and text.count("\n") == 1 and text.isascii()
    said = json.loads(text)
    same = {
        "ts": said["ts"],
        "method": method.decode("latin-1"),
        "path": path.decode("latin-1"),
        "status": status,
        "bytes": sent,
        "cache": "hit",
        "ms": took_us // 10 / 100,
        "session_id": SESSION if scope else None,
        "scope": scope,
    }
    assert list(said) == list(same)
    assert json.loads(json.dumps(same)) == said


@given(st.lists(st.floats(0, 4e9), min_size=1, max_size=20))
def test_stamps(times: list[float]) -> None:
    stamps = Stamps()
    for now_s in times:
        cut = datetime.fromtimestamp(int(now_s * 1000) // 1000, UTC)
        said = datetime.fromisoformat(stamps.stamp(now_s))
        assert (said - cut).total_seconds() == pytest.approx(int(now_s * 1000) % 1000 / 1000)


def test_stamps_of_one_second_differ_in_their_milliseconds() -> None:
    stamps = Stamps()
    assert stamps.stamp(1_700_000_000.0) == "2023-11-14T22:13:20.000Z"
    assert stamps.stamp(1_700_000_000.0509) == "2023-11-14T22:13:20.050Z"
    assert stamps.stamp(1_700_000_059.999) == "2023-11-14T22:14:19.999Z"
    assert stamps.stamp(1_700_000_000.05) == "2023-11-14T22:13:20.050Z"  # a clock set back

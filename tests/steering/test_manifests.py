"""Steering manifests, what players say, and the context tokens."""

import json
import stat
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import Problem
from steering.contexts import MAX_OFFERED, MAX_TOKEN_CHARS, Context, Contexts
from steering.manifests import SteerQuery, manifest, player_word, priorities, ttl
from tests.steering_fleet import package_id, session_id

OFFERED = ("n-1", "s-1", "w-1")


def context(**changes: Any) -> Context:
    fields: dict[str, Any] = {
        "session_id": session_id(),
        "package_id": package_id(),
        "region": "north",
        "client": "192.0.2.7",
        "offered": OFFERED,
        "expires_s": int(time.time()) + 60,
    }
    return Context(**(fields | changes))


names = st.sampled_from(["a", "b", "c", "d", "e"])


@given(st.lists(names, unique=True), st.lists(names, unique=True, min_size=1))
def test_every_offered_id_once_and_no_other(ranked: list[str], offered: list[str]) -> None:
    made = priorities(tuple(ranked), tuple(offered))
    assert sorted(made) == sorted(offered)
    alive = [one for one in ranked if one in offered]
    assert list(made[: len(alive)]) == alive
    assert list(made[len(alive) :]) == [one for one in offered if one not in ranked]


@given(st.floats(1, 300), st.floats(0, 0.99), st.floats(0, 1, exclude_max=True))
def test_ttl_stays_within_its_jitter(ttl_s: float, jitter: float, chance: float) -> None:
    made = ttl(ttl_s, jitter, chance)
    assert made >= 1
    assert ttl_s * (1 - jitter) - 0.5 <= made <= max(1.0, ttl_s * (1 + jitter) + 0.5)


def test_the_document_has_what_players_need() -> None:
    made = manifest(OFFERED, 15, "http://127.0.0.1:8081/steer/x")
    assert json.loads(made) == {
        "VERSION": 1,
        "TTL": 15,
        "RELOAD-URI": "http://127.0.0.1:8081/steer/x",
        "PATHWAY-PRIORITY": list(OFFERED),
    }


@pytest.mark.parametrize(
    ("query", "protocol", "current", "throughput_bps"),
    [
        ({}, "hls", None, None),
        ({"_HLS_pathway": "s-1", "_HLS_throughput": "5140000"}, "hls", "s-1", 5_140_000),
        ({"_HLS_pathway": '"s-1"'}, "hls", "s-1", None),
        ({"_HLS_pathway": "elsewhere", "_HLS_throughput": "fast"}, "hls", None, None),
        ({"_DASH_pathway": '"s-1"', "_DASH_throughput": "12.5"}, "dash", "s-1", 12.5),
        ({"_DASH_pathway": '"s-1,n-1"', "_DASH_throughput": "9,4"}, "dash", None, 9),
        ({"_DASH_pathway": '"s-1"', "_DASH_throughput": ""}, "dash", "s-1", None),
        ({"_HLS_throughput": "999999999999999"}, "hls", None, 1e12),
        ({"_HLS_throughput": "-1"}, "hls", None, None),
        ({"_HLS_throughput": "1e9"}, "hls", None, None),
        ({"_HLS_throughput": "nan", "_HLS_pathway": "\x00" * 500}, "hls", None, None),
    ],
)
def test_what_players_say(
    query: dict[str, str], protocol: str, current: str | None, throughput_bps: float | None
) -> None:
    word = player_word(urlencode(query), OFFERED)
    assert (word.protocol, word.current, word.throughput_bps) == (
        protocol,
        current,
        throughput_bps,
    )


@given(
    st.dictionaries(st.sampled_from(list(SteerQuery.model_json_schema()["properties"])), st.text())
)
def test_nothing_that_players_say_is_an_error(query: dict[str, str]) -> None:
    word = player_word(urlencode(query), OFFERED)
    assert word.current is None or word.current in OFFERED


def test_a_context_survives_a_restart_also_when_it_has_expired(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "steering-context.key"
    expired = context(expires_s=1000, client=None)
    token = Contexts.open(path).sign(expired)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = Contexts.open(path)
    assert again.read(token) == again.read(token) == expired


def test_the_longest_context_fits_its_bound() -> None:
    contexts = Contexts(b"s" * 32)
    offered = tuple(f"{number:032d}" for number in range(MAX_OFFERED))
    longest = context(offered=offered, region="r" * 32, client="0000:" * 6 + "255.255.255.255")
    token = contexts.sign(longest)
    assert len(token) <= MAX_TOKEN_CHARS
    assert contexts.read(token) == longest


def forged() -> list[str]:
    ours, secret = context(), b"s" * 32
    claims = ours.model_dump(by_alias=True)
    token = Contexts(secret).sign(ours)
    head, body, signature = token.split(".")
    return [
        "",
        "x",
        "a.b.c",
        "x" * (MAX_TOKEN_CHARS + 1),
        Contexts(b"t" * 32).sign(ours),
        f"{head}.{body}.{signature[::-1]}",
        f"{head}.{body}.",
        jwt.encode(claims, "", algorithm="none"),
        jwt.encode(claims, secret * 2, algorithm="HS512"),
        jwt.encode(claims | {"ids": []}, secret, algorithm="HS256"),
        jwt.encode(claims | {"ids": ["../x"]}, secret, algorithm="HS256"),
        jwt.encode({"sid": ours.session_id}, secret, algorithm="HS256"),
    ]


@pytest.mark.parametrize("token", forged())
def test_a_forged_context_is_refused(token: str) -> None:
    with pytest.raises(Problem) as caught:
        Contexts(b"s" * 32).read(token)
    assert caught.value.code == "token_invalid"

"""Patterns: RFC 8007's wildcards, what is refused, and how long the worst of them takes."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from media.ids import id_from
from media.pattern import MAX_PATTERN_CHARS, MAX_WILDCARDS, Pattern, compile_pattern

TITLE, PACKAGE = id_from("ttl", 1_700_000_000_000, 1), id_from("pkg", 1_700_000_000_000, 2)
KEY = f"titles/{TITLE}/{PACKAGE}/v-avc-720/17.m4s"


def matches(pattern: str, key: str = KEY) -> bool:
    return compile_pattern(pattern).match(key) is not None


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (KEY, True),
        (KEY[:-1], False),
        (KEY + "s", False),
        ("*", True),
        (f"titles/{TITLE}/*", True),
        (f"titles/{TITLE}", False),
        (f"titles/*/{PACKAGE}/*", True),
        (f"*/{PACKAGE}/v-avc-720/??.m4s", True),
        ("*/v-avc-720/?.m4s", False),
        ("*.m4s", True),
        ("*.M4S", False),
        ("*.m4s*", True),
        ("*/v-avc-7*7.m4s", True),
        ("*17.m4s17.m4s", False),  # what one run has taken, another does not take again
        ("*/17.m*/17.m4s", False),
        ("titles/$*", False),
        ("*$$*", False),
        ("?itles/*/1?.m4s", True),
        ("*/v.avc*", False),  # a dot is a dot
    ],
)
def test_a_key_is_matched_whole(pattern: str, expected: bool) -> None:
    assert matches(pattern) is expected


def test_an_escape_takes_the_meaning_away() -> None:
    assert matches("titles/a$*b$?c$$", "titles/a*b?c$")
    assert not matches("titles/a$*b", "titles/axxb")


@pytest.mark.parametrize(
    "pattern",
    [
        *("", "titles", "titles/$", "titles/$a", "/titles/*", "films/*", "pkg_*", "titles/ *"),
        "titles/" + "a" * (MAX_PATTERN_CHARS - 6),
        "titles/" + "*" * (MAX_WILDCARDS + 1),
    ],
)
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Pattern).validate_python(pattern)


def by_the_book(pattern: str, key: str) -> bool:
    """The rules as they are written, with a table of all prefixes."""
    reached = {0}
    for sign in pattern:
        if sign == "*":
            reached = set(range(min(reached, default=len(key) + 1), len(key) + 1))
        else:
            reached = {n + 1 for n in reached if n < len(key) and sign in ("?", key[n])}
    return len(key) in reached


@given(st.text("ab*?", max_size=12), st.text("ab", max_size=12))
def test_it_goes_by_the_book(pattern: str, key: str) -> None:
    pattern, key = f"titles/{pattern}", f"titles/{key}"
    assert matches(pattern, key) == by_the_book(pattern, key)


@pytest.mark.parametrize(
    "pattern",
    [
        "*a" * (MAX_WILDCARDS - 1) + "*b",
        "*" + "a" * 200 + "b*",
        "*" + "?a" * 31 + "b",
        "*" + "a" * 120 + "*b*" + "a" * 120 + "c",
    ],
)
def test_a_hostile_pattern_gains_nothing(pattern: str) -> None:
    matcher, key = compile_pattern(pattern), "titles/" + "a" * 280
    began = time.thread_time()
    assert not any(matcher.match(key) for _ in range(100))
    assert time.thread_time() - began < 0.5

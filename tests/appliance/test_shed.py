"""Shedding: the table, and how those refused come back."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.shed import (
    FIRST_S,
    RETRY_S,
    RETRY_SPREAD_S,
    Priority,
    priority_of,
    retry_after_s,
    room,
)
from media.ids import id_from


@pytest.mark.parametrize(
    ("load", "served"),
    [
        (0.0, [0, 1, 2, 3]),
        (0.79, [0, 1, 2, 3]),
        (0.8, [1, 2, 3]),
        (0.99, [1, 2, 3]),
        (1.0, [2, 3]),
        (1.19, [2, 3]),
        (1.2, [3]),
        (50.0, [3]),
    ],
)
def test_the_lowest_goes_first_as_load_grows(load: float, served: list[int]) -> None:
    answer = room(100, load)
    assert [priority for priority in Priority if answer.served[priority]] == served
    assert [priority for priority in Priority if answer.flights[priority]] == served


def test_flights_are_kept_for_those_above() -> None:
    assert room(100, 0.1).flights == (40, 60, 80, 100)
    assert room(8, 0.1).flights == (3, 4, 6, 8)


@given(st.integers(1, 10_000), st.floats(0, 100))
def test_none_has_more_than_one_above_it(limit: int, load: float) -> None:
    answer = room(limit, load)
    assert list(answer.flights) == sorted(answer.flights)
    assert list(answer.served) == sorted(answer.served)
    assert answer.served[Priority.RUNNING] and answer.flights[Priority.RUNNING] == limit
    assert all(bool(flights) == served for flights, served in zip(*reversed(answer), strict=True))


@pytest.mark.parametrize(
    ("scope", "age_s", "priority"),
    [
        ("play", 0.0, Priority.FIRST),
        ("play", -2.0, Priority.FIRST),  # clocks differ
        ("play", FIRST_S, Priority.RUNNING),
        ("play", 7200.0, Priority.RUNNING),
        ("fill", 0.0, Priority.PEER),
        ("fill", 7200.0, Priority.PEER),
    ],
)
def test_priorities(scope: str, age_s: float, priority: Priority) -> None:
    assert priority_of(scope, age_s) is priority  # type: ignore[arg-type]


def test_clients_do_not_return_together_and_each_has_its_own_time() -> None:
    sessions = [id_from("ses", 1_700_000_000_000 + n // 50, n) for n in range(6000)]
    times = Counter(retry_after_s(session) for session in sessions)
    assert set(times) == set(range(RETRY_S, RETRY_S + RETRY_SPREAD_S))
    assert max(times.values()) < 1.15 * 6000 / RETRY_SPREAD_S
    assert retry_after_s("ses_01jd0000000000000000000000") == 4  # in every process

"""BOLA: the rung rises with the buffer, and no faster than the throughput."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.abr import Bola

RATES = (500_000, 1_200_000, 3_000_000, 6_000_000)
FAST = 1e9


def test_the_rung_rises_with_the_buffer() -> None:
    bola = Bola(RATES, 4.0, 24.0)
    chosen = [bola.choose(float(buffer_s), FAST) for buffer_s in range(25)]
    assert chosen == sorted(chosen) and chosen[0] == 0
    assert set(chosen) == {0, 1, 2, 3} and chosen[20] == 3  # all but one segment is full
    assert bola.choose(0.0, FAST) == 0


def test_where_rungs_change_is_where_the_paper_s_scores_cross() -> None:
    """Of two sizes S and 2 S: (V g - Q) / S = (V (g + ln 2) - Q) / 2 S at Q = V (g - ln 2), with
    V = (Q_max - 1) / (g + ln 2)."""
    bola = Bola((1.0, 2.0), 1.0, 11.0)
    crossing = 10 / (5 + 0.693147) * (5 - 0.693147)
    assert bola.choose(crossing - 0.001, FAST) == 0
    assert bola.choose(crossing + 0.001, FAST) == 1


def test_it_climbs_no_higher_than_the_throughput_bears() -> None:
    bola = Bola(RATES, 4.0, 24.0)
    assert bola.choose(24.0, 0.0) == 0
    assert bola.choose(24.0, 1_300_000) == 1
    assert bola.choose(24.0, 600_000) == 1  # with that much to play it stays
    assert bola.choose(24.0, 7_000_000) == 3
    assert bola.choose(2.0, 7_000_000) == 0


@given(
    rates=st.lists(st.floats(1e3, 1e9), min_size=1, max_size=12).map(sorted),
    steps=st.lists(st.tuples(st.floats(0, 120), st.floats(0, 1e10)), max_size=20),
    segment_s=st.floats(0.5, 12),
    buffer_s=st.floats(1, 120),
)
def test_there_is_always_a_rung(
    rates: list[float], steps: list[tuple[float, float]], segment_s: float, buffer_s: float
) -> None:
    bola = Bola(rates, segment_s, buffer_s)
    assert all(0 <= bola.choose(*step) < len(rates) for step in steps)


@pytest.mark.parametrize(
    ("rates", "segment_s", "buffer_s"), [((), 4, 10), ((0.0, 1.0), 4, 10), ((1.0,), 0, 10)]
)
def test_nothing_to_choose_from(rates: tuple[float, ...], segment_s: int, buffer_s: int) -> None:
    with pytest.raises(ValueError, match="a player needs"):
        Bola(rates, segment_s, buffer_s)

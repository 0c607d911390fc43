"""Estimates of what will be watched: sane for every evidence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering.popularity import HALF_LIFE_DAYS, Evidence, estimate, fade

GB = 1e9


def evidence(
    packages: int, regions: int, kinds: int = 2, days: float = 5.0, expected: float = np.nan
) -> Evidence:
    """Nothing was sent yet."""
    rows = packages * kinds
    return Evidence(
        bytes=np.full(rows, GB),
        package=np.repeat(np.arange(packages), kinds),
        kind=np.tile(np.arange(kinds), packages),
        sent=np.zeros((regions, rows)),
        days=np.full(packages, days),
        expected=np.full(packages, expected),
    )


@given(
    st.integers(0, 5),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.5, 30.0]),
    st.sampled_from([np.nan, 0.0, 1e12]),
    st.integers(0, 2**32 - 1),
)
def test_no_evidence_is_too_odd(
    packages: int, regions: int, days: float, expected: float, seed: int
) -> None:
    dice = np.random.Generator(np.random.PCG64(seed))
    given = evidence(packages, regions, days=days, expected=expected)
    for sent in (given.sent, given.sent + dice.exponential(GB, given.sent.shape) * (seed % 2)):
        found = estimate(given._replace(sent=sent))
        assert found.shape == sent.shape
        assert np.isfinite(found).all() and (found >= 0).all()


@given(st.integers(0, 2**32 - 1), st.floats(0, 1e13))
def test_more_sent_is_never_less_expected(seed: int, more: float) -> None:
    dice = np.random.Generator(np.random.PCG64(seed))
    given = evidence(4, 3)
    given.sent[:] = dice.exponential(GB, given.sent.shape) * (dice.random(given.sent.shape) < 0.5)
    before = estimate(given)
    region, row = int(dice.integers(3)), int(dice.integers(8))
    given.sent[region, row] += more
    assert estimate(given)[region, row] >= before[region, row] * (1 - 1e-9)


def test_where_nobody_has_watched_it_is_expected_as_elsewhere() -> None:
    """Two regions watch all alike, but in one of them nobody has watched the last package."""
    given = evidence(10, 2, days=20.0)
    given.sent[:] = 100 * GB
    given.sent[1, -2:] = 0
    found = estimate(given)
    assert found[1, -1] > 0
    young = estimate(given._replace(days=np.full(10, 0.3)))
    assert young[1, -1] / young[0, -1] > found[1, -1] / found[0, -1]


def test_a_launch_is_what_is_expected_of_it_and_then_what_it_is() -> None:
    given = evidence(3, 1, days=10.0, expected=np.nan)
    given.sent[0, :4] = 100 * GB
    given.days[2] = 0
    given.expected[2] = 800 * GB
    assert estimate(given)[0, 4:].sum() == pytest.approx(800 * GB, rel=0.3)
    given.days[2] = 10.0
    assert estimate(given)[0, 4:].sum() < 100 * GB


def test_evidence_fades() -> None:
    given = evidence(1, 1, days=0.0)
    given.sent[:] = 8.0
    once = fade(given, HALF_LIFE_DAYS)
    assert once.sent.tolist() == [[4.0, 4.0]] and once.days.tolist() == [HALF_LIFE_DAYS / 2]
    for _ in range(200):
        once = fade(once, 1.0)
    assert once.days[0] < 6 and once.sent.max() < 1e-12  # bounded, however long

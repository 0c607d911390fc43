"""Ladders from trial encodes."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.hull import (
    LEAST_BPS,
    LEAST_VMAF,
    STEP_VMAF,
    TOP_VMAF,
    Point,
    Trial,
    choose,
    curves,
    hull,
    targets,
    worth,
)

ANY_CAP = {234: 10**9, 360: 10**9, 720: 10**9}


def film(busy: float, heights: dict[int, float]) -> list[Trial]:
    """Trials of a made-up film: each height has its share of the bits and the best it can look."""

    def trial(height: int, best: float, crf: float) -> Trial:
        bps = busy * height**1.5 * 2 ** ((23 - crf) / 6)
        return Trial(height, crf, bps, best / (1 + math.exp(crf / 4 - 8)))

    return [trial(*each, crf) for each in heights.items() for crf in (20.0, 27.0, 34.0)]


FILM = film(60, {234: 70, 360: 85, 720: 99})


def points_of(trials: list[Trial]) -> list[Point]:
    return [point for curve in curves(trials).values() for point in curve]


def test_a_curve_goes_through_its_trials_and_a_little_further() -> None:
    for height, curve in curves(FILM).items():
        found = {point.crf: point for point in curve}
        for trial in (t for t in FILM if t.height == height):
            assert found[trial.crf].bps == pytest.approx(trial.bps)
            assert found[trial.crf].vmaf == pytest.approx(trial.vmaf)
        assert max(found) == 36 and min(found) < 19
        assert all(a.bps < b.bps and a.vmaf < b.vmaf for a, b in pairwise(curve))


def test_a_single_trial_is_a_point() -> None:
    (curve,) = curves([Trial(720, 25, 1e6, 90)]).values()
    assert [(p.crf, p.bps, round(p.vmaf)) for p in curve] == [(25, pytest.approx(1e6), 90)]


def test_perfect_and_hopeless_trials_have_a_curve() -> None:
    (curve,) = curves([Trial(720, 20, 1e6, 100), Trial(720, 34, 1e5, 0)]).values()
    assert 0 < curve[0].vmaf < 1 and 99 < curve[-1].vmaf < 100


@given(st.lists(st.tuples(st.floats(1e4, 1e8), st.floats(0, 100)), min_size=1, max_size=30))
def test_nothing_lies_above_the_hull(raw: list[tuple[float, float]]) -> None:
    points = [Point(720, 23, bps, vmaf) for bps, vmaf in raw]
    over = hull(points)
    assert over[-1].vmaf == max(p.vmaf for p in points)
    assert over[0].bps == min(p.bps for p in points)
    for left, right in pairwise(over):
        for p in points:
            if left.bps < p.bps < right.bps:
                share = math.log(p.bps / left.bps) / math.log(right.bps / left.bps)
                assert p.vmaf <= left.vmaf + share * (right.vmaf - left.vmaf) + 1e-6


def test_bits_that_gain_little_are_not_spent() -> None:
    """A noisy film: from VMAF 85 on, each doubling of the bits gains two points."""
    noisy = [Point(720, 30 - n, 1e6 * 2**n, 85.0 + 2 * n) for n in range(4)]
    steep = [Point(360, 40 - n, 1e5 * 2**n, 60.0 + 8 * n) for n in range(4)]
    chosen = choose([*steep, *noisy], ANY_CAP)
    assert chosen[-1].vmaf == 85.0
    assert choose(noisy, ANY_CAP)[-1].vmaf == 85.0
    assert worth(steep) == 84.0


def test_rungs_are_the_cheapest_ways_down_from_the_top() -> None:
    points = points_of(FILM)
    chosen = choose(points, ANY_CAP)
    assert chosen[-1].vmaf == pytest.approx(TOP_VMAF, abs=0.5)
    assert len({rung.height for rung in chosen}) > 1
    for lower, upper in pairwise(chosen):
        assert lower.bps * 1.25 <= upper.bps and lower.height <= upper.height
        assert lower.vmaf <= upper.vmaf - STEP_VMAF + 1
    for rung in chosen:
        assert not [p for p in points if p.vmaf >= rung.vmaf and p.bps < rung.bps]
        assert rung is chosen[0] or rung.bps >= LEAST_BPS


def test_a_cap_is_kept_and_there_is_always_a_rung() -> None:
    points = points_of(FILM)
    assert all(p.bps <= 300_000 for p in choose(points, dict.fromkeys(ANY_CAP, 300_000)))
    assert len(choose(points, dict.fromkeys(ANY_CAP, 1))) == 1


def test_a_film_that_needs_little_has_few_rungs() -> None:
    still = film(0.5, {234: 96, 360: 98, 720: 99.9})
    assert len(choose(points_of(still), ANY_CAP)) == 1


def test_qualities_to_aim_at() -> None:
    assert targets(95)[:3] == [95, 89, 83] and targets(95)[-1] >= LEAST_VMAF
    assert targets(20) == [20]

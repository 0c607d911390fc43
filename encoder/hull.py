"""The ladder of a film of its own: from trial encodes to rungs. Pure.

Each height has a curve of quality over bits; the film's ladder is cut from the upper hull of them
all (Aaron and others, "Per-Title Encode Optimization", 2015). From the best that a viewer can tell
apart, or that is worth its bits, it goes down by just noticeable steps, and each rung is the
cheapest way to its quality.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# Beyond 95 nobody sees a difference, and bits are spent for nothing. Excerpts, the busy ones among
# them, come out about one lower than films do.
TOP_VMAF = 94.0
# Half of the viewers notice a step of this size (one JND).
STEP_VMAF = 6.0
# Where twice the bits gain less, as with noise, which no encoder can hide, they go to waste.
WORTH_VMAF = STEP_VMAF / 2
# A telephone on a poor line: nothing below is worth an encode.
LEAST_BPS = 120_000
LEAST_VMAF = 35.0
MAX_RUNGS = 10
_STEP_APART = 1.25  # in bits, at least: for less no player needs to change
_CRF_STEP = 0.25
_BEYOND = 2.0  # CRF outside of what was tried: curves are smooth
_SURE = 0.5  # VMAF this close to 0 or 100 counts as this close: the logarithm has an end


@dataclass(frozen=True)
class Trial:
    """One trial encode: what it was asked for, and what came out."""

    height: int
    crf: float
    bps: float
    vmaf: float


@dataclass(frozen=True)
class Point:
    """A way to encode the film, and what to expect of it."""

    height: int
    crf: float
    bps: float
    vmaf: float


def curves(trials: Iterable[Trial]) -> dict[int, list[Point]]:
    """For each height its points from few bits to many. The logarithm of the rate, and that of the
    odds of VMAF, are polynomials of the CRF through the trials: both are nearly straight lines,
    so that little can go wrong between the trials and a little beyond."""
    by_height: dict[int, list[Trial]] = {}
    for trial in sorted(trials, key=lambda t: (t.height, -t.crf)):
        by_height.setdefault(trial.height, []).append(trial)
    return {height: _curve(height, tried) for height, tried in by_height.items()}


def hull(points: Iterable[Point]) -> list[Point]:
    """The points that no mixture of two others beats: from the cheapest to the best, each step
    gaining less for the same factor of bits."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.bps, -p.vmaf)):
        if best and point.vmaf <= best[-1].vmaf:
            continue
        while len(best) >= 2 and _slope(best[-2], best[-1]) <= _slope(best[-2], point):
            best.pop()
        best.append(point)
    return best


def choose(points: Sequence[Point], cap_bps: dict[int, int]) -> list[Point]:
    """The rungs, from the lowest to the highest. `cap_bps`: what a rung of a height may take on
    average. There is always one."""
    allowed = [p for p in points if p.bps <= cap_bps[p.height]] or [min(points, key=_rate)]
    chosen: list[Point] = []
    for target in targets(min(worth(allowed), TOP_VMAF)):
        rung = min((p for p in allowed if p.vmaf >= target - 1e-9), key=_rate)
        if chosen and rung.bps < LEAST_BPS:
            break
        if not chosen or rung.bps * _STEP_APART <= chosen[-1].bps:
            chosen.append(rung)
    return chosen[::-1]


def worth(points: Iterable[Point]) -> float:
    """The quality beyond which twice the bits gain less than half a step."""
    best = hull(points)
    while len(best) > 1 and _slope(best[-2], best[-1]) < WORTH_VMAF:
        best.pop()
    return best[-1].vmaf


def targets(top: float) -> list[float]:
    """The qualities to aim at, the best first."""
    steps = max(0, math.floor((top - LEAST_VMAF) / STEP_VMAF))
    return [top - STEP_VMAF * n for n in range(min(steps + 1, MAX_RUNGS))]


def _curve(height: int, tried: Sequence[Trial]) -> list[Point]:
    crfs = [t.crf for t in tried]
    rates = [math.log2(t.bps) for t in tried]
    odds = [_log_odds(t.vmaf) for t in tried]
    low, high = min(crfs), max(crfs)
    if len(tried) > 1:
        low, high = low - _BEYOND, high + _BEYOND
    points: list[Point] = []
    steps = round((high - low) / _CRF_STEP)
    for n in range(steps + 1):  # from the highest CRF, the fewest bits
        crf = high - n * _CRF_STEP
        bps = 2 ** _through(crfs, rates, crf)
        vmaf = 100 / (1 + math.exp(-_through(crfs, odds, crf)))
        if not points or (bps > points[-1].bps and vmaf > points[-1].vmaf):
            points.append(Point(height, crf, bps, vmaf))
    return points


def _log_odds(vmaf: float) -> float:
    sure = min(max(vmaf, _SURE), 100 - _SURE)
    return math.log(sure / (100 - sure))


def _through(xs: Sequence[float], ys: Sequence[float], x: float) -> float:
    """The polynomial through these points, at x (Lagrange)."""
    total = 0.0
    for i, y in enumerate(ys):
        term = y
        for j, other in enumerate(xs):
            if j != i:
                term *= (x - other) / (xs[i] - other)
        total += term
    return total


def _slope(a: Point, b: Point) -> float:
    return (b.vmaf - a.vmaf) / (math.log2(b.bps) - math.log2(a.bps))


def _rate(point: Point) -> float:
    return point.bps

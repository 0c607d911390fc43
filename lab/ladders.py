"""Two ladders of one film, side by side. Pure.

A rung is its bits and its quality. What a viewer gets of a ladder depends on the line, so ladders
are compared by the rungs that a player would choose, throughput by throughput; and as curves, by
Bjøntegaard's measure (VCEG-M33): by how much more bits one takes for the same quality, on average.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

# Lines, in bits per second, and the share of one that a careful player uses.
THROUGHPUTS_BPS = tuple(1e6 * mbps for mbps in (0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8))
_USED = 0.8
# Beyond it nobody sees a difference: more is no merit.
_SEEN_VMAF = 95.0
_STEPS = 200


@dataclass(frozen=True)
class Rated:
    """A rung, measured."""

    name: str
    bps: float
    vmaf: float


@dataclass(frozen=True)
class Watched:
    """What viewers of a ladder get, on average over the lines."""

    bps: float
    vmaf: float


def watched(ladder: Sequence[Rated]) -> Watched:
    """By the best rung that each line carries, or else the lowest."""
    chosen = [_best(ladder, _USED * throughput) for throughput in THROUGHPUTS_BPS]
    return Watched(fmean(r.bps for r in chosen), fmean(min(r.vmaf, _SEEN_VMAF) for r in chosen))


def bd_rate(ours: Sequence[Rated], theirs: Sequence[Rated]) -> float | None:
    """The share of bits that ours takes more (or, negative, less) for the same VMAF, on average
    over what both reach; None where they have nothing in common, or one has a single rung."""
    a, b = _curve(ours), _curve(theirs)
    low, high = max(a[0][0], b[0][0]), min(a[-1][0], b[-1][0])
    if len(a) < 2 or len(b) < 2 or high <= low:
        return None
    qualities = [low + (high - low) * (n + 0.5) / _STEPS for n in range(_STEPS)]
    more = fmean(_at(a, quality) - _at(b, quality) for quality in qualities)
    return math.exp(more) - 1


def _best(ladder: Sequence[Rated], bps: float) -> Rated:
    fitting = [rung for rung in ladder if rung.bps <= bps]
    return max(fitting, key=lambda r: r.bps) if fitting else min(ladder, key=lambda r: r.bps)


def _curve(ladder: Sequence[Rated]) -> list[tuple[float, float]]:
    """Quality and the logarithm of the bits, both rising: a rung that costs more and shows less is
    left out, as nobody would take it."""
    curve: list[tuple[float, float]] = []
    for rung in sorted(ladder, key=lambda r: r.bps):
        if not curve or rung.vmaf > curve[-1][0]:
            curve.append((rung.vmaf, math.log(rung.bps)))
    return curve


def _at(curve: Sequence[tuple[float, float]], x: float) -> float:
    """A monotone cubic through the points (Fritsch and Carlson, 1980), inside of them."""
    slopes = [(y1 - y0) / (x1 - x0) for (x0, y0), (x1, y1) in pairwise(curve)]
    tangents = [slopes[0], *(_harmonic(a, b) for a, b in pairwise(slopes)), slopes[-1]]
    number = next(n for n in range(len(slopes)) if x <= curve[n + 1][0] or n == len(slopes) - 1)
    (x0, y0), (x1, y1) = curve[number], curve[number + 1]
    width = x1 - x0
    t = (x - x0) / width
    return (
        (1 + 2 * t) * (1 - t) ** 2 * y0
        + t * (1 - t) ** 2 * width * tangents[number]
        + t * t * (3 - 2 * t) * y1
        + t * t * (t - 1) * width * tangents[number + 1]
    )


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a * b > 0 else 0.0

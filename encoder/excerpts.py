"""Which parts of a film stand for the whole. Pure.

A master's own bytes tell where it is busy: its encoder spent them there. So the film is cut into
pieces of equal length, those that lie within one shot are put in order of their bytes, and one is
taken from the middle of each equal share of that order: quiet, usual and busy ones, as many as the
film has.
"""

from bisect import bisect_right
from collections.abc import Sequence

_EDGE_S = 0.1


def excerpts(
    activity: Sequence[int],
    duration_s: float,
    length_s: float,
    count: int,
    shots_s: Sequence[float] = (),
) -> list[float]:
    """When up to `count` excerpts of `length_s` start, in the order of time; `activity` is the
    film's bytes, second by second, and in `shots_s` its shots begin. The film is at least as long
    as one."""
    starts = [n * length_s for n in range(max(1, int(duration_s / length_s + 1e-9)))]
    count = min(count, len(starts))
    within = [start for start in starts if not _begins(shots_s, start, start + length_s)]
    if len(within) >= count:
        starts = within
    order = sorted(starts, key=lambda start: (_bytes(activity, start, length_s), start))
    taken = {order[int((n + 0.5) * len(order) / count)] for n in range(count)}
    return sorted(taken)


def _begins(shots_s: Sequence[float], start_s: float, end_s: float) -> bool:
    """A shot begins inside, and not just at an end."""
    first = bisect_right(shots_s, start_s + _EDGE_S)
    return first < len(shots_s) and shots_s[first] < end_s - _EDGE_S


def _bytes(activity: Sequence[int], start_s: float, length_s: float) -> float:
    """The bytes of a stretch, a second's being spread evenly over it."""
    end_s = start_s + length_s
    total = 0.0
    for second in range(int(start_s), min(len(activity), int(end_s) + 1)):
        share = min(end_s, second + 1) - max(start_s, second)
        total += activity[second] * max(0.0, share)
    return total

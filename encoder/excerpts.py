"""Which parts of a film stand for the whole. Pure.

A master's own bytes tell where it is busy: its encoder spent them there. So the film is cut into
pieces of equal length, the pieces are put in order of their bytes, and one is taken from the middle
of each equal share of that order: quiet, usual and busy ones, as many as the film has.
"""

from collections.abc import Sequence


def excerpts(
    activity: Sequence[int], duration_s: float, length_s: float, count: int
) -> list[float]:
    """When up to `count` excerpts of `length_s` start, in the order of time; `activity` is the
    film's bytes, second by second. The film is at least as long as one."""
    pieces = max(1, int(duration_s / length_s + 1e-9))
    starts = [n * length_s for n in range(pieces)]
    weights = [_bytes(activity, start, length_s) for start in starts]
    order = sorted(range(pieces), key=lambda n: (weights[n], n))
    count = min(count, pieces)
    taken = {order[int((n + 0.5) * pieces / count)] for n in range(count)}
    return [starts[n] for n in sorted(taken)]


def _bytes(activity: Sequence[int], start_s: float, length_s: float) -> float:
    """The bytes of a stretch, a second's being spread evenly over it."""
    end_s = start_s + length_s
    total = 0.0
    for second in range(int(start_s), min(len(activity), int(end_s) + 1)):
        share = min(end_s, second + 1) - max(start_s, second)
        total += activity[second] * max(0.0, share)
    return total

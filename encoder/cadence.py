"""The cadence of a film: which constant frame rate its frames keep, and which frame goes where.

Every rung gets a constant frame rate, since boundaries must agree across rungs. The rate is the
one whose grid the frames' own times lie on, so that a film of constant rate keeps each of its
frames, none dropped and none doubled, also where the container rounds times to milliseconds. A
film of variable rate is conformed: frames are repeated or left out so that time stays true.

Pure; times in seconds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from statistics import median

# The rates that cameras, screens and broadcasters use.
_USUAL = tuple(
    Fraction(rate)
    for rate in ("24", "24000/1001", "25", "30", "30000/1001", "50", "60", "60000/1001",
                 "48", "48000/1001", "12", "15", "15000/1001", "10", "12.5", "20", "100", "120",
                 "120000/1001", "8", "6", "5", "4", "3", "2", "1")
)  # fmt: skip
MIN_RATE = Fraction(1)
MAX_RATE = Fraction(120)
# What a film of variable rate is conformed to at most, and at least.
MAX_CONFORMED = Fraction(60)
MIN_CONFORMED = Fraction(10)
# A fit this much worse than the best one, in parts of a frame, is as good: what is left is noise.
_NOISE = 0.02
# A declared rate with odder numbers than these is an average, not a rate.
_MAX_TERM = 240_000


@dataclass(frozen=True)
class Cadence:
    """`frames` frames at `rate`; the first one belongs at `start_s` of the container's time.

    `variable`: the film's own frames do not keep this rate.
    """

    rate: Fraction
    frames: int
    start_s: float
    variable: bool

    @property
    def duration_s(self) -> float:
        """The film's length."""
        return float(self.frames / self.rate)


def cadence(
    times_s: Sequence[float], last_duration_s: float, declared: Iterable[Fraction]
) -> Cadence:
    """The cadence of frames shown at `times_s`, in ascending order, of which there are two or more.

    `declared` are rates that the container names, most trusted first.
    """
    steps = [after - before for before, after in pairwise(times_s) if after > before]
    if not steps:
        raise ValueError("the frames have no times that differ")
    rate = _rate(times_s, 1 / median(steps), declared)
    start_s = _start(times_s, rate)
    slots = [round((at - start_s) * rate.numerator / rate.denominator) for at in times_s]
    slots[0] = 0
    if slots == list(range(len(slots))):
        return Cadence(rate, len(slots), start_s, variable=False)
    rate = min(max(rate, MIN_CONFORMED), MAX_CONFORMED)
    end_s = times_s[-1] + last_duration_s
    frames = max(round((end_s - times_s[0]) * float(rate)), 1)
    return Cadence(rate, frames, times_s[0], variable=True)


def _rate(times_s: Sequence[float], about: float, declared: Iterable[Fraction]) -> Fraction:
    """The rate near `about` on whose grid the times lie best; the first named of equals."""
    named = [rate for rate in declared if _plausible(rate)]
    near = [rate for rate in (*named, *_USUAL) if abs(float(rate) / about - 1) < 0.05]
    if not near:
        return _bounded(Fraction(about).limit_denominator(1001))
    errors = {rate: _error(times_s, rate) for rate in near}
    least = min(errors.values())
    return next(rate for rate in near if errors[rate] <= least + _NOISE)


def _error(times_s: Sequence[float], rate: Fraction) -> float:
    """How far the times lie from the grid, on average, in parts of a frame.

    Counted from the second frame: a stream that was cut may have lost those just after the first.
    """
    start, per_s = times_s[1], float(rate)
    places = [(at - start) * per_s for at in times_s[1:]]
    return sum(abs(place - round(place)) for place in places) / len(places)


def _start(times_s: Sequence[float], rate: Fraction) -> float:
    """Where the first frame belongs: at its own time, or, when nothing but the frames right after
    it is missing, one frame before the second.

    That is how a stream looks that was cut at an open GOP: its first pictures in between need a
    GOP that is gone. Holding the first frame for that long would be a freeze that nobody made.
    """
    first, second = times_s[0], times_s[1]
    gap = (second - first) * float(rate)
    if 1.5 < gap < 16.5 and abs(gap - round(gap)) < 0.25:
        return second - 1 / float(rate)
    return first


def _plausible(rate: Fraction) -> bool:
    return MIN_RATE <= rate <= MAX_RATE and rate.numerator <= _MAX_TERM


def _bounded(rate: Fraction) -> Fraction:
    return min(max(rate, MIN_RATE), MAX_RATE)

"""What a worker counts, as plain words in its row of the board: the layout, and nothing else. Pure.

A worker adds with `row[TALLY + Tally.SHED + priority] += 1`, about 0.05 µs, and the keeper sums the
rows when someone asks. Counters go on across restarts of a worker; gauges are what it wrote last.

A histogram is a word for the sum in microseconds, and one per bucket, by the length of the number
in bits: bucket 0 is below 16 µs, each next one twice as wide, the last one open. So finding a
bucket is one look into a table:

    row[HIT_SUM] += us
    row[HIT_BUCKETS + BUCKET[us.bit_length()]] += 1
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

_FIRST_BITS = 4  # below 16 µs: a hit takes about 12
_LAST_BITS = 24  # below 16.8 s: beyond it a client has given up
BUCKETS = _LAST_BITS - _FIRST_BITS + 2
BOUNDS_S = tuple(2**bits / 1e6 for bits in range(_FIRST_BITS, _LAST_BITS + 1))
# By bit length; 64-bit words hold no longer number.
BUCKET = tuple(min(max(bits - _FIRST_BITS, 0), BUCKETS - 1) for bits in range(65))
_HISTOGRAM = 1 + BUCKETS


class Tally(IntEnum):
    """Words of a worker's tally. The first two are each the first of several."""

    ANSWERS = 0  # six: by `status // 100`
    SHED = 6  # four: by `shed.Priority`
    BEAT_US = 10  # gauge: CLOCK_MONOTONIC at the last tick; a hung worker's stands still
    LAG_US = 11  # gauge: how late that tick was
    FLIGHTS = 12  # gauge: files that it waits for
    LIMIT = 13  # gauge: files that it may wait for
    CPU_US = 14  # of the process; starts again with it
    NOTES_LOST = 15  # words of players (CMCD) that there was no room for
    HIT = 16  # a histogram: from the request to the first byte, for what is held
    FILL = 16 + _HISTOGRAM  # the same for what has to be brought, once a file


TALLY_WORDS = Tally.FILL + _HISTOGRAM


class Histogram(NamedTuple):
    """Latencies of one kind: counts by bucket (BOUNDS_S and one open at the end), and the sum."""

    counts: tuple[int, ...]
    sum_us: int

    def minus(self, earlier: "Histogram") -> "Histogram":
        """What has come since."""
        pairs = zip(self.counts, earlier.counts, strict=True)
        return Histogram(tuple(now - then for now, then in pairs), self.sum_us - earlier.sum_us)


def note(words: "memoryview | list[int]", start: int, us: int) -> None:
    """One more latency in the histogram that begins at `start`. Negative ones, of clocks that
    disagree, count as none."""
    us = max(us, 0)
    words[start] += us
    words[start + 1 + BUCKET[us.bit_length()]] += 1


def histogram(words: Sequence[int], start: int) -> Histogram:
    """The histogram that begins at `start`."""
    return Histogram(tuple(words[start + 1 : start + 1 + BUCKETS]), words[start])

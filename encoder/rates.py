"""Bit rates of a rendition, from the bytes and lengths of its segments. Pure."""

from collections.abc import Sequence
from fractions import Fraction

# RFC 8216bis, 4.4.6.2: the peak is that of any run of segments this long, in target durations.
_LEAST, _MOST = Fraction(1, 2), Fraction(3, 2)
_MAX_RUN = 32  # segments; no real run has more, and who wrote the lengths is not known


def average_bps(sizes: Sequence[int], lengths_s: Sequence[Fraction]) -> Fraction:
    """Bits per second of all segments together."""
    return Fraction(8 * sum(sizes)) / sum(lengths_s)


def peak_bps(
    sizes: Sequence[int], lengths_s: Sequence[Fraction], target_s: Fraction | int
) -> Fraction:
    """The highest rate of consecutive segments that last 0.5 to 1.5 target durations together, and
    no less than the average. So a last segment of one frame, which is all key frame, is no peak by
    itself; but where the busy one is a little too short to be looked at, it still counts."""
    peak = average_bps(sizes, lengths_s)
    for first in range(len(sizes)):
        bits, length = 0, Fraction(0)
        for at in range(first, min(first + _MAX_RUN, len(sizes))):
            bits, length = bits + 8 * sizes[at], length + lengths_s[at]
            if length > _MOST * target_s:
                break
            if length and length >= _LEAST * target_s:
                peak = max(peak, bits / length)
    return peak

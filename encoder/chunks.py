"""Where a film is cut into chunks, each of which is encoded by itself. Pure.

A cut lies where a segment begins, so every rung has an IDR there anyway and nobody sees it. Within
that freedom it lies where little has to be decoded twice: a decoder begins at a key frame, and the
encoder of the master put those, too, where a new shot begins.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

# Encoded in front of a chunk and thrown away. An encoder that begins knows nothing of the film and
# spends wrongly until it has seen some of it: a film at its cap, in chunks of 4 s, takes 3 % more
# bits for its quality, and none with these.
_RUN_UP_FRAMES = 12
# Decoded in front of those: a filter that looks back (deinterlacing), and frames that are shown
# before the key frame that they follow, find what they need.
_LEAD_FRAMES = 4


@dataclass(frozen=True)
class Entry:
    """A key frame of the master: when it is shown, and the time to seek in order to meet it. Both
    are the container's."""

    shown_s: float
    seek_s: float


@dataclass(frozen=True)
class Chunk:
    """The frames of a film from `first` on, and where a decoder begins; None: with the file."""

    number: int
    first: int
    frames: int
    seek_s: float | None = None

    @property
    def run_up(self) -> int:
        """So many frames in front of it are encoded, too, and thrown away."""
        return min(_RUN_UP_FRAMES, self.first)


def cut(
    frames: int,
    segment_frames: int,
    rate: Fraction,
    chunk_s: float,
    *,
    start_s: float = 0.0,
    entries: Sequence[Entry] = (),
) -> tuple[Chunk, ...]:
    """A film of `frames` frames in chunks of about `chunk_s` seconds, whole segments each but for
    the last. `start_s` is when its first frame is shown; without `entries` it is one chunk."""
    segments = -(-frames // segment_frames)
    each = max(1, round(chunk_s * rate / segment_frames))
    count = max(1, round(segments / each)) if entries else 1
    play = min(1, (each - 1) // 2)  # segments that a cut may lie off an even division

    def seek_s(segment: int) -> float | None:
        return seek_for(segment * segment_frames, rate, start_s, entries)

    def twice_s(segment: int) -> float:
        """What is decoded twice for a cut there."""
        at_s = start_s + float(segment * segment_frames / rate)
        return at_s - (seek_s(segment) or start_s)

    def best(even: int, least: int) -> int:
        near = range(max(even - play, least), min(even + play, segments - 1) + 1)
        return min(near, key=lambda segment: (twice_s(segment), abs(segment - even)), default=even)

    cuts = [0]
    for number in range(1, count):
        cuts.append(best(round(number * segments / count), cuts[-1] + 1))
    ends = [*(at * segment_frames for at in cuts[1:]), frames]
    return tuple(
        Chunk(number, at * segment_frames, end - at * segment_frames, seek_s(at) if at else None)
        for number, (at, end) in enumerate(zip(cuts, ends, strict=True))
    )


def seek_for(frame: int, rate: Fraction, start_s: float, entries: Sequence[Entry]) -> float | None:
    """Where a decoder begins that needs the film from this frame on; None: with the file."""
    wanted_s = start_s + float((frame - _RUN_UP_FRAMES - _LEAD_FRAMES) / rate)
    number = bisect_right(entries, wanted_s, key=lambda entry: entry.shown_s)
    return entries[number - 1].seek_s if number else None

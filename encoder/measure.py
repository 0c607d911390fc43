"""What was encoded, measured: nothing in a manifest is declared that was not read from the bytes.

Pure, but for `measure_rendition`, which reads a folder.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from encoder import rates
from encoder.packager import INIT
from media.inventory import FileEntry, sha256_of
from media.mp4 import Fragment, Key, Track, presentation, read_segment, read_track


@dataclass(frozen=True)
class Measured:
    """One packaged rendition: its files in playing order, `init.mp4` first, and their contents.

    `start` and `durations` are presentation times in ticks, edit list applied.
    """

    rendition_id: str
    track: Track
    files: tuple[FileEntry, ...]
    fragments: tuple[Fragment, ...]
    start: int
    durations: tuple[int, ...]

    @property
    def duration_s(self) -> Fraction:
        """The exact length."""
        return Fraction(sum(self.durations), self.track.timescale)

    @property
    def segments(self) -> tuple[FileEntry, ...]:
        """The media segments."""
        return self.files[1:]

    @property
    def samples(self) -> int:
        """Frames of a video track."""
        return sum(fragment.samples for fragment in self.fragments)

    @property
    def total_bytes(self) -> int:
        """Bytes of all files."""
        return sum(entry.bytes for entry in self.files)

    def key_frames(self) -> list[tuple[FileEntry, Key, Fraction]]:
        """Every key frame of a video track: its file, its place in that, and the exact time until
        the next one is shown, or the end."""
        if self.track.kind != "video":
            return []
        keys = [
            (entry, key)
            for entry, fragment in zip(self.segments, self.fragments, strict=True)
            for key in fragment.keys
        ]
        end = self.track.edit_offset + self.start + sum(self.durations)
        times = [key.time for _, key in keys] + [end]
        return [
            (entry, key, Fraction(after - key.time, self.track.timescale))
            for (entry, key), after in zip(keys, times[1:], strict=True)
        ]

    def segment_s(self) -> list[Fraction]:
        """The exact length of each segment."""
        return [Fraction(ticks, self.track.timescale) for ticks in self.durations]


def measure_rendition(package: Path, rendition_id: str) -> Measured:
    """The rendition in `package/rendition_id`. ValueError when a file is not what it should be."""
    init = (package / rendition_id / INIT).read_bytes()
    track = read_track(init)
    files = [_entry(f"{rendition_id}/{INIT}", init)]
    fragments = []
    for path in _numbered(package / rendition_id):
        data = path.read_bytes()
        files.append(_entry(f"{rendition_id}/{path.name}", data))
        fragments.append(read_segment(data, track.defaults))
    start, durations = presentation(track, fragments)
    return Measured(
        rendition_id=rendition_id,
        track=track,
        files=tuple(files),
        fragments=tuple(fragments),
        start=start,
        durations=durations,
    )


def check(measured: Sequence[Measured], frames: int, sound_s: Fraction) -> str | None:
    """What is wrong with these renditions of one film of `frames` frames, or None.

    Every rung has every frame and is cut at the same places, sound is as long as it should be,
    and each segment starts with a key frame, where the one before ended.
    """
    video = [one for one in measured if one.track.kind == "video"]
    for one in measured:
        if fault := _fault(one):
            return f"{one.rendition_id}: {fault}"
    for one in measured:
        if one.track.kind == "audio" and one.duration_s != sound_s:
            return (
                f"{one.rendition_id} lasts {float(one.duration_s):.3f} s, not {float(sound_s):.3f}"
            )
    for one in video:
        if one.samples != frames:
            return f"{one.rendition_id} has {one.samples} frames instead of {frames}"
        if one.segment_s() != video[0].segment_s():
            return f"{one.rendition_id} is not cut where {video[0].rendition_id} is"
    return None


def _fault(one: Measured) -> str | None:
    if one.start != 0:
        return f"it starts at {one.start} ticks instead of 0"
    at = one.fragments[0].decode_time
    for number, fragment in enumerate(one.fragments, start=1):
        if fragment.decode_time != at:
            return f"segment {number} does not start where the one before ended"
        if not fragment.starts_with_sync:
            return f"segment {number} does not start with a key frame"
        at += fragment.duration
    return None


def average_bps(one: Measured) -> int:
    """Bits per second of all segments, rounded up."""
    return math.ceil(rates.average_bps([entry.bytes for entry in one.segments], one.segment_s()))


def peak_bps(one: Measured) -> int:
    """The peak rate as players are told it, rounded up."""
    lengths = one.segment_s()
    target_s = max(1, round(max(lengths)))
    return math.ceil(rates.peak_bps([entry.bytes for entry in one.segments], lengths, target_s))


def iframe_peak_bps(one: Measured) -> int | None:
    """The peak rate of the key frames alone, each of which lasts until the next, rounded up."""
    keys = one.key_frames()
    lengths = [length for _, _, length in keys]
    if not keys or min(lengths) <= 0:
        return None
    sizes = [key.length for _, key, _ in keys]
    target_s = max(1, round(max(lengths)))
    return math.ceil(rates.peak_bps(sizes, lengths, target_s))


def _numbered(folder: Path) -> Iterator[Path]:
    """1.m4s, 2.m4s and so on, as far as they go, and there is no other."""
    count = sum(1 for _ in folder.glob("*.m4s"))
    if not count:
        raise ValueError(f"{folder.name} has no segments")
    for number in range(1, count + 1):
        path = folder / f"{number}.m4s"
        if not path.is_file():
            raise ValueError(f"{folder.name} lacks segment {number}")
        yield path


def _entry(path: str, data: bytes) -> FileEntry:
    return FileEntry(path=path, bytes=len(data), sha256=sha256_of(data))

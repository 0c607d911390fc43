"""Subtitles: those in a master and those beside it become WebVTT in the film's own time.

t-vtt-en/1.vtt 2.vtt …   cut where the pictures are, for HLS
t-vtt-en/whole.vtt       for DASH
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import ffmpeg

from encoder.ffmpeg import MASTER, input_options
from encoder.language import bcp47
from encoder.settings import EncoderSettings
from encoder.source import MAX_TEXT_TRACKS, Source, TextTrack
from media.inventory import WHOLE_TEXT
from media.webvtt import (
    MAX_BYTES,
    Cue,
    clipped,
    read_subtitles,
    segments,
    shifted,
    spread_chars,
    write_webvtt,
)
from runtime import programs
from runtime.child import ChildFailed, run_child
from runtime.errors import Problem
from runtime.log import logger
from runtime.sidecars import read_cues

# A cue stands in every segment that it is seen in: a small file can grow a thousandfold.
_MOST_CHARS = 64 * 1024 * 1024
_LEAST_SEGMENT_S = 2.0


@dataclass(frozen=True)
class Beside:
    """A file of subtitles that came beside the master, in a BCP 47 language."""

    language: str
    raw: bytes


@dataclass(frozen=True)
class Subtitles:
    """A track of a package; its cues are within the film, in the order of time."""

    rendition_id: str
    language: str
    cues: tuple[Cue, ...]
    forced: bool = False
    for_the_deaf: bool = False

    def files(self, lengths_s: Sequence[Fraction]) -> dict[str, str]:
        """Paths and texts, the segments of these lengths first."""
        edges = [float(edge) for edge in accumulate(lengths_s, initial=Fraction(0))]
        folder = self.rendition_id
        parts = enumerate(segments(self.cues, edges), start=1)
        return {f"{folder}/{number}.vtt": text for number, text in parts} | {
            f"{folder}/{WHOLE_TEXT}": write_webvtt(self.cues)
        }


async def subtitles(
    folder: Path, source: Source, beside: Sequence[Beside], settings: EncoderSettings
) -> tuple[Subtitles, ...]:
    """Those beside the master first. What is in the master and cannot be read is passed over; what
    somebody sent, `bad_subtitles` (Problem)."""
    told = [
        (TextTrack(-1, bcp47(one.language)), read_cues(one.raw, one.language))
        for one in beside[:MAX_TEXT_TRACKS]
    ]
    told += await _embedded(folder, source, settings)
    return named(told, source.duration_s)


def named(
    told: Iterable[tuple[TextTrack, Sequence[Cue]]], duration_s: float
) -> tuple[Subtitles, ...]:
    """The tracks that say anything during the film: `t-vtt-en`, and `t-vtt-en-2` for a second.
    Raises Problem `bad_subtitles` for one of those beside the master (`index` -1)."""
    tracks: list[Subtitles] = []
    seen: Counter[str] = Counter()
    for track, cues in told:
        shown = tuple(clipped(cues, duration_s))
        if not shown or len(tracks) == MAX_TEXT_TRACKS:
            continue
        if spread_chars(shown, _LEAST_SEGMENT_S) > _MOST_CHARS:
            if track.index < 0:
                raise Problem("bad_subtitles", f"Those in {track.language} show too much at once.")
            logger().warning("subtitles_passed_over", track=track.index, error="too much at once")
            continue
        language = track.language.lower()
        seen[language] += 1
        number = f"-{seen[language]}" if seen[language] > 1 else ""
        tracks.append(
            Subtitles(
                rendition_id=f"t-vtt-{language}{number}",
                language=track.language,
                cues=shown,
                forced=track.forced,
                for_the_deaf=track.for_the_deaf,
            )
        )
    return tuple(tracks)


async def _embedded(
    folder: Path, source: Source, settings: EncoderSettings
) -> list[tuple[TextTrack, list[Cue]]]:
    if not source.texts:
        return []
    limits = replace(settings.limits(settings.probe_timeout_s), file_bytes=MAX_BYTES)
    try:
        await run_child(_argv(source, settings.max_pixels), limits=limits, cwd=folder)
    except ChildFailed as failed:  # some may be there all the same
        logger().warning("subtitles_failed", stderr=failed.stderr[-2000:])
    found = []
    for track in source.texts:
        path = folder / _name(track)
        try:
            cues = read_subtitles(path.read_bytes())
        except (OSError, ValueError) as error:
            logger().warning("subtitles_passed_over", track=track.index, error=str(error))
        else:
            found.append((track, shifted(cues, -source.cadence.start_s)))
        path.unlink(missing_ok=True)
    return found


def _argv(source: Source, max_pixels: int) -> list[str]:
    """One pass for all of them, in the master's own time."""
    master = ffmpeg.input(MASTER, **input_options(max_pixels), copyts=None)
    outputs = [
        master[str(track.index)].output(
            _name(track), **{"c:s": "webvtt"}, f="webvtt", map_metadata=-1
        )
        for track in source.texts
    ]
    command = ffmpeg.merge_outputs(*outputs).global_args(
        "-hide_banner", "-nostdin", "-loglevel", "error", "-y"
    )
    return list(command.compile(cmd=programs.ffmpeg()))


def _name(track: TextTrack) -> str:
    return f"text-{track.index}.vtt"

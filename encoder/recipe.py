"""The recipe of an encode: every output with its numbers, from a source and a ladder. Pure.

Whatever the frame rate, a GOP is a whole number of frames and a segment a whole number of GOPs,
so that all rungs are cut at the same frames.
"""

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction

from encoder.ladder_choice import picture_size
from encoder.source import Source
from media.ladder import AudioCodec, Codec, Ladder

SAMPLE_RATE = 48_000
AAC_FRAME = 1024  # samples
# Ticks per second of a video track, at least: fine enough that no player rounds a frame away.
_MIN_TIMESCALE = 10_000


@dataclass(frozen=True)
class VideoOutput:
    """One rung to encode. `hdr`: in the film's own high dynamic range, with ten bits."""

    rendition_id: str
    codec: Codec
    width: int
    height: int
    max_bps: int
    crf: float
    bps: int | None = None
    hdr: bool = False


@dataclass(frozen=True)
class AudioOutput:
    """One sound track to encode; `stream_index` is the master's."""

    rendition_id: str
    stream_index: int
    stream_channels: int
    language: str
    codec: AudioCodec
    bps: int
    channels: int


@dataclass(frozen=True)
class Recipe:
    """All that ffmpeg and the packager are to make of `source`."""

    source: Source
    video: tuple[VideoOutput, ...]
    audio: tuple[AudioOutput, ...]
    gop_frames: int
    segment_gops: int

    @property
    def rendition_ids(self) -> tuple[str, ...]:
        """Every output, video first."""
        video = tuple(output.rendition_id for output in self.video)
        return video + tuple(output.rendition_id for output in self.audio)

    @property
    def segment_s(self) -> Fraction:
        """The exact length of every segment but the last."""
        return self.gop_frames * self.segment_gops / self.source.frame_rate

    @property
    def gop_s(self) -> Fraction:
        """The exact length of a GOP."""
        return self.gop_frames / self.source.frame_rate

    @property
    def timescale(self) -> int:
        """Ticks per second in which each frame has a whole number of ticks."""
        ticks = self.source.frame_rate.numerator
        while ticks < _MIN_TIMESCALE:
            ticks *= 10
        return ticks

    @property
    def audio_samples(self) -> int:
        """The sound's length: that of the pictures, to the nearest whole AAC frame."""
        exact = Fraction(self.source.cadence.frames * SAMPLE_RATE) / self.source.frame_rate
        return max(1, round(exact / AAC_FRAME)) * AAC_FRAME

    @property
    def most_bytes(self) -> int:
        """What the encoded tracks can weigh at most, once."""
        bps = sum(v.max_bps for v in self.video) + sum(a.bps for a in self.audio)
        return int(bps / 8 * (self.source.duration_s + 10) * 1.1)


def make_recipe(source: Source, ladder: Ladder) -> Recipe:
    """The recipe for encoding `source` to `ladder`, which does not reach above it."""
    return Recipe(
        source=source,
        video=tuple(
            VideoOutput(
                rendition_id=rung.rendition_id,
                codec=rung.codec,
                width=picture_size(source, rung.height)[0],
                height=rung.height,
                max_bps=rung.max_bps,
                crf=rung.crf,
                bps=rung.bps,
                hdr=bool(source.colour.hdr) and rung.codec != "avc",
            )
            for rung in ladder.rungs
        ),
        audio=_audio(source, ladder),
        gop_frames=max(1, round(ladder.gop_s * source.frame_rate)),
        segment_gops=ladder.segment_gops,
    )


def _audio(source: Source, ladder: Ladder) -> tuple[AudioOutput, ...]:
    """An output for each track and rung: `a-aac-en`, and `a-aac-en-2` for a second track in that
    language."""
    outputs: list[AudioOutput] = []
    for rung in ladder.audio:
        seen: Counter[str] = Counter()
        for track in source.audio:
            seen[track.language] += 1
            if rung.channels > max(track.channels, 2):
                continue
            number = f"-{seen[track.language]}" if seen[track.language] > 1 else ""
            outputs.append(
                AudioOutput(
                    rendition_id=f"a-{rung.name}-{track.language.lower()}{number}",
                    stream_index=track.index,
                    stream_channels=track.channels,
                    language=track.language,
                    codec=rung.codec,
                    bps=rung.bps,
                    channels=rung.channels,
                )
            )
    return tuple(outputs)

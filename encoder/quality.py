"""How good a package looks: its rungs beside the film, frame by frame, by VMAF.

Judged is half a second out of the middle of GOPs that are spread over the film, or all of it. The
reference is what the encoders were given: the conformed film, in standard dynamic range, in the
size of the largest rung. VMAF knows no high dynamic range, so those rungs are not judged.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from statistics import fmean
from typing import Any

import ffmpeg

from encoder.chunks import Chunk, cut, seek_for
from encoder.excerpts import excerpts
from encoder.ffmpeg import copies, master_input
from encoder.hull import Point
from encoder.pictures import conformed, in_sdr, scaled
from encoder.recipe import Recipe, VideoOutput
from encoder.settings import EncoderSettings
from encoder.vmaf import Vmaf, at_once, compare, read_log, summary
from runtime import programs
from runtime.child import ChildFailed, run_child
from runtime.errors import Problem
from runtime.log import logger

MIN_JUDGED = 144  # the shorter side: what is smaller has too few pixels to judge
# Of the film. (A twentieth of 30 s, in seven rungs, took 0.29 of what the encode did.)
_SHARE = 0.02
_STRETCH_S = 0.5
_LEAST_STRETCHES, _MOST_STRETCHES = 3, 100
# What a measured rung may fall short of what its trials promised: they, too, were a few excerpts.
_SHORTFALL = 20.0


@dataclass(frozen=True)
class Judged:
    """A rung: its scores in short, and the mean of each stretch by when it starts."""

    rendition_id: str
    vmaf: Vmaf
    least: float
    stretches: tuple[tuple[float, float], ...]

    def document(self) -> dict[str, Any]:
        """For programs."""
        short = {name: _rounded(value) for name, value in asdict(self.vmaf).items()}
        timed = [[round(at, 3), _rounded(score)] for at, score in self.stretches]
        return {"rendition_id": self.rendition_id, **short, "least": _rounded(self.least),
                "stretches": timed}  # fmt: skip


def stretches(recipe: Recipe, mode: str) -> list[Chunk]:
    """What is judged of the film. Pure."""
    source, gop = recipe.source, recipe.gop_frames
    entries = source.entries if source.seekable else ()
    start_s, rate, frames = source.cadence.start_s, source.frame_rate, source.cadence.frames
    if mode == "full":
        return list(cut(frames, gop, rate, 30, start_s=start_s, entries=entries))
    each = min(gop, max(2, round(_STRETCH_S * rate)))
    count = min(max(round(frames * _SHARE / each), _LEAST_STRETCHES), _MOST_STRETCHES)
    chosen: list[Chunk] = []
    for at_s in excerpts(source.activity, source.duration_s, float(gop / rate), count):
        here = round(at_s * rate / gop) * gop
        first = max(0, here + min((gop - each) // 2, frames - here - each))
        seek_s = seek_for(first, rate, start_s, entries)
        chosen.append(Chunk(len(chosen), first, min(each, frames), seek_s))
    return chosen


def below(judged: Sequence[Judged], promised: Mapping[str, Point], floor: float) -> str | None:
    """What is wrong with the quality, in a sentence, or None. Each rung is at most so much worse
    than its trials promised, and the best is above the floor, whatever was promised. Pure."""
    for one in judged:
        point = promised.get(one.rendition_id)
        if point is not None and one.vmaf.mean < point.vmaf - _SHORTFALL:
            return (
                f"{one.rendition_id} has VMAF {one.vmaf.mean:.1f} where its trials had"
                f" {point.vmaf:.1f}: something went wrong with its encode"
            )
    best = max(judged, key=lambda one: one.vmaf.mean, default=None)
    if best is not None and best.vmaf.mean < floor:
        return (
            f"the best rung, {best.rendition_id}, has VMAF {best.vmaf.mean:.1f}, and the floor is"
            f" {floor:g} (encoder.quality_floor)"
        )
    return None


async def judge(folder: Path, recipe: Recipe, settings: EncoderSettings) -> list[Judged]:
    """The rungs of the tracks in `folder`, where the master is, too. Raises Problem."""
    rungs = [rung for rung in recipe.video if not rung.hdr]
    size = max((rung.width, rung.height) for rung in recipe.video)
    if settings.quality == "off" or not rungs or min(size) < MIN_JUDGED:
        return []
    scores: dict[str, list[float]] = {rung.rendition_id: [] for rung in rungs}
    timed: dict[str, list[tuple[float, float]]] = {rung.rendition_id: [] for rung in rungs}
    rate = recipe.source.frame_rate
    for chunk in stretches(recipe, settings.quality):
        for some in _batches(rungs, size):
            await _run(folder, settings, judge_argv(recipe, some, chunk, size, settings))
            for rung in some:
                log = folder / f"{rung.rendition_id}.json"
                try:
                    found = read_log(log.read_bytes(), chunk.frames)
                except ValueError as error:
                    told = f"{rung.rendition_id} could not be judged: {error}."
                    raise Problem("encode_failed", told) from None
                finally:
                    log.unlink(missing_ok=True)
                scores[rung.rendition_id] += found
                timed[rung.rendition_id].append((float(chunk.first / rate), fmean(found)))
    return [
        Judged(name, summary(found), min(found), tuple(timed[name]))
        for name, found in scores.items()
    ]


def judge_argv(
    recipe: Recipe,
    rungs: Sequence[VideoOutput],
    chunk: Chunk,
    size: tuple[int, int],
    settings: EncoderSettings,
) -> list[str]:
    """The command that judges these rungs' frames of a chunk. Pure."""
    source, rate = recipe.source, recipe.source.frame_rate
    film = master_input(source, settings.max_pixels, chunk.seek_s)[str(source.video_index)]
    shown = in_sdr(conformed(film, source, chunk.frames, chunk.first), source)
    references = copies(scaled(shown, source, size), len(rungs))
    outputs = []
    for rung, reference in zip(rungs, references, strict=True):
        outputs.append(
            compare(
                _frames(rung, chunk, recipe),
                reference,
                size,
                rate,
                log_path=f"{rung.rendition_id}.json",
                threads=settings.threads,
            ).output("-", f="null")
        )
    command = ffmpeg.merge_outputs(*outputs).global_args(
        "-hide_banner", "-nostdin", "-loglevel", "error", "-y"
    )
    return list(command.compile(cmd=programs.ffmpeg()))


def _frames(rung: VideoOutput, chunk: Chunk, recipe: Recipe) -> ffmpeg.nodes.FilterableStream:
    """The track's frames of a chunk. A seek into its first GOP, late enough for what ffmpeg
    subtracts on account of B-frames, lands at the IDR."""
    idr = chunk.first // recipe.gop_frames * recipe.gop_frames
    at_s = float((idr + Fraction(3, 4) * recipe.gop_frames) / recipe.source.frame_rate)
    seek = {"ss": f"{at_s:.6f}", "noaccurate_seek": None} if idr else {}
    track = ffmpeg.input(f"{rung.rendition_id}.mp4", protocol_whitelist="file", **seek)
    begin = chunk.first - idr
    return track["v:0"].filter("trim", start_frame=begin, end_frame=begin + chunk.frames)


def _batches(
    rungs: Sequence[VideoOutput], size: tuple[int, int]
) -> Iterator[Sequence[VideoOutput]]:
    count = at_once(size)
    for first in range(0, len(rungs), count):
        yield rungs[first : first + count]


async def _run(folder: Path, settings: EncoderSettings, argv: list[str]) -> None:
    try:
        await run_child(argv, limits=settings.limits(settings.encode_timeout_s), cwd=folder)
    except ChildFailed as failed:
        logger().warning("judging_failed", command=failed.command, stderr=failed.stderr[-2000:])
        raise Problem("encode_failed", f"The quality could not be measured: {failed}.") from failed


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else round(value, 2)

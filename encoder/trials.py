"""Trial encodes: what a film's pictures take at a few heights and CRFs, measured on excerpts.

The excerpts are decoded once into a reel without loss; one run of ffmpeg makes all trials of it,
another judges them. Each excerpt is one GOP, so trials have key frames where the film will.
"""

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path

import ffmpeg

from encoder.chunks import seek_for
from encoder.codecs import Coding, codec_options
from encoder.excerpts import excerpts
from encoder.ffmpeg import copies, explain, master_input
from encoder.hull import Trial
from encoder.ladder_choice import cap_bps, even_floor, picture_size, tried_heights
from encoder.pictures import conformed, in_sdr, scaled
from encoder.pieces import Kept
from encoder.settings import EncoderSettings
from encoder.source import Source
from encoder.vmaf import at_once, compare, read_log
from media.inventory import sha256_of
from runtime import programs
from runtime.child import ChildFailed, run_child
from runtime.errors import Problem
from runtime.log import logger

# Three points make a curve of each height. Where heights take turns, it is about here.
_CRFS = (20.0, 27.0, 34.0)
MAX_TRIALS = 25
MIN_TRIED = 144  # the shorter side: what is smaller has no rungs to choose from
MOST_EXCERPTS = 5
# Of the film: three trials of every height of so much cost 0.4 of what the whole will.
_SHARE = 0.13
_JUDGED_S = 0.5  # of each excerpt, from its middle
_REEL = "reel.mp4"


@dataclass(frozen=True)
class Plan:
    """What is tried: excerpts of `gop_frames` frames that start at these times, and the trials."""

    starts_s: tuple[float, ...]
    gop_frames: int
    size: tuple[int, int]  # of the reel
    wanted: tuple[tuple[int, float], ...]  # heights and CRFs
    rate: Fraction

    @property
    def frames(self) -> int:
        """Of the reel."""
        return len(self.starts_s) * self.gop_frames

    @property
    def judged(self) -> tuple[int, int]:
        """Which frames of each excerpt are judged: from, to (not included)."""
        count = min(self.gop_frames, max(2, round(self.rate * Fraction(_JUDGED_S))))
        first = (self.gop_frames - count) // 2
        return first, first + count


def plan(source: Source, gop_s: float) -> Plan:
    """What is worth trying of this film; pure."""
    rate = source.frame_rate
    gop = min(max(1, round(gop_s * rate)), source.cadence.frames)
    length_s = float(gop / rate)
    count = round(source.duration_s * _SHARE / length_s)
    starts = excerpts(
        source.activity,
        source.duration_s,
        length_s,
        min(MOST_EXCERPTS, max(1, count)),
        source.shots_s,
    )
    heights = tried_heights(source)
    wanted = [(height, crf) for height in heights for crf in _CRFS]
    size = picture_size(source, even_floor(source.height))
    return Plan(tuple(starts), gop, size, tuple(wanted[-MAX_TRIALS:]), rate)


async def tried_out(
    folder: Path,
    source: Source,
    gop_s: float,
    settings: EncoderSettings,
    master_sha256: str,
    kept: Kept,
) -> list[Trial]:
    """The trials of `folder/master`, which has this digest; made once, and then kept. Raises
    Problem."""
    tried = plan(source, gop_s)
    decided = [master_sha256, tried, settings.preset, programs.ffmpeg_version()]
    name = f"trials-{sha256_of(repr(decided).encode())[:40]}.json"
    if (known := await kept.recall(name)) is not None:
        with suppress(ValueError, TypeError):  # else they are made anew
            return [Trial(**trial) for trial in json.loads(known)]
    trials = await try_out(folder, source, tried, settings)
    await kept.note(name, json.dumps([asdict(trial) for trial in trials]).encode())
    return trials


async def try_out(
    folder: Path, source: Source, tried: Plan, settings: EncoderSettings
) -> list[Trial]:
    """The trials of `folder/master`; their files are gone afterwards. Raises Problem."""
    began = time.monotonic()
    with _scratch(folder, tried):
        await _run(folder, settings, reel_argv(source, tried, settings.max_pixels))
        await _run(folder, settings, trial_argv(source, tried, settings))
        for some in _batches(tried):
            await _run(folder, settings, judge_argv(some, settings.threads))
        trials = []
        for height, crf in tried.wanted:
            name = _name(height, crf)
            bits = 8 * (folder / f"{name}.h264").stat().st_size
            try:
                vmaf = _judged(tried, (folder / f"{name}.json").read_bytes())
            except ValueError as error:
                raise Problem("encode_failed", f"A trial encode was not judged: {error}.") from None
            trials.append(Trial(height, crf, float(bits * tried.rate / tried.frames), vmaf))
    logger().info("trials", count=len(trials), seconds=round(time.monotonic() - began, 1))
    return trials


# What ffmpeg is told. Pure.


def reel_argv(source: Source, tried: Plan, max_pixels: int) -> list[str]:
    """The excerpts one after the other, as the rungs take them, without loss."""
    rate, entries = source.frame_rate, source.entries if source.seekable else ()
    by_seek: dict[float | None, list[int]] = {}
    for first in (round(start_s * rate) for start_s in tried.starts_s):
        seek_s = seek_for(first, rate, source.cadence.start_s, entries)
        by_seek.setdefault(seek_s, []).append(first)  # in the order of time, as the excerpts are
    pieces = []
    for seek_s, firsts in by_seek.items():
        film = master_input(source, max_pixels, seek_s)[str(source.video_index)]
        for first, copy in zip(firsts, copies(film, len(firsts)), strict=True):
            piece = conformed(copy, source, tried.gop_frames, first)
            pieces.append(scaled(in_sdr(piece, source), source, tried.size))
    reel = ffmpeg.concat(*pieces) if len(pieces) > 1 else pieces[0]
    out = reel.output(
        _REEL, **{"c:v": "libx264", "preset": "ultrafast", "qp": 0, "fps_mode": "passthrough"}
    )
    return _argv(out)


def trial_argv(source: Source, tried: Plan, settings: EncoderSettings) -> list[str]:
    """Every trial of the reel, as raw streams: their files are their bits and nothing else."""
    heights: dict[int, list[float]] = {}
    for height, crf in tried.wanted:
        heights.setdefault(height, []).append(crf)
    outputs = []
    for height, pictures in zip(heights, copies(_reel(), len(heights)), strict=True):
        rung = scaled(pictures, source, picture_size(source, height))
        crfs = heights[height]
        for crf, copy in zip(crfs, copies(rung, len(crfs)), strict=True):
            coding = Coding(
                crf,
                2 * cap_bps(source, height),
                tried.gop_frames,
                settings.preset,
                settings.threads,
            )
            options = codec_options("avc", coding)
            outputs.append(copy.output(f"{_name(height, crf)}.h264", **options, f="h264"))
    return _argv(ffmpeg.merge_outputs(*outputs))


def judge_argv(tried: Plan, threads: int) -> list[str]:
    """Every trial beside the reel: the middle of each excerpt."""
    first, end = tried.judged
    chosen = f"between(mod(n,{tried.gop_frames}),{first},{end - 1})"
    references = copies(_reel().filter("select", chosen), len(tried.wanted))
    outputs = []
    for (height, crf), reference in zip(tried.wanted, references, strict=True):
        name = _name(height, crf)
        trial = ffmpeg.input(f"{name}.h264")["v:0"].filter("select", chosen)
        judged = compare(
            trial, reference, tried.size, tried.rate, log_path=f"{name}.json", threads=threads
        )
        outputs.append(judged.output("-", f="null"))
    return _argv(ffmpeg.merge_outputs(*outputs))


def _batches(tried: Plan) -> Iterator[Plan]:
    """The same plan in parts that can be judged at once."""
    count = at_once(tried.size)
    for first in range(0, len(tried.wanted), count):
        yield replace(tried, wanted=tried.wanted[first : first + count])


def _judged(tried: Plan, log: bytes) -> float:
    """The mean of the judged frames, but for the first of each excerpt: before it stands another
    excerpt, and VMAF takes the jump for motion, in which the eye forgives."""
    first, end = tried.judged
    count = end - first
    scores = read_log(log, count * len(tried.starts_s))
    kept = [score for n, score in enumerate(scores) if n % count or count == 1]
    return math.fsum(kept) / len(kept)


def _reel() -> ffmpeg.nodes.FilterableStream:
    return ffmpeg.input(_REEL)["v:0"]


def _argv(output: ffmpeg.nodes.OutputStream) -> list[str]:
    quiet = output.global_args("-hide_banner", "-nostdin", "-loglevel", "error", "-y")
    return list(quiet.compile(cmd=programs.ffmpeg()))


def _name(height: int, crf: float) -> str:
    return f"trial-{height}-{crf:g}"


async def _run(folder: Path, settings: EncoderSettings, argv: list[str]) -> None:
    limits = settings.limits(settings.encode_timeout_s, 1 << 34)
    try:
        await run_child(argv, limits=limits, cwd=folder)
    except ChildFailed as failed:
        logger().warning("trial_failed", command=failed.command, stderr=failed.stderr[-2000:])
        raise explain(failed) from failed


@contextmanager
def _scratch(folder: Path, tried: Plan) -> Iterator[None]:
    names = [_REEL]
    for height, crf in tried.wanted:
        names += [f"{_name(height, crf)}.h264", f"{_name(height, crf)}.json"]
    try:
        yield
    finally:
        for name in names:
            (folder / name).unlink(missing_ok=True)

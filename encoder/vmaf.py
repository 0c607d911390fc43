"""VMAF: how a viewer would judge an encode beside what it was made from. Pure: argv out, JSON in.

Frames are compared by their number, not by their time: the times of two containers differ by a
rounding, and a single frame of shift costs ten points. So both sides are given new times, and the
counts have to be equal. What is smaller is scaled up first, as a player would.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import fmean, harmonic_mean, quantiles
from typing import Any

import ffmpeg
from ffmpeg.nodes import FilterableStream

# Trained on television at three picture heights; above 1080 lines it has a sister for 4K.
_MODEL, _MODEL_4K = "version=vmaf_v0.6.1", "version=vmaf_4k_v0.6.1"
_HD_LINES = 1200
_PIXELS_AT_ONCE = 24 * 1280 * 720


@dataclass(frozen=True)
class Vmaf:
    """The frames' scores in short, of `frames` that were judged. Scores go from 0 to 100."""

    mean: float
    harmonic_mean: float
    percentile_1: float
    frames: int


def model_for(width: int, height: int) -> str:
    """The model for pictures of this size."""
    return _MODEL_4K if min(width, height) > _HD_LINES else _MODEL


def compare(
    distorted: FilterableStream,
    reference: FilterableStream,
    size: tuple[int, int],
    rate: Fraction,
    *,
    log_path: str,
    threads: int,
) -> Any:
    """The filter that judges one stream beside the other, frame by frame; its output is to be
    thrown away. `size` and `rate` are the reference's."""
    width, height = size
    scaled = distorted.filter("scale", width, height, flags="bicubic").filter("format", "yuv420p")
    return ffmpeg.filter(
        [_numbered(scaled, rate), _numbered(reference, rate)],
        "libvmaf",
        model=model_for(width, height),
        n_threads=threads,
        log_fmt="json",
        log_path=log_path,
        # A side that ends early ends the comparison: its last frame is not held up to the rest.
        shortest=1,
        repeatlast=0,
    )


def at_once(size: tuple[int, int]) -> int:
    """How many may be judged side by side, for the sake of memory: a comparison of 4K takes half a
    gigabyte."""
    return max(1, _PIXELS_AT_ONCE // (size[0] * size[1]))


def read_log(raw: bytes, frames: int) -> list[float]:
    """The scores that libvmaf wrote. ValueError unless `frames` frames were compared."""
    try:
        scores = [float(frame["metrics"]["vmaf"]) for frame in json.loads(raw)["frames"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"the log of VMAF cannot be read: {error!r}") from None
    if len(scores) != frames:
        raise ValueError(f"{len(scores)} frames were compared instead of {frames}")
    return scores


def summary(scores: Sequence[float]) -> Vmaf:
    """The scores of all frames, at least one, in short."""
    low = min(scores) if len(scores) == 1 else quantiles(scores, n=100, method="inclusive")[0]
    # A harmonic mean of zero tells nothing; libvmaf, too, counts from one.
    return Vmaf(fmean(scores), harmonic_mean([s + 1 for s in scores]) - 1, low, len(scores))


def _numbered(pictures: FilterableStream, rate: Fraction) -> FilterableStream:
    """Frame n is shown at n frames, whatever its container says; and both sides name the same
    colours, or ffmpeg would convert what says BT.709 for what says nothing, and judge that."""
    per_s = f"{rate.numerator}/{rate.denominator}"
    pictures = pictures.filter(
        "setparams", range="tv", color_primaries="bt709", color_trc="bt709", colorspace="bt709"
    )
    return pictures.filter("settb", "AVTB").filter("setpts", f"N/({per_s})/TB")

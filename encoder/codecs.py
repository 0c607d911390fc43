"""Video encoders: how each is asked for a rung. Pure.

A ladder is chosen for AVC, which every player has. The others get the same rungs at the quality
that AVC has there: their scales were laid beside x264's by measuring VMAF (docs/architecture.md),
and they need the fewer bits for it that they are known for.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from media.ladder import OPUS, Codec, Ladder, Rung


@dataclass(frozen=True)
class Coding:
    """What an encoder is asked for: an average rate, `bps`, or else a quality. `threads` 0: as many
    as there are cores."""

    crf: float
    max_bps: int
    gop_frames: int
    preset: str
    threads: int
    bps: int | None = None

    @property
    def aim(self) -> dict[str, Any]:
        """Rate or quality, as ffmpeg is told."""
        return {"crf": self.crf} if self.bps is None else {"b:v": self.bps}


@dataclass(frozen=True)
class _Codec:
    options: Callable[[Coding], dict[str, Any]]
    # CRF for the quality of x264's: at that of 23, and by how much more for one more of x264's.
    crf_at_23: float
    crf_per_crf: float
    bits: float  # of x264's at that quality
    crfs: tuple[float, float]  # what the encoder takes


def codec_options(codec: Codec, coding: Coding) -> dict[str, Any]:
    """How ffmpeg is told: an even quality, or a rate on average, and never more than the cap over
    1.5 s; an IDR at every `gop_frames`-th frame and nowhere else, and no picture that refers
    across."""
    return _CODECS[codec].options(coding) | {
        "flags:v": "+cgop+bitexact",  # no version strings in the stream
        # The filter has made the rate constant; the muxer must not do it again.
        "fps_mode": "passthrough",
    }


def with_codecs(ladder: Ladder, names: Collection[str]) -> Ladder:
    """The ladder with each of its AVC rungs in the video codecs named, and its sound in those of
    audio, where it has none in them."""
    have = {rung.codec for rung in ladder.rungs}
    avc = [rung for rung in ladder.rungs if rung.codec == "avc"]
    more = [
        _in(codec, rung)
        for codec in _CODECS
        if codec in names and codec not in have
        for rung in avc
    ]
    opus = ladder.audio and "opus" in names and all(rung.codec != "opus" for rung in ladder.audio)
    return ladder.model_copy(
        update={
            "rungs": (*ladder.rungs, *more),
            "audio": (*ladder.audio, OPUS) if opus else ladder.audio,
        }
    )


def _in(codec: Codec, rung: Rung) -> Rung:
    about = _CODECS[codec]
    low, high = about.crfs
    crf = about.crf_at_23 + about.crf_per_crf * (rung.crf - 23)
    return rung.model_copy(
        update={
            "codec": codec,
            "crf": min(max(round(crf * 4) / 4, low), high),
            "max_bps": _share(rung.max_bps, about.bits),
            "bps": _share(rung.bps, about.bits) if rung.bps else None,
        }
    )


def _share(bps: int, share: float) -> int:
    return max(50_000, math.ceil(bps * share / 1000) * 1000)


def _x264(coding: Coding) -> dict[str, Any]:
    return {
        "c:v": "libx264",
        "preset": coding.preset,
        "threads": coding.threads,
        **coding.aim,
        "maxrate": coding.max_bps,
        "bufsize": coding.max_bps * 3 // 2,
        "g": coding.gop_frames,
        "keyint_min": coding.gop_frames,
        "sc_threshold": 0,
    }


def _x265(coding: Coding) -> dict[str, Any]:
    asked = {
        "keyint": coding.gop_frames,
        "min-keyint": coding.gop_frames,
        "scenecut": 0,
        "open-gop": 0,
        "vbv-maxrate": coding.max_bps // 1000,
        "vbv-bufsize": coding.max_bps * 3 // 2000,
        "info": 0,  # no settings in the stream
        "log-level": "error",
        **({"pools": coding.threads} if coding.threads else {}),
    }
    return {
        "c:v": "libx265",
        "preset": coding.preset,
        **coding.aim,
        "forced-idr": 1,  # a key frame that is asked for is one like the others
        "x265-params": _joined(asked),
        "tag:v": "hvc1",  # Apple's players take no hev1 (HLS Authoring Specification 1.5)
    }


# SVT-AV1's presets beside x264's: each costs about as much beside its neighbours.
_SVT_PRESETS = {
    "ultrafast": 10, "superfast": 9, "veryfast": 8, "faster": 8, "fast": 7, "medium": 6, "slow": 5,
    "slower": 4, "veryslow": 3,
}  # fmt: skip


def _svt_av1(coding: Coding) -> dict[str, Any]:
    asked = {
        "irefresh-type": 2,  # key frames, not forward ones: a GOP is closed
        "scd": 0,
        **({"mbr": coding.max_bps // 1000} if coding.bps is None else {"rc": 1}),
        **({"lp": coding.threads} if coding.threads else {}),
    }
    return {
        "c:v": "libsvtav1",
        "preset": _SVT_PRESETS[coding.preset],
        **({"crf": round(coding.crf)} if coding.bps is None else coding.aim),
        "g": coding.gop_frames,
        "svtav1-params": _joined(asked),
    }


def _joined(asked: Mapping[str, object]) -> str:
    return ":".join(f"{name}={value}" for name, value in asked.items())


_CODECS: Mapping[Codec, _Codec] = {
    "avc": _Codec(_x264, 23, 1, 1, (10, 45)),
    "hevc": _Codec(_x265, 26.5, 1.25, 0.75, (10, 45)),
    "av1": _Codec(_svt_av1, 44.5, 2.5, 0.6, (10, 60)),
}

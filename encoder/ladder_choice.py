"""The choice of a ladder: which rungs a film gets, and at most how many bits. Pure.

The fixed ladder goes by the shorter side of the picture, so that portrait films get the rungs of
their landscape sisters. Nothing is ever scaled up.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from encoder.hull import Point
from encoder.source import Source
from media.ladder import STEREO, SURROUND, Codec, Ladder, Rung
from runtime.errors import Problem

# Average rates for AVC at up to 30 frames a second, by the shorter side of a 16:9 picture (Apple
# HLS Authoring Specification, "Video average bit rate"); above 1080, which that table leaves to
# HEVC, along the same power of the pixels.
_APPLE: Mapping[int, tuple[int, ...]] = {
    234: (145_000,),
    360: (365_000,),
    432: (730_000, 1_100_000),
    540: (2_000_000,),
    720: (3_000_000, 4_500_000),
    1080: (6_000_000, 7_800_000),
    1440: (11_500_000,),
    2160: (20_000_000,),
}
# So much of its average may a rung take for a while; twice is the most (1.30).
_APPLE_PEAK = 1.5
# The sides that a film of its own ladder is tried in.
SHORT_SIDES = (234, 360, 540, 720, 1080, 1440, 2160)
# A rung closer than this below the film's own size would cost an encode and help nobody.
MIN_STEP = 1.15
MAX_HEIGHT = 4320  # media.ladder

# Pixels of a 16:9 picture, and what a film's own rung may take on average, in bits per second.
_CAPS = (
    (416 * 234, 300_000),
    (640 * 360, 800_000),
    (960 * 540, 2_000_000),
    (1280 * 720, 3_500_000),
    (1920 * 1080, 6_500_000),
    (2560 * 1440, 11_000_000),
    (3840 * 2160, 18_000_000),
)
_FULL_RATE = 30.0
_SOUND = (STEREO, SURROUND)
_ORDER: tuple[Codec, ...] = get_args(Codec)
# A busy scene may take so many times the average (Apple HLS Authoring Specification 1.30).
_PEAK = 2.0


def fixed_ladder(source: Source) -> Ladder:
    """Apple's rungs at or below the film's own size, the highest exactly that (even numbers)."""
    short = even_floor(min(source.width, source.height))
    top = min(short, max(_APPLE))
    rungs: list[Rung] = []
    for side in (*(side for side in _APPLE if side * MIN_STEP <= top), top):
        rates = _APPLE.get(side) or (_between(side),)
        for bps in rates:
            rungs.append(_apple_rung(source, side, bps, "" if bps == rates[-1] else "low"))
    return Ladder(rungs=tuple(rungs), audio=_SOUND if source.has_audio else ())


def tried_heights(source: Source) -> list[int]:
    """The heights that are tried for the film's own ladder, from the lowest to its own."""
    top = min(even_floor(min(source.width, source.height)), SHORT_SIDES[-1])
    sides = [side for side in SHORT_SIDES if side * MIN_STEP <= top]
    return [_height(source, side) for side in (*sides, top)]


def _apple_rung(source: Source, side: int, bps: int, mark: str) -> Rung:
    """The rate is for 16:9: another shape has its share of it."""
    height = _height(source, side)
    width, _ = picture_size(source, height)
    share = width * height / (side * side * 16 / 9) * _motion(source)
    rate = max(50_000, round(bps * share / 1000) * 1000)
    return Rung(height=height, max_bps=round(rate * _APPLE_PEAK), bps=rate, mark=mark)


def _between(side: int) -> int:
    """The best rate at a side that is not in the table, as a power of the pixels between two that
    are, and so beyond its ends."""
    sides = list(_APPLE)
    below, above = next(
        (pair for pair in pairwise(sides) if side <= pair[1]), (sides[-2], sides[-1])
    )
    low, high = _APPLE[below][-1], _APPLE[above][-1]
    power = math.log(high / low) / math.log(above / below)
    return round(low * math.pow(side / below, power))


def _motion(source: Source) -> float:
    """Up to a rate tables count as given; above, motion has more pictures to pay for."""
    return math.sqrt(max(float(source.frame_rate) / _FULL_RATE, 1.0))


def film_ladder(source: Source, chosen: Sequence[Point]) -> Ladder:
    """The ladder of these points, from the lowest to the highest: each by its CRF, under a cap that
    its busiest scenes may fill. The best of a height has the height's plain name."""
    rungs: list[Rung] = []
    seen: set[int] = set()
    for point in reversed(chosen):
        again = point.height in seen
        seen.add(point.height)
        most = min(_PEAK * point.bps, cap_bps(source, point.height))
        rungs.append(
            Rung(
                height=point.height,
                max_bps=max(50_000, math.ceil(most / 1000) * 1000),
                crf=point.crf,
                mark=f"q{round(point.vmaf)}" if again else "",
            )
        )
    return Ladder(rungs=tuple(reversed(rungs)), audio=_SOUND if source.has_audio else ())


def fitted(ladder: Ladder, source: Source) -> Ladder:
    """A given ladder as far as the film reaches: rungs above its height are left out, and where
    none would be left, the lowest is cut to the film's own height."""
    own = even_floor(source.height)
    cut = [rung.model_copy(update={"height": even_floor(rung.height)}) for rung in ladder.rungs]
    lowest = min(rung.height for rung in cut)
    kept = {
        rung.rendition_id: rung
        for rung in (r.model_copy(update={"height": own}) if lowest > own else r for r in cut)
        if rung.height <= own
    }
    rungs = sorted(kept.values(), key=lambda rung: (_ORDER.index(rung.codec), rung.height))
    audio = ladder.audio if source.has_audio else ()
    return ladder.model_copy(update={"rungs": tuple(rungs), "audio": audio})


def read_ladder(path: Path) -> Ladder:
    """The ladder of a TOML file: `[[rungs]]` tables with height, max_bps, crf; optional
    `[[audio]]`, gop_s and segment_gops. Raises Problem `bad_settings`."""
    try:
        return Ladder.model_validate(tomllib.loads(path.read_text()))
    except OSError as error:
        raise Problem("bad_settings", f"{path} cannot be read: {error.strerror}.") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Problem("bad_settings", f"{path} is not a ladder: {error}.") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Problem("bad_settings", f"{path} is not a ladder: {where}: {first['msg']}.") from None


def picture_size(source: Source, height: int) -> tuple[int, int]:
    """Width and height of a rung of this height: the film's shape, in even numbers (4:2:0)."""
    width = 2 * round(height * source.width / source.height / 2)
    return max(width, 2), height


def cap_bps(source: Source, height: int) -> int:
    """The most that a rung of this height may take, by its pixels and frames, in bits per second.

    Between the table's entries the rate is a power of the pixels, and so beyond its ends.
    """
    width, _ = picture_size(source, height)
    pixels = width * height
    below, above = next(
        (pair for pair in pairwise(_CAPS) if pixels <= pair[1][0]), (_CAPS[-2], _CAPS[-1])
    )
    power = math.log(above[1] / below[1]) / math.log(above[0] / below[0])
    bps = below[1] * math.pow(pixels / below[0], power)
    return max(50_000, round(bps * _motion(source) / 1000) * 1000)


def even_floor(value: int) -> int:
    """The even number at or just below."""
    return value // 2 * 2


def _height(source: Source, short_side: int) -> int:
    """The height of the rung whose shorter side is `short_side`."""
    if source.height <= source.width:
        return short_side
    height = round(short_side * source.height / source.width)
    return even_floor(min(height, source.height, MAX_HEIGHT))

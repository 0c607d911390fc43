"""How far a job is: one number over all its stages, for people who wait."""

from collections.abc import Callable
from typing import get_args

from media.api import Progress, Stage

OnProgress = Callable[[Progress], None]

# Where each stage ends, of the whole; encodes, on trial and in earnest, are nearly all of the time.
_ENDS: dict[Stage, float] = {
    "waiting": 0.0,
    "download": 0.03,
    "probe": 0.05,
    "ladder": 0.35,
    "encode": 0.90,
    "package": 0.94,
    "publish": 1.0,
    "done": 1.0,
}
_STAGES: tuple[Stage, ...] = get_args(Stage)


def at(
    stage: Stage, within: float = 0.0, *, speed: float | None = None, eta_s: float | None = None
) -> Progress:
    """The progress of being `within` (0 to 1) a stage."""
    end = _ENDS[stage]
    number = _STAGES.index(stage)
    start = _ENDS[_STAGES[number - 1]] if number else 0.0
    fraction = start + (end - start) * min(max(within, 0.0), 1.0)
    return Progress(stage=stage, fraction=round(fraction, 4), speed=speed, eta_s=eta_s)


def encoding(within: float, duration_s: float, speed: float | None) -> Progress:
    """Encoding at `speed` seconds of film per second, of a film of `duration_s`."""
    if not speed:
        return at("encode", within)
    eta_s = (1 - within) * duration_s / speed
    return at("encode", within, speed=round(speed, 3), eta_s=round(eta_s, 1))

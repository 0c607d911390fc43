"""How far a job is: one number over all its stages, for people who wait."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import get_args

from media.api import Progress, Stage

OnProgress = Callable[[Progress], None]

# Where each stage ends, of the whole; encodes, on trial and in earnest, are nearly all of the time.
_ENDS: dict[Stage, float] = {
    "waiting": 0.0,
    "download": 0.03,
    "probe": 0.05,
    "ladder": 0.35,
    "encode": 0.88,
    "judge": 0.91,
    "package": 0.94,
    "publish": 1.0,
    "done": 1.0,
}
_STAGES: tuple[Stage, ...] = get_args(Stage)


def at(stage: Stage, within: float = 0.0) -> Progress:
    """The progress of being `within` (0 to 1) a stage."""
    end = _ENDS[stage]
    number = _STAGES.index(stage)
    start = _ENDS[_STAGES[number - 1]] if number else 0.0
    fraction = start + (end - start) * min(max(within, 0.0), 1.0)
    return Progress(stage=stage, fraction=round(fraction, 4))


class Tally:
    """The frames of a film that is encoded in chunks: how far, how fast, and how long it takes yet.
    What had been done before counts, but not as speed."""

    def __init__(self, frames: Mapping[str, int], rate: Fraction, now: float) -> None:
        """`frames` of each chunk, at `rate` a second; times are of the monotonic clock."""
        self._frames = dict(frames)
        self._done = dict.fromkeys(frames, 0)
        self._had = 0
        self._rate = rate
        self._since = now

    def had(self, key: str) -> None:
        """This chunk had been done before."""
        if not self._done.get(key, 1):
            self._done[key] = self._frames[key]
            self._had += self._frames[key]

    def note(self, key: str, frames: int, now: float) -> Progress:
        """So many frames of the chunk are done."""
        self._done[key] = max(self._done[key], min(frames, self._frames[key]))
        done, all_frames = sum(self._done.values()), sum(self._frames.values())
        lasted_s = now - self._since
        speed = eta_s = None
        if done > self._had and lasted_s > 0:
            speed = float((done - self._had) / self._rate) / lasted_s
            eta_s = float((all_frames - done) / self._rate) / speed
        return at("encode", done / all_frames).model_copy(
            update={
                "speed": None if speed is None else round(speed, 3),
                "eta_s": None if eta_s is None else round(eta_s, 1),
                "chunks": len(self._frames),
                "chunks_done": sum(self._done[k] == n for k, n in self._frames.items()),
            }
        )

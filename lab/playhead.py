"""A player's clock: what has been loaded, what has been played, and when it had to wait. Pure."""

from dataclasses import dataclass, field
from typing import Literal

State = Literal["starting", "playing", "stalled", "ended"]


@dataclass
class Playhead:
    """Plays from the first media on that it has; times are seconds of any steady clock."""

    duration_s: float
    state: State = "starting"
    loaded_s: float = 0.0
    position_s: float = 0.0
    stalls_s: list[float] = field(default_factory=list)
    _at_s: float = 0.0  # when the position was that
    _stalled_at_s: float = 0.0

    def advance(self, now_s: float) -> None:
        """It is now so late."""
        if self.state == "playing":
            reach_s = self.position_s + now_s - self._at_s
            if reach_s < self.loaded_s:
                self.position_s = reach_s
            else:
                self._stalled_at_s = self._at_s + self.loaded_s - self.position_s
                self.position_s = self.loaded_s
                self.state = "ended" if self.loaded_s >= self.duration_s else "stalled"
        self._at_s = now_s

    def load(self, loaded_s: float, now_s: float) -> None:
        """There is media up to here now."""
        self.advance(now_s)
        self.loaded_s = min(max(self.loaded_s, loaded_s), self.duration_s)
        if self.loaded_s > self.position_s and self.state in ("starting", "stalled"):
            if self.state == "stalled":
                self.stalls_s.append(now_s - self._stalled_at_s)
            self.state = "playing"

    @property
    def buffer_s(self) -> float:
        """Loaded and not played, as of the last word."""
        return self.loaded_s - self.position_s

    def end(self, now_s: float) -> None:
        """Nobody plays on: a stall that lasts counts as long as it has lasted."""
        self.advance(now_s)
        if self.state == "stalled":
            self.stalls_s.append(now_s - self._stalled_at_s)

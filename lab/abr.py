"""Which rung a player takes next: BOLA. Pure.

Spiteri, Urgaonkar and Sitaraman, "BOLA: Near-Optimal Bitrate Adaptation for Online Videos", INFOCOM
2016: of all rungs the one of the largest (V (v + g) - Q) / S, where v is the logarithm of a
rung's size beside the lowest one's, Q the buffer in segments, S the size, g how much a stall weighs
against quality, and V such that the top rung is taken when all but one segment of the buffer is
full. It needs no estimate of the throughput; but, as in the paper's section on oscillations, it
climbs no higher than the throughput of the last segment bears, or stays where it is.
"""

import math
from collections.abc import Sequence

_STALLS_WEIGH = 5.0  # g, as in the paper's experiments


class Bola:
    """The choices of one playback."""

    def __init__(self, rates_bps: Sequence[float], segment_s: float, buffer_s: float) -> None:
        """For rungs of these rates, rising; `buffer_s` is as much as the player loads ahead.
        ValueError for no rung, or a rate or time that is none."""
        if not rates_bps or min(*rates_bps, segment_s, buffer_s) <= 0:
            raise ValueError("a player needs rungs with rates, segments and a buffer")
        self._rates_bps = list(rates_bps)
        self._segment_s = segment_s
        self._values = [math.log(rate / rates_bps[0]) + _STALLS_WEIGH for rate in rates_bps]
        segments = max(2.0, buffer_s / segment_s)
        self._v = (segments - 1) / self._values[-1]
        self._last = 0

    def choose(self, buffer_s: float, throughput_bps: float) -> int:
        """The rung, by its number, for who has so much to play; `throughput_bps` is that of the
        last segment, 0 before there was one."""
        queue = buffer_s / self._segment_s

        def score(rung: int) -> float:
            return (self._v * self._values[rung] - queue) / self._rates_bps[rung]

        rungs = range(len(self._rates_bps))
        best = max(rungs, key=score)
        if best > self._last:
            borne = [rung for rung in rungs if self._rates_bps[rung] <= throughput_bps]
            best = min(best, max(self._last, borne[-1] if borne else 0))
        self._last = best
        return best

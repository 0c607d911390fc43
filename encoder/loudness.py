"""How loud a sound track is, and what is done about it (EBU R 128, ITU-R BS.1770). Pure.

The track is measured from end to end and then made louder or softer as a whole, so that nothing of
its dynamics is lost; no more than its true peaks allow.
"""

import math
from dataclasses import dataclass

PEAK_DBTP = -1.0  # EBU R 128, 2020: the maximum true peak
_SILENCE_LUFS = -70.0  # below it BS.1770 hears nothing
_MOST_DB = 30.0  # a track that is nearly silent was meant so
_LEAST_DB = 0.1  # not worth a change


@dataclass
class Loudness:
    """Reads what the filter `ebur128` prints, frame by frame; the last word counts."""

    integrated_lufs: float = -math.inf
    true_peak: float = 0.0  # linear; 1 is full scale

    def feed(self, line: str) -> None:
        """Takes a line; others are passed over."""
        name, _, value = line.partition("=")
        try:
            if name == "lavfi.r128.I":
                self.integrated_lufs = float(value)
            elif name == "lavfi.r128.true_peak":
                self.true_peak = float(value)
        except ValueError:
            pass

    def gain_db(self, target_lufs: float) -> float:
        """What brings the track to the target, or as near as its peaks allow."""
        if not math.isfinite(self.integrated_lufs) or self.integrated_lufs <= _SILENCE_LUFS:
            return 0.0
        gain = min(target_lufs - self.integrated_lufs, _MOST_DB)
        if self.true_peak > 0:
            gain = min(gain, max(0.0, PEAK_DBTP - 20 * math.log10(self.true_peak)))
        return 0.0 if abs(gain) < _LEAST_DB else round(gain, 2)

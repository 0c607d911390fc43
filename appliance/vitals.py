"""Rates out of cumulative counters: what of an appliance's vitals is a change over time. Pure."""

import math
from dataclasses import dataclass
from typing import NamedTuple

# Rates are smoothed over about this long: three reports, so that one film's burst strains nobody.
SMOOTH_S = 15.0
# Sheds and failures are told of sooner: they are trouble already.
_TROUBLE_S = 5.0
# A hiccup of a third of a second is no bottleneck; a loop that stays as late is, within seconds.
_LAG_S = 2.0
# Below so many in the smoothed window a share is chance: one failed fill of two is no bottleneck.
MIN_FILLS = 5.0
MIN_REQUESTS = 20.0


class Sample(NamedTuple):
    """Cumulative counters at one moment. `sheds` are those of viewers: that a peer or an early fill
    had to wait is what their priority is for. `cpu_us` has one figure a worker, each of which may
    start again at 0. `lag_s` is the lag of now."""

    now_s: float
    bytes_out: int
    requests: int
    sheds: int
    fills: int
    fill_failures: int
    cpu_us: tuple[int, ...]
    lag_s: float = 0.0


class Rates(NamedTuple):
    """Smoothed rates and shares."""

    egress_bps: float = 0.0
    cpu_load: float = 0.0  # of the busiest worker, in cores
    shed_share: float = 0.0
    fill_failure_share: float = 0.0
    lag_s: float = 0.0


_NONE_YET = Rates()


@dataclass
class Pulse:
    """`take` a sample a few times a second; `rates` are as of the last one."""

    _before: Sample
    rates: Rates = _NONE_YET
    _requests: float = 0.0  # per second, smoothed like the shares
    _sheds: float = 0.0
    _fills: float = 0.0
    _failures: float = 0.0

    def take(self, sample: Sample) -> Rates:
        """The rates with this sample in. One that is not later than the last changes nothing."""
        before, passed_s = self._before, sample.now_s - self._before.now_s
        if passed_s <= 0:
            return self.rates
        self._before = sample
        slow, quick, soon = (
            1 - math.exp(-passed_s / over_s) for over_s in (SMOOTH_S, _TROUBLE_S, _LAG_S)
        )

        def rate(now: int, then: int) -> float:
            return max(0, now - then) / passed_s

        busiest = max(
            (rate(*pair) / 1e6 for pair in zip(sample.cpu_us, before.cpu_us, strict=False)),
            default=0.0,
        )
        egress_bps = 8 * rate(sample.bytes_out, before.bytes_out)
        self._requests += quick * (rate(sample.requests, before.requests) - self._requests)
        self._sheds += quick * (rate(sample.sheds, before.sheds) - self._sheds)
        self._fills += quick * (rate(sample.fills, before.fills) - self._fills)
        self._failures += quick * (
            rate(sample.fill_failures, before.fill_failures) - self._failures
        )
        self.rates = Rates(
            self.rates.egress_bps + slow * (egress_bps - self.rates.egress_bps),
            self.rates.cpu_load + quick * (busiest - self.rates.cpu_load),
            _share(self._sheds, self._requests, MIN_REQUESTS),
            _share(self._failures, self._fills, MIN_FILLS),
            self.rates.lag_s + soon * (sample.lag_s - self.rates.lag_s),
        )
        return self.rates


def _share(part: float, whole: float, least: float) -> float:
    """The share of two rates, 0 when there were fewer than `least` in the smoothed window."""
    return min(1.0, part / whole) if whole * _TROUBLE_S >= least else 0.0

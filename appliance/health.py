"""Health: an appliance reports its own worst bottleneck. Pure; time is an argument.

Two kinds of trouble. A *load* is a share of what can be borne: `strained` from 0.8 on, and until
every load has been below 0.7 for a while. A *fault* is there or not. Neither makes steering look
elsewhere for less than HOLD_S, so that an appliance at the edge does not flap.

    state      from                                   until
    strained   a load ≥ 0.8, or a fault               all loads < 0.7 and no fault, for HOLD_S
    draining   an operator says so                    he says otherwise
    out        no worker, or every disk out,          workers and a disk, for HOLD_S (at once
               for OUT_AFTER_S (at boot: at once)      after boot)

`Health.load`, which steering compares with that of others, is the worst load; faults do not count
into it: an appliance whose store is away serves what it holds as well as ever.
"""

from dataclasses import dataclass

from media.fleet import HealthState

STRAINED_LOAD = 0.8
CALM_LOAD = 0.7
HOLD_S = 5.0
# A worker that dies is back within a second; steering need not plan around it.
OUT_AFTER_S = 1.5
_RANK: dict[HealthState, int] = {"serving": 0, "strained": 1, "draining": 2, "out": 3}

# What counts as all that can be borne, 1.0:
FULL_LAG_S = 0.25  # of the workers' loops: a tenth of the time-out that players are given
# That long a lag has to last before it makes the appliance full: for a moment it is no reason to
# send viewers far away. The appliance itself sheds at once.
LAG_LASTS_S = 5.0
FULL_SHED = 0.1  # share of requests refused for want of room
# As a load this is strained, and not full (steering: 0.95).
ALMOST_FULL = 0.94
# Share of fills that fail. Not a load, since it tells nothing about what is held.
FAILING_FILLS = 0.25
MENDED_FILLS = 0.1


@dataclass(frozen=True)
class Vitals:
    """What health is judged by. Loads and shares: 1.0 is all; `lag_s` is the worst worker's.
    `cpu_load` is the busiest worker's share of a core. `disk_trouble` says which cache folder is
    out of service and why; with `disks_out` all of them are."""

    egress_load: float = 0.0
    connection_load: float = 0.0
    cpu_load: float = 0.0
    lag_s: float = 0.0
    shed_share: float = 0.0
    fill_failure_share: float = 0.0
    store_away: bool = False
    disk_trouble: str = ""
    disks_out: bool = False
    workers_alive: int = 1
    draining: bool = False

    def loads(self) -> dict[str, float]:
        """Every load by its name."""
        return {
            "egress": self.egress_load,
            "connections": self.connection_load,
            # A core that is busy all the time may still serve everyone; that it does not, the lag
            # tells.
            "cpu": min(self.cpu_load, ALMOST_FULL),
            "loop lag": self.lag_s / FULL_LAG_S,
            "shedding": self.shed_share / FULL_SHED,
        }

    @property
    def pressure(self) -> float:
        """The worst load that shedding goes by: all but shedding itself, which would go on for its
        own sake once it had begun."""
        return max(load for name, load in self.loads().items() if name != "shedding")


@dataclass(frozen=True)
class Health:
    """The state, the bottleneck in words ("none" when serving), and the highest load."""

    state: HealthState
    bottleneck: str
    load: float


@dataclass
class HealthJudge:
    """Remembers what it needs to be steady. Calls come at any interval; time never goes back."""

    _fills_fail: bool = False
    _strained: str = ""  # the bottleneck while strained
    _well_since_s: float | None = None
    _out: bool = True
    _been_in: bool = False
    _turned_s: float | None = None  # since when `_out` contradicts what is seen
    _lags_since_s: float | None = None

    def judge(self, vitals: Vitals, now_s: float) -> Health:
        """The worst of all bottlenecks at `now_s`, in monotonic seconds."""
        loads = vitals.loads()
        loads["loop lag"] = self._lag(loads["loop lag"], now_s)
        name, load = max(loads.items(), key=lambda item: item[1])
        findings: list[tuple[HealthState, str]] = [("serving", "none")]
        strain = self._strain(vitals, name, load, now_s)
        if strain:
            findings.append(("strained", strain))
        if vitals.draining:
            findings.append(("draining", "an operator drains it"))
        gone = _gone(vitals)
        if self._is_out(bool(gone), now_s):
            findings.append(("out", gone or "it has only just come back"))
        state, bottleneck = max(findings, key=lambda finding: _RANK[finding[0]])
        return Health(state, bottleneck, load)

    def _strain(self, vitals: Vitals, name: str, load: float, now_s: float) -> str:
        """Why it is strained, or an empty string."""
        bar = MENDED_FILLS if self._fills_fail else FAILING_FILLS
        self._fills_fail = vitals.fill_failure_share >= bar
        fault = _fault(vitals, self._fills_fail)
        if load >= STRAINED_LOAD:
            self._strained, self._well_since_s = f"{name} at {load:.0%}", None
        elif fault:
            self._strained, self._well_since_s = fault, None
        elif load >= CALM_LOAD:
            self._well_since_s = None
        elif self._well_since_s is None:
            self._well_since_s = now_s
        if self._well_since_s is not None and now_s - self._well_since_s >= HOLD_S:
            self._strained = ""
        return self._strained

    def _lag(self, load: float, now_s: float) -> float:
        if load <= ALMOST_FULL:
            self._lags_since_s = None
        elif self._lags_since_s is None:
            self._lags_since_s = now_s
        lasts = self._lags_since_s is not None and now_s - self._lags_since_s >= LAG_LASTS_S
        return load if lasts else min(load, ALMOST_FULL)

    def _is_out(self, gone: bool, now_s: float) -> bool:
        if gone == self._out:
            self._turned_s = None
        elif not self._been_in:
            self._out, self._been_in = False, True  # the first worker after boot
        else:
            if self._turned_s is None:
                self._turned_s = now_s
            if now_s - self._turned_s >= (OUT_AFTER_S if gone else HOLD_S):
                self._out, self._turned_s = gone, None
        return self._out


def _gone(vitals: Vitals) -> str:
    if vitals.workers_alive == 0:
        return "no worker is alive"
    if vitals.disks_out:
        return vitals.disk_trouble or "no cache disk is in service"
    return ""


def _fault(vitals: Vitals, fills_fail: bool) -> str:
    if vitals.disk_trouble:
        return vitals.disk_trouble
    if vitals.store_away:
        return "the store does not answer"
    if fills_fail:
        return f"{vitals.fill_failure_share:.0%} of fills fail"
    return ""

"""Health: an appliance reports its own worst bottleneck. Pure."""

from dataclasses import dataclass

from media.fleet import HealthState

STRAINED_LOAD = 0.8
_RANK: dict[HealthState, int] = {"serving": 0, "strained": 1, "draining": 2, "out": 3}


@dataclass(frozen=True)
class Vitals:
    """What health is judged by. Loads are shares of what the appliance can bear."""

    egress_load: float
    connection_load: float
    disk_ok: bool
    workers_alive: int
    draining: bool
    disk_trouble: str = ""  # a cache folder is out of service: which, and why
    disks_out: bool = False  # all of them are


@dataclass(frozen=True)
class Health:
    """The state, the bottleneck in words, and the highest load."""

    state: HealthState
    bottleneck: str
    load: float


def judge(vitals: Vitals) -> Health:
    """The worst of all bottlenecks."""
    loads = {"egress": vitals.egress_load, "connections": vitals.connection_load}
    name, load = max(loads.items(), key=lambda item: item[1])
    findings: list[tuple[HealthState, str]] = [("serving", "none")]
    if load >= STRAINED_LOAD:
        findings.append(("strained", f"{name} at {load:.0%}"))
    if not vitals.disk_ok:
        findings.append(("strained", "the cache disk takes no writes"))
    if vitals.disk_trouble:
        findings.append(("out" if vitals.disks_out else "strained", vitals.disk_trouble))
    if vitals.draining:
        findings.append(("draining", "an operator drains it"))
    if vitals.workers_alive == 0:
        findings.append(("out", "no worker is alive"))
    state, bottleneck = max(findings, key=lambda finding: _RANK[finding[0]])
    return Health(state, bottleneck, load)

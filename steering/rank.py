"""Ranking: which appliances should serve this viewer. Pure.

An appliance is passed over for its health (H: silent, out, or with a wrong clock), because it is
draining (D), or because it is full (L). The others are ordered by one score, smaller is better,
in which each term outweighs all that follow:

1. nearness of the site: the viewer's own, its fallbacks, its region, then by distance;
2. content: holds the package whole, in part, not at all. It decides within a site only. An
   appliance fills what it lacks while it serves, once, and then all its viewers have it nearby;
   sending them far instead would repeat the long way for each of them;
3. crowding: above CALM_LOAD and 1.25 times the mean of its site (bounded-load hashing), or
   strained by its own account, goes behind its siblings;
4. rendezvous hashing of package and appliance, weighted by capacity, so that one title stays on
   the same appliances of a site, and few titles move when one joins or leaves.

Of that order the first `count` are chosen, one per host while there are enough hosts (players ban
hosts, not ports), and with at least one from another site where there is any. So C (content)
never costs a viewer a nearer appliance: it explains why one that lacks the package was left out
while `count` others, as near or nearer, hold it.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Literal
from urllib.parse import urlsplit

from media.fleet import HealthState, Pathway, RankAnswer, Skipped
from steering.places import Atlas, Nearness, Place

# A player with one pathway has nowhere to go when it fails.
MIN_PATHWAYS = 2
# Up to here there is nothing to even out, and a title that moved would only lose its warm cache.
CALM_LOAD = 0.5
BOUNDED_LOAD = 1.25
_LAST_RESORT = 1_000_000.0  # beyond any nearness: 10 × (200 + 20,038 km)

Code = Literal["H", "C", "D", "L"]


@dataclass(frozen=True)
class Candidate:
    """An appliance as ranking sees it. `held` is the share of the package on its disk, and `load`
    counts the viewers sent there since its report."""

    appliance_id: str
    site: str
    url: str
    state: HealthState
    bottleneck: str
    age_s: float
    clock_skew_s: float
    draining: bool
    load: float
    capacity_bps: int
    held: float


@dataclass(frozen=True)
class Asked:
    """Who wants what. `current` is where this viewer plays already: among equals it stays."""

    package_id: str
    place: Place
    count: int = 3
    current: str | None = None


@dataclass(frozen=True)
class Limits:
    """Beyond these an appliance gets no viewers."""

    report_timeout_s: float = 15.0
    clock_skew_s: float = 30.0
    full_load: float = 0.95


@dataclass(frozen=True)
class _Judged:
    candidate: Candidate
    nearness: Nearness
    full: bool
    score: float
    reasons: tuple[str, ...]

    @property
    def order(self) -> tuple[float, str]:
        return self.score, self.candidate.appliance_id

    @cached_property
    def host(self) -> str:
        return urlsplit(self.candidate.url).hostname or ""


def rank(asked: Asked, candidates: Iterable[Candidate], atlas: Atlas, limits: Limits) -> RankAnswer:
    """Pathways best first, each with its reasons, and who was passed over and why. No pathways
    when no appliance is fit. The order of `candidates` does not matter."""
    fit: list[Candidate] = []
    skipped: list[Skipped] = []
    for candidate in candidates:
        refused = refusal(candidate, limits)
        if refused is None:
            fit.append(candidate)
        else:
            skipped.append(_skip(candidate, *refused))
    judged = _judge_all(asked, fit, atlas, limits)
    free = [one for one in judged if not one.full]
    full = [one for one in judged if one.full]
    # A full appliance is better than none: it admits what it can, and the player has a choice.
    spared = max(0, min(MIN_PATHWAYS, asked.count) - len(free))
    chosen = _choose(free + full[:spared], asked.count)
    skipped += [
        _skip(one.candidate, "L", f"load {one.candidate.load:.2f}") for one in full[spared:]
    ]
    skipped += _lacking(free, chosen, asked.count)
    return RankAnswer(
        region=asked.place.region,
        site=asked.place.site,
        pathways=tuple(_pathway(one, atlas) for one in chosen),
        skipped=tuple(sorted(skipped, key=lambda one: one.appliance_id)),
    )


def refusal(candidate: Candidate, limits: Limits) -> tuple[Code, str] | None:
    """Code and reason when the appliance may not get viewers at all, else None."""
    if candidate.age_s > limits.report_timeout_s:
        return "H", f"silent for {candidate.age_s:.0f} s"
    if candidate.state == "out":
        return "H", f"out of service: {candidate.bottleneck}"
    if abs(candidate.clock_skew_s) > limits.clock_skew_s:
        return "H", f"clock is {candidate.clock_skew_s:+.0f} s off"
    if candidate.draining or candidate.state == "draining":
        return "D", "takes no new viewers"
    return None


def _judge_all(
    asked: Asked, fit: Sequence[Candidate], atlas: Atlas, limits: Limits
) -> list[_Judged]:
    """Everyone with a score, best first."""
    loads: dict[str, list[float]] = {}
    for candidate in fit:
        loads.setdefault(candidate.site, []).append(candidate.load)
    bounds = {
        site: max(CALM_LOAD, BOUNDED_LOAD * math.fsum(each) / len(each))
        for site, each in loads.items()
    }
    judged = [
        _judge(asked, one, atlas.nearness(asked.place, one.site), bounds[one.site], limits)
        for one in fit
    ]
    return sorted(judged, key=lambda one: one.order)


def _judge(
    asked: Asked, candidate: Candidate, nearness: Nearness, load_bound: float, limits: Limits
) -> _Judged:
    stays = candidate.appliance_id == asked.current
    full = candidate.load >= limits.full_load
    content, content_why = _content(candidate.held)
    strained = candidate.state == "strained"
    crowded = (strained or candidate.load > load_bound) and not stays
    reasons = [nearness.why, content_why, f"load {candidate.load:.2f}"]
    if stays:
        reasons.append("plays here already")
    if crowded:
        reasons.append(f"strained: {candidate.bottleneck}" if strained else "busier than its site")
    if full:
        reasons.append("full, but nothing is freer")
    spread = 0.0 if stays else _spread(asked.package_id, candidate)
    score = _LAST_RESORT * full + 10 * nearness.steps + 2 * content + crowded + spread
    return _Judged(candidate, nearness, full, score, tuple(reasons))


def _content(held: float) -> tuple[int, str]:
    if held >= 1:
        return 0, "holds it"
    return (1, f"holds {held:.0%}") if held > 0 else (2, "has to fetch it")


def _spread(package_id: str, candidate: Candidate) -> float:
    """Weighted rendezvous hashing, in [0, 1): -ln(u) / capacity makes each appliance the first with
    a chance in proportion to its capacity."""
    text = f"{package_id}\0{candidate.appliance_id}".encode()
    number = int.from_bytes(blake2b(text, digest_size=8).digest(), "big")
    cost = -math.log((number + 0.5) / 2**64) * 1e9 / candidate.capacity_bps
    return cost / (1 + cost)


def _choose(ordered: Sequence[_Judged], count: int) -> list[_Judged]:
    """The first `count`, hosts all different while that is possible, and the last of them from
    another site when all would stand in one."""
    hosts: set[str] = set()
    firsts: list[_Judged] = []
    repeats: list[_Judged] = []
    for one in ordered:
        (repeats if one.host in hosts else firsts).append(one)
        hosts.add(one.host)
    line = firsts + repeats
    chosen = line[:count]
    if len(chosen) >= MIN_PATHWAYS and len({one.candidate.site for one in chosen}) == 1:
        kept = {one.host for one in chosen[:-1]}
        site = chosen[0].candidate.site
        for other in line[count:]:
            if other.candidate.site != site and other.host not in kept:
                chosen[-1] = other
                break
    return sorted(chosen, key=lambda one: one.order)


def _lacking(free: Sequence[_Judged], chosen: Sequence[_Judged], count: int) -> list[Skipped]:
    """Those left out that hold nothing of the package while `count` others as near hold it."""
    holders = sorted(one.nearness.steps for one in free if one.candidate.held >= 1)
    taken = {one.candidate.appliance_id for one in chosen}
    skipped = []
    for one in free:
        if one.candidate.appliance_id in taken or one.candidate.held > 0:
            continue
        as_near = bisect_right(holders, one.nearness.steps)
        if as_near >= count:
            skipped.append(_skip(one.candidate, "C", f"lacks it; {as_near} as near hold it"))
    return skipped


def _pathway(one: _Judged, atlas: Atlas) -> Pathway:
    return Pathway(
        appliance_id=one.candidate.appliance_id,
        site=one.candidate.site,
        region=atlas.sites[one.candidate.site].region,
        url=one.candidate.url,
        score=round(one.score, 6),
        reasons=one.reasons,
    )


def _skip(candidate: Candidate, code: Code, why: str) -> Skipped:
    return Skipped(appliance_id=candidate.appliance_id, code=code, why=why)

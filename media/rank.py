"""Ranking: which appliances should serve this viewer. Pure.

An appliance is passed over for its health (H: silent, out, failing, or with a wrong clock), because
it is draining (D), or because it is full, or just back and not yet for this viewer (L). Of the
viewers of one that is more than full as many leave as are too many, those who starve first. The
others are ordered by one score, smaller is better, in which each term outweighs all that follow:

1. nearness of the site: the viewer's own, its fallbacks, its region, then by distance. Of sites
   that are equally near one that holds the package comes first, and then each title has an order of
   its own;
2. content: holds the package whole, in part, not at all. It decides within a site only. An
   appliance fills what it lacks while it serves, once, and then all its viewers have it nearby;
   sending them far instead would repeat the long way for each of them;
3. crowding: above CALM_LOAD and 1.25 times the mean of its site (bounded-load hashing), strained by
   its own account, or suspected by players: it goes behind its siblings;
4. rendezvous hashing of package and appliance, weighted by capacity, so that one title stays on
   the same appliances of a site, and few titles move when one joins or leaves.

Of that order the first `count` are chosen, one per host while there are enough hosts (players ban
hosts, not ports), and with at least one from another site where there is any. So C (content)
never costs a viewer a nearer appliance: it explains why one that lacks the package was left out
while `count` others, as near or nearer, hold it.

Sites are visited from the nearest on, until those behind can change nothing: a fleet of a thousand
costs what the viewer's own corner of it does.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from operator import itemgetter
from typing import Any, Literal, NamedTuple, Protocol
from urllib.parse import urlsplit

from media.fleet import HealthState, Pathway, RankAnswer
from media.places import Atlas, Nearness, Place, Ring

# A player with one pathway has nowhere to go when it fails.
MIN_PATHWAYS = 2
# Up to here there is nothing to even out, and a title that moved would only lose its warm cache.
CALM_LOAD = 0.5
BOUNDED_LOAD = 1.25
# Of fewer appliances that fall silent nobody can say that it is us who do not hear them.
LEAST_TO_DOUBT_US = 4
_BEHIND_ALL = 1_000_000.0  # beyond any nearness: 10 × (200 + 20,038 km)
# The pathway behind all appliances; no appliance may have this name.
LAST_RESORT = "last-resort"

Code = Literal["H", "C", "D", "L"]


class Candidate(NamedTuple):
    """An appliance as ranking sees it, whoever asks for whatever. `load` counts the viewers sent
    there since its report, and `admits` is the share of viewers that one takes which is just back.
    `failing`: players leave it, and a probe confirms it; `suspected`: they leave it, and the probe
    finds nothing."""

    appliance_id: str
    site: str
    url: str
    host: str
    state: HealthState
    bottleneck: str
    age_s: float
    clock_skew_s: float
    draining: bool
    load: float
    capacity_bps: int
    admits: float = 1.0
    suspected: bool = False
    failing: bool = False


class Standing(NamedTuple):
    """How a candidate stands among those of its site: `refused` with code and reason, or why it is
    `full` or goes behind its siblings (`crowded`), each empty if it is not. `keeps` is the share of
    its own viewers that it can bear."""

    candidate: Candidate
    refused: tuple[Code, str] | None = None
    full: str = ""
    crowded: str = ""
    keeps: float = 1.0


class Fleet(Protocol):
    """The appliances, as far as they are asked about, and what they hold of the package asked
    for."""

    def at(self, site: str, /) -> Sequence[Standing]:
        """Those of a site (`standings`)."""

    def held(self, appliance_id: str, /) -> float:
        """The share of the package on its disk."""

    def holds(self, site: str, /) -> bool:
        """One of the site holds the package whole."""


class Asked(NamedTuple):
    """Who wants what. `current` is where this viewer plays already: among equals it stays. One
    that plays badly (`starving`) is not sent to an appliance that is just back. Of the `network` it
    may be known that a site is slow there (`demoted`). `only` these were offered, if not all."""

    package_id: str
    place: Place
    wanted: int = 3
    current: str | None = None
    starving: bool = False
    only: tuple[str, ...] | None = None
    session_id: str = ""
    network: str = ""


@dataclass(frozen=True)
class Limits:
    """Beyond these an appliance gets no viewers. `blind`: so much of the fleet has fallen silent at
    once that silence says nothing of an appliance."""

    report_timeout_s: float = 15.0
    clock_skew_s: float = 30.0
    full_load: float = 0.95
    blind: bool = False


def rank(
    asked: Asked,
    fleet: Fleet,
    atlas: Atlas,
    *,
    rings: Sequence[Ring] | None = None,
    thorough: bool = False,
) -> RankAnswer:
    """Pathways best first, each with its reasons, and who was passed over before the last of them,
    and why; of the whole fleet, if `thorough`. `rings` are the sites to look at, if not all
    (`Atlas.rings`). No pathways when no appliance is fit. The order within a site does not
    matter."""
    found = _decide(asked, fleet, atlas.rings(asked.place) if rings is None else rings, thorough)
    skipped = [_skip(one.candidate, *one.refused) for one in found.refused if one.refused]
    skipped += [_skip(one.candidate, "L", one.full) for one in found.full]
    skipped += _lacking(found.free, found.chosen, asked.wanted)
    skipped.sort(key=itemgetter("appliance_id"))
    return RankAnswer.model_validate(  # all at once: models one by one take twice as long
        {
            "region": asked.place.region,
            "site": asked.place.site,
            "pathways": tuple(_pathway(one, atlas, asked) for one in found.chosen),
            "skipped": tuple(skipped),
        }
    )


def order(asked: Asked, fleet: Fleet, rings: Sequence[Ring]) -> tuple[str, ...]:
    """The ids of what `rank` answers, for those who need no reasons: at a third of the cost."""
    return tuple(one.appliance_id for one in _decide(asked, fleet, rings).chosen)


def personal(standing: Standing) -> bool:
    """Whether it stands differently with one viewer than with another who asks for the same."""
    return standing.candidate.admits < 1 or standing.full != ""


def with_last_resort(answer: RankAnswer, url: str) -> RankAnswer:
    """The answer with one pathway more, behind all appliances, if there is an address for it: where
    none is fit, it stands alone."""
    if not url:
        return answer
    behind = Pathway(
        appliance_id=LAST_RESORT,
        site=LAST_RESORT,
        region=answer.region,
        url=url,
        score=2 * _BEHIND_ALL,
        reasons=("behind all appliances",),
    )
    return answer.model_copy(update={"pathways": (*answer.pathways, behind)})


def standings(group: Sequence[Candidate], limits: Limits) -> tuple[Standing, ...]:
    """How those of a site stand. This is the same for all who ask within a moment, so it need not
    be found out for each of them."""
    blind = limits.blind
    if not blind and len(group) >= LEAST_TO_DOUBT_US:
        blind = vanished((one.age_s for one in group), limits.report_timeout_s)
    refusals = [refusal(candidate, limits, blind=blind) for candidate in group]
    loads = [one.load for one, refused in zip(group, refusals, strict=True) if refused is None]
    bound = max(CALM_LOAD, BOUNDED_LOAD * math.fsum(loads) / len(loads)) if loads else 0.0
    return tuple(
        Standing(candidate, refused)
        if refused is not None
        else Standing(
            candidate,
            full=f"load {candidate.load:.2f}" if candidate.load >= limits.full_load else "",
            crowded=_crowded(candidate, bound, limits),
            keeps=min(1.0, limits.full_load / max(candidate.load, 1e-9)),
        )
        for candidate, refused in zip(group, refusals, strict=True)
    )


def refusal(
    candidate: Candidate, limits: Limits, *, blind: bool = False
) -> tuple[Code, str] | None:
    """Code and reason when the appliance may not get viewers at all, else None. When we are
    `blind`, silence is no reason."""
    if candidate.failing:
        return "H", "players leave it, and it does not answer"
    if candidate.age_s > limits.report_timeout_s and not blind:
        return "H", f"silent for {candidate.age_s:.0f} s"
    if candidate.state == "out":
        return "H", f"out of service: {candidate.bottleneck}"
    if abs(candidate.clock_skew_s) > limits.clock_skew_s:
        return "H", f"clock is {candidate.clock_skew_s:+.0f} s off"
    if candidate.draining or candidate.state == "draining":
        return "D", "takes no new viewers"
    return None


def demoted(rings: Sequence[Ring], slow: Mapping[str, str]) -> tuple[Ring, ...]:
    """The rings with each slow site right behind the one that is faster, if it stood in front of
    it."""
    if not slow:
        return tuple(rings)
    steps = {site: nearness.steps for nearness, sites in rings for site in sites}
    moved: dict[str, list[str]] = {}
    for site, faster in slow.items():
        if site in steps and faster in steps and steps[site] <= steps[faster]:
            moved.setdefault(faster, []).append(site)
    away = {site for sites in moved.values() for site in sites}
    ordered: list[Ring] = []
    for nearness, sites in rings:
        kept = tuple(site for site in sites if site not in away)
        if kept:
            ordered.append((nearness, kept))
        for faster in sites:
            if faster in moved:
                why = f"nearer, but {faster} is faster from there"
                ordered.append((Nearness(nearness.steps + 0.5, why), tuple(sorted(moved[faster]))))
    return tuple(ordered)


def vanished(ages_s: Iterable[float], report_timeout_s: float) -> bool:
    """More than half of those that were there have fallen silent at once: it is likelier that we do
    not hear them than that all of them are dead, and viewers who were sent away from them all
    would bring down the rest."""
    ages = sorted(ages_s)
    heard = bisect_right(ages, report_timeout_s)
    if heard == len(ages):
        return False
    # Together with the latest to fall silent; who was so long before does not count at all.
    together = bisect_right(ages, ages[heard] + report_timeout_s) - heard
    return together > heard and heard + together >= LEAST_TO_DOUBT_US


class _Judged(NamedTuple):
    """A candidate that is fit, for one viewer. They sort by score, and then by id."""

    score: float
    appliance_id: str
    candidate: Candidate
    nearness: Nearness
    held: float
    full: str
    crowded: str


class _Decision(NamedTuple):
    chosen: list[_Judged]
    free: list[_Judged]  # those chosen among them
    full: list[_Judged]  # without those
    refused: list[Standing]


class _Slot(NamedTuple):
    """A site's place: how near, and the how-manieth of those that are equally near, each of which
    has this `share` of a step."""

    nearness: Nearness
    number: int
    share: float


def _decide(asked: Asked, fleet: Fleet, rings: Iterable[Ring], thorough: bool = False) -> _Decision:
    only, count = asked.only, asked.wanted
    free: list[_Judged] = []
    full: list[_Judged] = []
    refused: list[Standing] = []
    sites = 0  # that have somebody to send viewers to
    for slot, site in _visits(asked, fleet, rings):
        before = len(free)
        for standing in fleet.at(site):
            if only is not None and standing.candidate.appliance_id not in only:
                continue
            if standing.refused is not None:
                refused.append(standing)
                continue
            one = _judge(asked, fleet, standing, slot)
            (full if one.full else free).append(one)
        sites += len(free) > before
        if thorough or len(free) < count or (sites < 2 and count >= MIN_PATHWAYS):
            continue
        chosen = _choose(free, count)
        if _settled(chosen, count):
            return _Decision(chosen, free, full, refused)
    # A full appliance is better than none: it admits what it can, and the player has a choice.
    spared = max(0, min(MIN_PATHWAYS, count) - len(free))
    full.sort()
    return _Decision(_choose(free + full[:spared], count), free, full[spared:], refused)


def _visits(asked: Asked, fleet: Fleet, rings: Iterable[Ring]) -> Iterator[tuple[_Slot, str]]:
    """Every site, the nearest first. Of equally near ones those that hold the package, and then
    each title has an order of its own."""

    def spread(line: list[str]) -> Iterable[str]:
        return sorted(line, key=lambda site: _chance(asked.package_id, site))

    for nearness, sites in rings:
        if len(sites) == 1:
            yield _Slot(nearness, 0, 1.0), sites[0]
            continue
        share, number = 1 / len(sites), 0
        holders = [site for site in sites if fleet.holds(site)]
        for site in spread(holders):
            yield _Slot(nearness, number, share), site
            number += 1
        for site in spread([site for site in sites if site not in holders]):
            yield _Slot(nearness, number, share), site
            number += 1


def _judge(asked: Asked, fleet: Fleet, standing: Standing, slot: _Slot) -> _Judged:
    """One that is fit."""
    candidate, _, full, crowded, keeps = standing
    appliance_id = candidate.appliance_id
    held = fleet.held(appliance_id)
    within: float = 10 * slot.number + (0 if held >= 1 else 2 if held > 0 else 4)
    if appliance_id == asked.current:
        crowded = ""
        if full and not asked.starving and _chance(asked.session_id, appliance_id) < keeps:
            full = ""
    else:
        if candidate.admits < 1:
            full = full or _not_yet(asked, candidate)
        within += (crowded != "") + spread(
            asked.package_id, candidate.appliance_id, candidate.capacity_bps
        )
    score = 10 * slot.nearness.steps + slot.share * within
    if full:
        score += _BEHIND_ALL
    return _Judged(score, appliance_id, candidate, slot.nearness, held, full, crowded)


def _not_yet(asked: Asked, candidate: Candidate) -> str:
    """Why one that is just back is not for this viewer, if it is not."""
    share = candidate.admits
    chance = _chance(asked.session_id, candidate.appliance_id)
    return f"just back, for {share:.0%} of viewers" if asked.starving or chance >= share else ""


def _crowded(candidate: Candidate, bound: float, limits: Limits) -> str:
    """Why it goes behind its siblings, if it does."""
    if candidate.state == "strained":
        return f"strained: {candidate.bottleneck}"
    if candidate.age_s > limits.report_timeout_s:
        return f"silent for {candidate.age_s:.0f} s, as most around it"
    if candidate.suspected:
        return "players leave it"
    return "busier than its site" if candidate.load > bound else ""


def spread(package_id: str, appliance_id: str, weight: float) -> float:
    """Weighted rendezvous hashing, in [0, 1): -ln(u) / weight makes each appliance the first, the
    one with the smallest, with a chance in proportion to its weight. Ranking weighs capacity in
    bits a second."""
    cost = -math.log(_chance(package_id, appliance_id)) * 1e9 / weight
    return cost / (1 + cost)


def _chance(one: str, other: str) -> float:
    """Of a pair, always the same: above 0 and below 1."""
    digest = blake2b(f"{one}\0{other}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") + 0.5) / 2**64


def chances(many: Iterable[str], other: str) -> bytes:
    """The digests that `_chance` reads, of each with the other, in 8 bytes each: for those who
    spread a whole catalog, in a third of the time."""
    end = f"\0{other}".encode()
    return b"".join([blake2b(one.encode() + end, digest_size=8).digest() for one in many])


def _choose(line: Sequence[_Judged], count: int) -> list[_Judged]:
    """The first `count`, hosts all different while that is possible, and the last of them from
    another site when all would stand in one."""
    hosts: set[str] = set()
    chosen: list[_Judged] = []
    repeats: list[_Judged] = []
    line = sorted(line)
    for one in line:
        host = one.candidate.host
        if host in hosts:
            repeats.append(one)
            continue
        chosen.append(one)
        hosts.add(host)
        if len(chosen) == count:
            break
    chosen += repeats[: count - len(chosen)]
    if len(chosen) >= MIN_PATHWAYS and len({one.candidate.site for one in chosen}) == 1:
        kept = {one.candidate.host for one in chosen[:-1]}
        site = chosen[0].candidate.site
        for other in line:
            if other.candidate.site != site and other.candidate.host not in kept:
                chosen[-1] = other
                break
    return sorted(chosen)


def _settled(chosen: Sequence[_Judged], count: int) -> bool:
    """Whoever stands farther off changes nothing of this choice."""
    return len({one.candidate.host for one in chosen}) >= count and (
        count < MIN_PATHWAYS or len({one.candidate.site for one in chosen}) > 1
    )


def _lacking(
    free: Sequence[_Judged], chosen: Sequence[_Judged], count: int
) -> list[dict[str, Any]]:
    """Those left out that hold nothing of the package while `count` others as near hold it."""
    holders = sorted([one.nearness.steps for one in free if one.held >= 1])
    if len(holders) < count:
        return []
    taken = {one.appliance_id for one in chosen}
    skipped = []
    for one in free:
        if one.appliance_id in taken or one.held > 0:
            continue
        as_near = bisect_right(holders, one.nearness.steps)
        if as_near >= count:
            skipped.append(_skip(one.candidate, "C", f"lacks it; {as_near} as near hold it"))
    return skipped


def _pathway(one: _Judged, atlas: Atlas, asked: Asked) -> dict[str, Any]:
    candidate = one.candidate
    reasons = [one.nearness.why, _content(one.held), f"load {candidate.load:.2f}"]
    if candidate.appliance_id == asked.current:
        reasons.append("plays here already")
    if one.crowded:
        reasons.append(one.crowded)
    if one.full:
        reasons.append(f"{one.full}, but nothing is freer")
    return {
        "appliance_id": candidate.appliance_id,
        "site": candidate.site,
        "region": atlas.sites[candidate.site].region,
        "url": candidate.url,
        "score": round(one.score, 6),
        "reasons": tuple(reasons),
    }


def _content(held: float) -> str:
    if held >= 1:
        return "holds it"
    return f"holds {held:.0%}" if held > 0 else "has to fetch it"


def _skip(candidate: Candidate, code: Code, why: str) -> dict[str, Any]:
    return {"appliance_id": candidate.appliance_id, "code": code, "why": why}


def host_of(url: str) -> str:
    """Where an appliance is, as players ban it."""
    return urlsplit(url).hostname or ""

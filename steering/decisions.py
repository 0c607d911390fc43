"""The decision log: what steering was asked, what it looked at, and what it said; and the same
decisions again, with a change.

A line of JSON for each decision, with every appliance that was looked at as it was then. Now and
then a line has the whole fleet, for a replay may have to look farther; and the first line of a file
has the map. Sessions are named by their ids, viewers by their networks alone.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from media.fleet import RankAnswer
from media.places import Atlas, Geography, Place
from media.rank import Asked, Candidate, Fleet, Limits, Standing, demoted, rank, standings

_FIELDS = Candidate._fields


class Seen:
    """A fleet that remembers whom it was asked about."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._at: dict[str, Sequence[Standing]] = {}
        self.shares: dict[str, float] = {}
        self.holding: dict[str, bool] = {}

    @property
    def candidates(self) -> list[Candidate]:
        """All that were looked at."""
        return [standing.candidate for group in self._at.values() for standing in group]

    def at(self, site: str) -> Sequence[Standing]:
        """See `Fleet`."""
        self._at[site] = group = self._fleet.at(site)
        return group

    def held(self, appliance_id: str) -> float:
        """See `Fleet`."""
        self.shares[appliance_id] = share = self._fleet.held(appliance_id)
        return share

    def holds(self, site: str) -> bool:
        """See `Fleet`."""
        self.holding[site] = held = self._fleet.holds(site)
        return held


def map_line(geography: Geography, session_bps: int, limits: Limits) -> str:
    """The first line of a file. Networks are left out: each decision says where its viewer was."""
    bare = geography.model_copy(
        update={
            "routes": (),
            "sites": tuple(s.model_copy(update={"networks": ()}) for s in geography.sites),
        }
    )
    return _line("map", 0.0, map=bare.model_dump(mode="json"), session_bps=session_bps,
                 limits=limits.__dict__)  # fmt: skip


def fleet_line(now_s: float, candidates: Iterable[Candidate]) -> str:
    """The whole fleet, as it is now; nothing of what it holds."""
    return _line("fleet", now_s, fleet=[list(one) for one in candidates])


def decision_line(
    now_s: float,
    asked: Asked,
    seen: Seen,
    answer: RankAnswer,
    *,
    slow: Mapping[str, str],
    blind: bool,
) -> str:
    """One decision."""
    return _line(
        "decision",
        now_s,
        session=asked.session_id,
        package=asked.package_id,
        place=[asked.place.region, asked.place.site, list(asked.place.others)],
        network=asked.network,
        count=asked.wanted,
        current=asked.current,
        starving=asked.starving,
        only=None if asked.only is None else list(asked.only),
        slow=dict(slow),
        blind=blind,
        seen=[list(one) for one in seen.candidates],
        held={one: share for one, share in seen.shares.items() if share > 0},
        holding=[site for site, held in seen.holding.items() if held],
        chosen=[pathway.appliance_id for pathway in answer.pathways],
        skipped={one.appliance_id: one.code for one in answer.skipped},
    )


def _line(kind: str, now_s: float, **fields: Any) -> str:
    return json.dumps({"kind": kind, "at": round(now_s, 3)} | fields, separators=(",", ":"))


# Again.


class Share(NamedTuple):
    """How many decisions sent their viewer here first: then, and in the replay."""

    then: int
    now: int


@dataclass
class Replay:
    """What would have happened. `moved` went first to another appliance than then, `stranded` had
    none; `farther` of the moved went to another site. `most_load` is the highest load that moved
    viewers brought an appliance to."""

    decisions: int = 0
    same: int = 0
    moved: int = 0
    farther: int = 0
    stranded: int = 0
    without: tuple[str, ...] = ()
    by_appliance: dict[str, Share] = field(default_factory=dict)
    most_load: dict[str, float] = field(default_factory=dict)


def replay(lines: Iterable[str], without: Sequence[str] = ()) -> Replay:
    """All decisions of a log once more, as if these appliances had been silent. Raises ValueError,
    which names the line, for what is no such log."""
    found = Replay(without=tuple(without))
    then: Counter[str] = Counter()
    now: Counter[str] = Counter()
    again: _Again | None = None
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
            if line["kind"] == "map":
                again = _Again(line, without)
            elif again is None:
                raise ValueError("a log begins with a map")
            elif line["kind"] == "fleet":
                again.fleet = [_candidate(one) for one in line["fleet"]]
            else:
                before, answer = again.decide(line)
                _count(found, again, line, before, answer, then, now)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(f"line {number} is none of a decision log: {error}") from None
    for name in sorted(then | now):
        found.by_appliance[name] = Share(then[name], now[name])
    return found


class _Again:
    """One file's map and fleet, and where moved sessions are."""

    def __init__(self, line: Mapping[str, Any], without: Sequence[str]) -> None:
        self.atlas: Atlas = Geography.model_validate(line["map"]).atlas()
        self.fleet: list[Candidate] = []
        self.brought: Counter[str] = Counter()  # sessions that moved there, less those that left
        self._session_bps = int(line["session_bps"])
        self._limits = Limits(**line["limits"])
        self._without = frozenset(without)
        self._moved: dict[str, tuple[str, str]] = {}

    def decide(self, line: Mapping[str, Any]) -> tuple[str | None, RankAnswer]:
        """Where the viewer went first then, and the answer of now."""
        region, site, others = line["place"]
        place = Place(region, site, tuple(others))
        asked = Asked(
            line["package"],
            place,
            line["count"],
            line["current"],
            line["starving"],
            None if line["only"] is None else tuple(line["only"]),
            line["session"],
            line["network"],
        )
        by_id = {one.appliance_id: one for one in self.fleet}
        by_id |= {one[0]: _candidate(one) for one in line["seen"]}
        fleet = _Paper(
            map(self._changed, by_id.values()),
            line["held"],
            frozenset(line["holding"]),
            replace(self._limits, blind=line["blind"]),
        )
        sites = None
        if asked.only is not None:
            sites = tuple(sorted({by_id[one].site for one in asked.only if one in by_id}))
        rings = demoted(self.atlas.rings(place, sites), line["slow"])
        answer = rank(asked, fleet, self.atlas, rings=rings)
        before = line["chosen"][0] if line["chosen"] else None
        first = answer.pathways[0].appliance_id if answer.pathways else None
        self._note(line["session"], before, first)
        return before, answer

    def load(self, appliance_id: str) -> float | None:
        """Of an appliance of the fleet, with those who moved there."""
        for one in self.fleet:
            if one.appliance_id == appliance_id:
                return self._changed(one).load
        return None

    def _note(self, session: str, before: str | None, first: str | None) -> None:
        if not session:
            return
        was = self._moved.pop(session, None)
        if was is not None:
            self.brought[was[1]] -= 1
            self.brought[was[0]] += 1
        if before is not None and first is not None and before != first:
            self._moved[session] = before, first
            self.brought[first] += 1
            self.brought[before] -= 1

    def _changed(self, one: Candidate) -> Candidate:
        if one.appliance_id in self._without:
            return one._replace(age_s=float("inf"), failing=True)
        more = self.brought[one.appliance_id] * self._session_bps / one.capacity_bps
        return one._replace(load=max(0.0, one.load + more)) if more else one


class _Paper:
    def __init__(
        self,
        candidates: Iterable[Candidate],
        held: Mapping[str, float],
        holding: frozenset[str],
        limits: Limits,
    ) -> None:
        self._sites: dict[str, list[Candidate]] = {}
        for one in candidates:
            self._sites.setdefault(one.site, []).append(one)
        self._held = held
        self._holding = holding
        self._limits = limits

    def at(self, site: str) -> tuple[Standing, ...]:
        return standings(self._sites.get(site, ()), self._limits)

    def held(self, appliance_id: str) -> float:
        return self._held.get(appliance_id, 0.0)

    def holds(self, site: str) -> bool:
        return site in self._holding


def _candidate(values: Sequence[Any]) -> Candidate:
    if len(values) != len(_FIELDS):
        raise ValueError("an appliance has other figures")
    return Candidate(*values)


def _count(
    found: Replay,
    again: _Again,
    line: Mapping[str, Any],
    before: str | None,
    answer: RankAnswer,
    then: Counter[str],
    now: Counter[str],
) -> None:
    found.decisions += 1
    chosen = [pathway.appliance_id for pathway in answer.pathways]
    found.same += chosen == line["chosen"]
    if before is not None:
        then[before] += 1
    if not chosen:
        found.stranded += before is not None
        return
    now[chosen[0]] += 1
    if chosen[0] == before:
        return
    found.moved += 1
    sites = {one[0]: one[1] for one in line["seen"]}
    found.farther += answer.pathways[0].site != sites.get(before)
    load = again.load(chosen[0])
    if load is not None:
        found.most_load[chosen[0]] = round(max(found.most_load.get(chosen[0], 0.0), load), 3)


def read_log(paths: Iterable[Path]) -> Iterator[str]:
    """The lines of the files, one after the other. Raises OSError."""
    for path in paths:
        with path.open(encoding="utf-8", errors="replace") as file:
            yield from file

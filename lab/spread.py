"""One busy site on paper: viewers come and go, steering sends each of them somewhere, and its very
own decisions are what is looked at. Pure, and seeded.

Titles are wanted by Zipf's law, sessions last exponentially long, appliances report their load
every few seconds, and between reports steering counts whom it has sent (`steering.roster`).
"""

import heapq
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate
from statistics import fmean

from media.fleet import RankAnswer, Report
from media.ids import id_from
from media.places import Atlas, Region, Site
from media.rank import Asked, Limits, rank
from steering.roster import Fleet, RosterBook

_BEGIN_S = 1_800_000_000.0
_REPORT_S = 5.0
_SESSION_BPS = 5_000_000
_HERE = Site(id="here", region="r")
ATLAS = Atlas([Region(id="r", name="R", latitude=0, longitude=0)], [_HERE])
_PLACE = ATLAS.place_of_site("here")
_LIMITS = Limits()


@dataclass(frozen=True)
class Load:
    """Who comes. `share` of the site's capacity is used when it is in balance."""

    appliances: int = 20
    capacity_bps: int = 1_000_000_000
    share: float = 0.7
    titles: int = 2000
    zipf: float = 1.0
    session_s: float = 600.0
    warm_s: float = 1200.0
    run_s: float = 1200.0
    seed: int = 1


@dataclass
class Spread:
    """What came of it: `hottest` is the load of the busiest appliance by the mean, on average over
    the reports; `at_home` the share of sessions for titles under 1 % of all that went to one of the
    title's first two appliances."""

    hottest: float
    at_home: float
    sessions: int
    homes: dict[str, str] = field(default_factory=dict)


def package(number: int) -> str:
    """The package of the title with this number."""
    return id_from("pkg", 1_700_000_000_000 + number, number)


def crowded(load: Load) -> Spread:
    """A run at this load."""
    dice = random.Random(load.seed)
    weights = [1 / (n + 1) ** load.zipf for n in range(load.titles)]
    total, sums = sum(weights), list(accumulate(weights))
    names = [f"a{n}" for n in range(load.appliances)]
    roster = _roster(names, load)
    homes = [set(_first(roster, n, 2)) for n in range(load.titles)]
    playing: Counter[str] = Counter()
    ends: list[tuple[float, str]] = []
    sessions = load.share * load.appliances * load.capacity_bps / _SESSION_BPS
    now_s, next_s, number, small, at_home = 0.0, 0.0, 0, 0, 0
    hottest: list[float] = []
    while now_s < load.warm_s + load.run_s:
        now_s += dice.expovariate(sessions / load.session_s)
        while ends and ends[0][0] <= now_s:
            playing[heapq.heappop(ends)[1]] -= 1
        while next_s <= now_s:
            if next_s >= load.warm_s:
                loads = [playing[name] for name in names]
                hottest.append(max(loads) / fmean(loads))
            _report(roster, names, load, next_s, playing)
            next_s += _REPORT_S
        title = dice.choices(range(load.titles), cum_weights=sums)[0]
        answer = _ask(roster, title, now_s, f"ses_{number}")
        chosen = answer.pathways[0].appliance_id
        roster.assign(chosen, f"ses_{number}")
        number += 1
        playing[chosen] += 1
        heapq.heappush(ends, (now_s + dice.expovariate(1 / load.session_s), chosen))
        if now_s >= load.warm_s and weights[title] / total < 0.01:
            small += 1
            at_home += chosen in homes[title]
    return Spread(fmean(hottest), at_home / small, number)


def moved(load: Load) -> float:
    """The share of sessions that play elsewhere when one appliance leaves and all are asked again,
    by the share that it had to carry: 1.0 is fair."""
    dice = random.Random(load.seed)
    weights = [1 / (n + 1) ** load.zipf for n in range(load.titles)]
    names = [f"a{n}" for n in range(load.appliances)]
    titles = dice.choices(range(load.titles), weights, k=load.appliances * 100)
    roster = _roster(names, load)
    playing: Counter[str] = Counter()
    before = []
    for number, title in enumerate(titles):
        if number % load.appliances == 0:
            _report(roster, names, load, number / load.appliances, playing)
        chosen = _ask(roster, title, number / load.appliances, f"ses_{number}").pathways[0]
        roster.assign(chosen.appliance_id, f"ses_{number}")
        playing[chosen.appliance_id] += 1
        before.append(chosen.appliance_id)
    now_s = len(titles) / load.appliances
    _report(roster, names, load, now_s, playing)
    gone = names[dice.randrange(len(names))]
    after = [
        _ask(roster, title, now_s, f"ses_{number}", current=here, draining={gone})
        for number, (title, here) in enumerate(zip(titles, before, strict=True))
    ]
    left = sum(
        answer.pathways[0].appliance_id != here for answer, here in zip(after, before, strict=True)
    )
    return left / len(titles) * load.appliances


def _roster(names: Sequence[str], load: Load) -> RosterBook:
    roster = RosterBook(ATLAS, report_timeout_s=15, forget_s=3600, session_bps=_SESSION_BPS)
    _report(roster, names, load, 0.0, Counter())
    return roster


def _report(
    roster: RosterBook, names: Sequence[str], load: Load, now_s: float, playing: Counter[str]
) -> None:
    for name in names:
        at_s = _BEGIN_S + now_s
        report = Report(
            appliance_id=name,
            site="here",
            url=f"http://{name}.example:8090",
            boot_id="boot",
            sequence=round(now_s * 1000) + 1,
            clock=datetime.fromtimestamp(at_s, UTC),
            state="serving",
            load=min(10.0, playing[name] * _SESSION_BPS / load.capacity_bps),
            capacity_bps=load.capacity_bps,
            budget_bytes=0,
            used_bytes=0,
        )
        roster.hear(report, at_s)


def _first(roster: RosterBook, title: int, count: int) -> list[str]:
    """A title's homes: where it goes first in a site at rest."""
    answer = _ask(roster, title, 0.0, "", count=count)
    return [pathway.appliance_id for pathway in answer.pathways]


def _ask(
    roster: RosterBook,
    title: int,
    now_s: float,
    session_id: str,
    *,
    count: int = 2,
    current: str | None = None,
    draining: frozenset[str] | set[str] = frozenset(),
) -> RankAnswer:
    asked = Asked(package(title), _PLACE, count, current, session_id=session_id)
    fleet = Fleet(roster, asked.package_id, _BEGIN_S + now_s, _LIMITS, draining)
    return rank(asked, fleet, ATLAS)

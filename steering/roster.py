"""The roster: the latest word of every appliance, and what it holds. Pure.

Times are Unix seconds, not monotonic ones, because what was heard outlives this process and is
read by others (see `archive`).
"""

import math
from bisect import insort
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from media.fleet import Holdings, Report, Roster, RosterEntry
from media.places import Atlas
from media.rank import LAST_RESORT, Candidate, Limits, Standing, host_of, standings, vanished
from runtime.errors import Problem
from steering.doubts import Doubts
from steering.holdings import Shelves

# A report is about 1 KB in memory, a shelf of a thousand packages about 1 MB.
MAX_APPLIANCES = 10_000
# Sessions sent to one appliance between two reports; it is full long before.
MAX_ASSIGNED = 100_000
_LOOK_S = 1.0  # for so long the fleet is taken to be as it was seen, unless there is news of it
_FIRST_SHARE = 0.1  # of viewers, to one that is back
_AWAY = ("out", "draining")


class Record(BaseModel):
    """What is kept of an appliance: its report, when it came, and how far its clock was off."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    report: Report
    heard_s: float
    clock_skew_s: float
    served_s: float = 0.0  # when it was last heard to be in service, if it ever was
    back_s: float = 0.0  # when it came back, if it was away meanwhile


@dataclass(frozen=True, order=True)
class Member:
    """An appliance that others can fill from."""

    appliance_id: str
    site: str
    url: str
    capacity_bps: int = 10**9


class RosterBook:
    """Keeps the newest report and the holdings of each appliance, at most MAX_APPLIANCES.
    `session_bps` is the load that a session sent somewhere counts for."""

    def __init__(
        self,
        atlas: Atlas,
        *,
        report_timeout_s: float,
        forget_s: float,
        session_bps: int,
        recovery_s: float = 0.0,
    ) -> None:
        self.shelves = Shelves()
        self._atlas = atlas
        self._report_timeout_s = report_timeout_s
        self._forget_s = forget_s
        self._session_bps = session_bps
        self._recovery_s = recovery_s
        self._records: dict[str, Record] = {}
        self._by_site: dict[str, list[str]] = {}
        self._blind, self._looked_s = False, -math.inf
        self._news = 0
        self._hears_since_s: float | None = None
        self._views: dict[str, _View] = {}  # by site
        self._assigned: dict[str, set[str]] = {}  # sessions sent there since its last report
        self._others: dict[str, dict[str, int]] = {}  # the same of other instances, counted
        self._starving: dict[str, frozenset[str]] = {}  # sessions, by its last report
        self.doubts = Doubts()
        self._forgotten: Set[str] = frozenset()

    def hear(self, report: Report, now_s: float) -> bool:
        """The report counts; returns whether it was news. One that is older than the newest of the
        same boot is ignored. Raises Problem for an unknown site, and when the roster is full."""
        if report.appliance_id == LAST_RESORT:
            raise Problem("invalid_field", f"No appliance may be called {LAST_RESORT!r}.")
        if report.site not in self._atlas.sites:
            raise Problem("invalid_field", f"site: steering knows no site {report.site!r}.")
        self.blind(now_s)
        known = self.get(report.appliance_id)
        if (
            known is not None
            and known.report.boot_id == report.boot_id
            and known.report.sequence >= report.sequence
        ):
            return False
        if known is None:
            self._make_room(now_s)
        serves = report.state not in _AWAY
        skew_s = report.clock.timestamp() - now_s
        self._set(
            Record(
                report=report,
                heard_s=now_s,
                clock_skew_s=skew_s,
                served_s=now_s if serves else known.served_s if known is not None else 0.0,
                back_s=self._back_s(known, now_s) if serves else 0.0,
            )
        )
        return True

    def take(self, appliance_id: str, message: Holdings) -> bool:
        """The holdings count; see `Shelves.take`. Raises Problem `holdings_gap` also for an
        appliance that has not reported yet: its snapshot is wanted after its report."""
        if appliance_id not in self._records:
            raise Problem("holdings_gap", "A report has to come before holdings.")
        return self.shelves.take(appliance_id, message)

    def restore(self, record: Record, now_s: float) -> bool:
        """What another instance, or this one before its restart, has heard counts when it is news.
        Sites that are unknown by now, and what is too old, are left out."""
        known = self.get(record.report.appliance_id)
        if record.report.appliance_id in self._forgotten:
            return False
        if known is None and len(self._records) >= MAX_APPLIANCES:
            return False
        if known is not None and known.heard_s >= record.heard_s:
            return False
        if record.report.site not in self._atlas.sites or _age_s(record, now_s) > self._forget_s:
            return False
        self._set(record)
        return True

    def forget(self, appliance_ids: Set[str]) -> None:
        """These are no appliances of ours: they leave, and no other instance's memory brings them
        back, until they are left out here."""
        self._forgotten = appliance_ids
        for appliance_id in appliance_ids & self._records.keys():
            self._drop(appliance_id)

    def assign(self, appliance_id: str, session_id: str) -> None:
        """A session was sent there. It counts as load until the appliance's next report: once,
        however often its player asks."""
        if appliance_id in self._records:
            self._news_of(self._records[appliance_id].report.site)
            sessions = self._assigned.setdefault(appliance_id, set())
            if len(sessions) < MAX_ASSIGNED:
                sessions.add(session_id)

    @property
    def assigned(self) -> dict[str, int]:
        """How many sessions were sent to each appliance since its last report."""
        return {one: len(sessions) for one, sessions in self._assigned.items()}

    def hear_assigned(self, instance: str, counts: Mapping[str, int]) -> None:
        """So many sessions were sent there by another instance, by its latest word."""
        self._others[instance] = dict(counts)
        self._news_of_all()

    def forget_instances(self, alive: Collection[str]) -> None:
        """Other instances than these say nothing any more."""
        for gone in self._others.keys() - set(alive):
            del self._others[gone]
            self._news_of_all()

    def forget_silent(self, now_s: float) -> None:
        """Appliances silent for `forget_s` are gone from the roster."""
        for appliance_id, record in list(self._records.items()):
            if _age_s(record, now_s) > self._forget_s:
                self._drop(appliance_id)

    @property
    def size(self) -> int:
        """How many appliances the roster has."""
        return len(self._records)

    def get(self, appliance_id: str) -> Record | None:
        """The newest report of the appliance, or None."""
        return self._records.get(appliance_id)

    def records(self) -> list[Record]:
        """The newest reports of all, by site and id."""
        return sorted(
            self._records.values(), key=lambda one: (one.report.site, one.report.appliance_id)
        )

    def alive(self, record: Record, now_s: float) -> bool:
        """Whether the appliance was heard lately and does not call itself out."""
        recent = _age_s(record, now_s) <= self._report_timeout_s
        return recent and record.report.state != "out"

    def members(self, now_s: float) -> tuple[Member, ...]:
        """The appliances that are alive, by id."""
        return tuple(
            sorted(
                Member(
                    record.report.appliance_id,
                    record.report.site,
                    record.report.url,
                    record.report.capacity_bps,
                )
                for record in self._records.values()
                if self.alive(record, now_s)
            )
        )

    def at_site(self, site: str) -> Sequence[str]:
        """The appliances of a site, by id."""
        return self._by_site.get(site, ())

    def standings(
        self, site: str, now_s: float, draining: Set[str], limits: Limits
    ) -> tuple[Standing, ...]:
        """How the appliances of a site stand. They are looked at once a second, and when there is
        news of them, not for every viewer."""
        view = self._views.get(site)
        given = (limits, draining)
        if view is None or view.given != given or not 0 <= now_s - view.at_s < _LOOK_S:
            group = [self.candidate(one, now_s, one in draining) for one in self.at_site(site)]
            view = self._views[site] = _View(given, now_s, standings(group, limits))
        return view.standings

    def seen(self, sites: Iterable[str]) -> tuple[float, float]:
        """From when to when these sites, whose standings were just asked for, are taken to stand so
        if there is no news."""
        at_s = [self._views[site].at_s for site in sites]
        return max(at_s, default=-math.inf), min(at_s, default=math.inf) + _LOOK_S

    def edition(self, now_s: float) -> int:
        """Another one whenever there is news of how appliances stand or what they hold."""
        self.blind(now_s)
        return self._news + self.shelves.changes  # neither ever falls

    def everyone(self, now_s: float, draining: Collection[str]) -> list[Candidate]:
        """The whole fleet."""
        return [self.candidate(one, now_s, one in draining) for one in self._records]

    def sites_of(self, appliance_ids: Iterable[str]) -> tuple[str, ...]:
        """The sites of those that are known, each once, in order."""
        records = (self._records.get(one) for one in appliance_ids)
        return tuple(sorted({record.report.site for record in records if record is not None}))

    def waits_for(self, appliance_ids: Iterable[str], now_s: float) -> bool:
        """We have only just begun, and have not heard of all of these yet: they may be there all
        the same."""
        since_s = self._hears_since_s
        if since_s is not None and now_s - since_s > self._report_timeout_s:
            return False
        return any(one not in self._records and one != LAST_RESORT for one in appliance_ids)

    def starves(self, session_id: str, appliance_ids: Iterable[str]) -> bool:
        """One of these says that the session's buffer has run empty."""
        if not self._starving:
            return False
        return any(session_id in self._starving.get(one, ()) for one in appliance_ids)

    def blind(self, now_s: float) -> bool:
        """So much of the fleet has fallen silent at once that it is likelier to be us."""
        if not 0 <= now_s - self._looked_s < _LOOK_S:
            ages = (_age_s(record, now_s) for record in self._records.values())
            blind = vanished(ages, self._report_timeout_s)
            self._news += blind != self._blind
            self._blind, self._looked_s = blind, now_s
            if blind or self._hears_since_s is None:
                self._hears_since_s = now_s
        return self._blind

    def entries(self, now_s: float, draining: Collection[str]) -> Roster:
        """The roster as operators see it, by site and id."""
        entries = [
            RosterEntry(
                report=record.report,
                region=self._atlas.sites[record.report.site].region,
                age_s=round(_age_s(record, now_s), 3),
                alive=self.alive(record, now_s),
                draining=appliance_id in draining or record.report.state == "draining",
                packages_held=self.shelves.whole_packages(appliance_id),
            )
            for appliance_id, record in self._records.items()
        ]
        entries.sort(key=lambda entry: (entry.report.site, entry.report.appliance_id))
        return Roster(appliances=tuple(entries))

    def candidate(self, appliance_id: str, now_s: float, draining: bool) -> Candidate:
        """The appliance as ranking sees it."""
        record = self._records[appliance_id]
        report = record.report
        doubt = self.doubts.doubt(appliance_id, now_s)
        sent = len(self._assigned.get(appliance_id, ()))
        for counts in self._others.values():
            sent += counts.get(appliance_id, 0)
        assigned_bps = sent * self._session_bps
        return Candidate(
            appliance_id,
            report.site,
            report.url,
            _host(report.url),
            report.state,
            report.bottleneck,
            _age_s(record, now_s),
            record.clock_skew_s,
            draining,
            report.load + assigned_bps / report.capacity_bps,
            report.capacity_bps,
            self._admits(record, now_s),
            doubt == "suspected",
            doubt == "failing",
        )

    def _news_of(self, site: str) -> None:
        self._views.pop(site, None)
        self._news += 1

    def _news_of_all(self) -> None:
        self._views.clear()
        self._news += 1

    def _admits(self, record: Record, now_s: float) -> float:
        """The share of viewers that it takes: of one that is back more and more."""
        back_for_s = now_s - record.back_s
        if not 0 <= back_for_s < self._recovery_s:
            return 1.0
        return max(_FIRST_SHARE, back_for_s / self._recovery_s)

    def _back_s(self, known: Record | None, now_s: float) -> float:
        """When one that serves came back. One that starts is new, not back, and one that was away
        for a moment only never was."""
        if known is None or known.served_s == 0:
            return 0.0
        # While it was we who did not hear, nobody was away.
        away_s = min(abs(now_s - known.served_s), now_s - (self._hears_since_s or now_s))
        return now_s if away_s > self._report_timeout_s else known.back_s

    def _set(self, record: Record) -> None:
        appliance_id, site = record.report.appliance_id, record.report.site
        known = self._records.get(appliance_id)
        if known is None or known.report.site != site:
            if known is not None:
                self._by_site[known.report.site].remove(appliance_id)
                self._news_of(known.report.site)
            insort(self._by_site.setdefault(site, []), appliance_id)
        self._records[appliance_id] = record
        self._news_of(site)
        self._assigned.pop(appliance_id, None)
        for counts in self._others.values():
            counts.pop(appliance_id, None)
        self._starving.pop(appliance_id, None)
        if record.report.starved:
            self._starving[appliance_id] = frozenset(s.session_id for s in record.report.starved)

    def _make_room(self, now_s: float) -> None:
        """There is room for one more: the one silent for longest makes it, if it is dead."""
        if len(self._records) < MAX_APPLIANCES:
            return
        oldest = max(self._records.values(), key=lambda record: _age_s(record, now_s))
        if self.alive(oldest, now_s):
            raise Problem("overloaded", f"Steering keeps {MAX_APPLIANCES} appliances at most.")
        self._drop(oldest.report.appliance_id)

    def _drop(self, appliance_id: str) -> None:
        record = self._records.pop(appliance_id)
        self._by_site[record.report.site].remove(appliance_id)
        self._news_of(record.report.site)
        self._assigned.pop(appliance_id, None)
        self._starving.pop(appliance_id, None)
        self.shelves.drop(appliance_id)


class Fleet:
    """The appliances to rank for a package, as `media.rank` asks for them."""

    def __init__(
        self,
        book: RosterBook,
        package_id: str,
        now_s: float,
        limits: Limits,
        draining: Set[str] = frozenset(),
    ) -> None:
        self._book = book
        self._now_s = now_s
        self._limits = limits
        self._draining = draining
        self._shares = book.shelves.shares(package_id)

    def at(self, site: str) -> tuple[Standing, ...]:
        """Those of a site."""
        return self._book.standings(site, self._now_s, self._draining, self._limits)

    def held(self, appliance_id: str) -> float:
        """The share of the package that the appliance holds."""
        return self._shares.get(appliance_id, 0.0)

    def holds(self, site: str) -> bool:
        """One of the site holds the package whole."""
        shares = self._shares
        for one in self._book.at_site(site) if shares else ():  # twice as quick as any()
            if shares.get(one, 0.0) >= 1:
                return True
        return False


class _View(NamedTuple):
    """How a site stood at a time, with these limits and drains."""

    given: tuple[Limits, Set[str]]
    at_s: float
    standings: tuple[Standing, ...]


_host = lru_cache(MAX_APPLIANCES)(host_of)


def _age_s(record: Record, now_s: float) -> float:
    """How long ago the report came. One from the future came before our clock was set back, nobody
    knows when: it is as old as it lies ahead, so a dead appliance does not live on until then."""
    return abs(now_s - record.heard_s)

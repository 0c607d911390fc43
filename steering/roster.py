"""The roster: the latest word of every appliance, and what it holds. Pure.

Times are Unix seconds, not monotonic ones, because what was heard outlives this process and is
read by others (see `archive`).
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from media.fleet import Holdings, Report, Roster, RosterEntry
from runtime.errors import Problem
from steering.holdings import Shelves
from steering.places import Atlas
from steering.rank import Candidate

# A report is about 1 KB in memory, a shelf of a thousand packages about 1 MB.
MAX_APPLIANCES = 10_000
# Sessions sent to one appliance between two reports; it is full long before.
MAX_ASSIGNED = 100_000


class Record(BaseModel):
    """What is kept of an appliance: its report, when it came, and how far its clock was off."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    report: Report
    heard_s: float
    clock_skew_s: float


@dataclass(frozen=True, order=True)
class Member:
    """An appliance that others can fill from."""

    appliance_id: str
    site: str
    url: str


class RosterBook:
    """Keeps the newest report and the holdings of each appliance, at most MAX_APPLIANCES.
    `session_bps` is the load that a session sent somewhere counts for."""

    def __init__(
        self, atlas: Atlas, *, report_timeout_s: float, forget_s: float, session_bps: int
    ) -> None:
        self.shelves = Shelves()
        self._atlas = atlas
        self._report_timeout_s = report_timeout_s
        self._forget_s = forget_s
        self._session_bps = session_bps
        self._records: dict[str, Record] = {}
        self._assigned: dict[str, set[str]] = {}  # sessions sent there since its last report

    def hear(self, report: Report, now_s: float) -> bool:
        """The report counts; returns whether it was news. One that is older than the newest of the
        same boot is ignored. Raises Problem for an unknown site, and when the roster is full."""
        if report.site not in self._atlas.sites:
            raise Problem("invalid_field", f"site: steering knows no site {report.site!r}.")
        known = self.get(report.appliance_id)
        if (
            known is not None
            and known.report.boot_id == report.boot_id
            and known.report.sequence >= report.sequence
        ):
            return False
        if known is None:
            self._make_room(now_s)
        skew_s = report.clock.timestamp() - now_s
        self._set(Record(report=report, heard_s=now_s, clock_skew_s=skew_s))
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
        if known is None and len(self._records) >= MAX_APPLIANCES:
            return False
        if known is not None and known.heard_s >= record.heard_s:
            return False
        if record.report.site not in self._atlas.sites or _age_s(record, now_s) > self._forget_s:
            return False
        self._set(record)
        return True

    def assign(self, appliance_id: str, session_id: str) -> None:
        """A session was sent there. It counts as load until the appliance's next report: once,
        however often its player asks."""
        if appliance_id in self._records:
            sessions = self._assigned.setdefault(appliance_id, set())
            if len(sessions) < MAX_ASSIGNED:
                sessions.add(session_id)

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

    def alive(self, record: Record, now_s: float) -> bool:
        """Whether the appliance was heard lately and does not call itself out."""
        recent = _age_s(record, now_s) <= self._report_timeout_s
        return recent and record.report.state != "out"

    def members(self, now_s: float) -> tuple[Member, ...]:
        """The appliances that are alive, by id."""
        return tuple(
            sorted(
                Member(record.report.appliance_id, record.report.site, record.report.url)
                for record in self._records.values()
                if self.alive(record, now_s)
            )
        )

    def candidates(
        self,
        package_id: str,
        now_s: float,
        draining: Collection[str],
        only: Iterable[str] | None = None,
    ) -> list[Candidate]:
        """The appliances to rank for this package: all, or those of `only` that are known."""
        chosen = self._records if only is None else [i for i in only if i in self._records]
        return [self._candidate(i, package_id, now_s, i in draining) for i in chosen]

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

    def _candidate(
        self, appliance_id: str, package_id: str, now_s: float, draining: bool
    ) -> Candidate:
        record = self._records[appliance_id]
        report = record.report
        assigned_bps = len(self._assigned.get(appliance_id, ())) * self._session_bps
        return Candidate(
            appliance_id=appliance_id,
            site=report.site,
            url=report.url,
            state=report.state,
            bottleneck=report.bottleneck,
            age_s=_age_s(record, now_s),
            clock_skew_s=record.clock_skew_s,
            draining=draining,
            load=report.load + assigned_bps / report.capacity_bps,
            capacity_bps=report.capacity_bps,
            held=self.shelves.share(appliance_id, package_id),
        )

    def _set(self, record: Record) -> None:
        self._records[record.report.appliance_id] = record
        self._assigned.pop(record.report.appliance_id, None)

    def _make_room(self, now_s: float) -> None:
        """There is room for one more: the one silent for longest makes it, if it is dead."""
        if len(self._records) < MAX_APPLIANCES:
            return
        oldest = max(self._records.values(), key=lambda record: _age_s(record, now_s))
        if self.alive(oldest, now_s):
            raise Problem("overloaded", f"Steering keeps {MAX_APPLIANCES} appliances at most.")
        self._drop(oldest.report.appliance_id)

    def _drop(self, appliance_id: str) -> None:
        del self._records[appliance_id]
        self._assigned.pop(appliance_id, None)
        self.shelves.drop(appliance_id)


def _age_s(record: Record, now_s: float) -> float:
    """How long ago the report came. One from the future came before our clock was set back, nobody
    knows when: it is as old as it lies ahead, so a dead appliance does not live on until then."""
    return abs(now_s - record.heard_s)

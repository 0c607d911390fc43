"""One purge: whom it waits for, and what reports and time make of it. Pure."""

from collections.abc import Callable, Collection
from datetime import datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict

from media.fleet import PurgeTarget, Report
from media.ids import JobId, Name
from media.purges import PurgeDetails, PurgeJob, PurgeProgress, PurgeState
from steering.roster import RosterBook

_NAMED = 5  # of those that are late, in a sentence
_OVER: frozenset[PurgeState] = frozenset({"complete", "processed", "failed", "cancelled"})


class Purge(BaseModel):
    """A purge. `serial` is its order's, 0 until that is out; `withdrawn` the version of the notices
    that no longer have it. `obeyed` has the files that each appliance unlinked, None: not told."""

    model_config = ConfigDict(extra="ignore")
    job_id: JobId
    target: PurgeTarget
    forbidden_until: AwareDatetime | None = None
    created_at: AwareDatetime
    deadline_at: AwareDatetime
    finished_at: AwareDatetime | None = None
    state: PurgeState = "pending"
    serial: int = 0
    withdrawn: int = 0
    awaited: set[Name]
    obeyed: dict[Name, int | None] = {}

    @property
    def is_over(self) -> bool:
        """Its state will not change any more."""
        return self.state in _OVER

    @property
    def follows(self) -> int:
        """How many appliances it has in memory."""
        return len(self.awaited) + len(self.obeyed)

    def hear(self, report: Report) -> bool:
        """The report counts; returns whether it was news. Whoever reports without having obeyed is
        awaited too: it may hold what is to go."""
        name = report.appliance_id
        if self.is_over or not self.serial:
            return False
        before = (self.state, name in self.awaited, self.obeyed.get(name, -1))
        told = {done.serial: done.files for done in report.purged}
        # A later order's serial says nothing of one that was withdrawn before it.
        cancelling = self.state == "cancelling"
        if self.serial in told or (report.purged_serial >= self.serial and not cancelling):
            self.obeyed[name] = told.get(self.serial, self.obeyed.get(name))
            self.awaited.discard(name)
        elif cancelling and report.notices_version >= self.withdrawn:
            self.awaited.discard(name)
        elif not cancelling and name not in self.obeyed:
            self.awaited.add(name)
        if self.state == "pending" and max(report.notices_version, report.purged_serial) >= (
            self.serial
        ):
            self.state = "active"
        return before != (self.state, name in self.awaited, self.obeyed.get(name, -1))

    def settle(self, now: datetime, alive: Callable[[], Collection[str]], all_known: bool) -> bool:
        """The state is what it has to be; returns whether it is another than before. `all_known`:
        every appliance that lives has had the time to report."""
        if self.is_over:
            return False
        late = now >= self.deadline_at
        if self.state == "cancelling":
            # One that is away may read the old notices once more before it hears the new ones.
            over: PurgeState | None = (
                "cancelled" if late or self.awaited.isdisjoint(alive()) else None
            )
        elif not self.awaited and all_known and self.serial:
            over = "complete"
        else:
            over = "failed" if late else None
        if over is None:
            return False
        self.state, self.finished_at = over, now
        return True

    def cancel(self, version: int) -> None:
        """It is withdrawn by this version of the notices."""
        self.state, self.withdrawn = "cancelling", version

    def job(self) -> PurgeJob:
        """As lists have it."""
        return PurgeJob.model_validate(self._summary())

    def details(self, roster: RosterBook, now_s: float) -> PurgeDetails:
        """With every appliance. Those that obeyed after the deadline are shown as they are."""
        names = sorted(self.awaited | self.obeyed.keys())
        shown = (self._progress(name, roster, now_s) for name in names)
        return PurgeDetails.model_validate(self._summary() | {"appliances": tuple(shown)})

    def _progress(self, name: str, roster: RosterBook, now_s: float) -> PurgeProgress:
        record = roster.get(name)
        report = record.report if record else None
        heard = report is not None and report.notices_version >= self.serial > 0
        obeyed = name in self.obeyed or (
            report is not None and self.state == "failed" and report.purged_serial >= self.serial
        )
        return PurgeProgress(
            appliance_id=name,
            state="complete" if obeyed else "active" if heard else "pending",
            awaited=name in self.awaited and not obeyed,
            alive=record is not None and roster.alive(record, now_s),
            files=self.obeyed.get(name),
        )

    def _summary(self) -> dict[str, object]:
        return self.target.model_dump() | {
            "job_id": self.job_id,
            "state": self.state,
            "forbidden_until": self.forbidden_until,
            "created_at": self.created_at,
            "deadline_at": self.deadline_at,
            "finished_at": self.finished_at,
            "obeyed": len(self.obeyed),
            "awaited": len(self.awaited),
            "files": sum(files or 0 for files in self.obeyed.values()),
            "why": self._why(),
        }

    def _why(self) -> str:
        if self.state != "failed":
            return ""
        if not self.awaited:
            return "Steering did not know the fleet by the deadline."
        named = ", ".join(sorted(self.awaited)[:_NAMED])
        more = len(self.awaited) - _NAMED
        return f"Not obeyed by the deadline: {named}{f' and {more} more' if more > 0 else ''}."

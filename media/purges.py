"""Purges as jobs, in the words of RFC 8007 (5.2.3)."""

from typing import Literal

from pydantic import AwareDatetime

from media.fleet import PurgeTarget, Wire
from media.ids import JobId, Name

# pending: no appliance has heard of it. active: some have. complete: all that are awaited have
# unlinked what it names, and their workers have let go. failed: the deadline came first (those who
# are late still obey). cancelling: it is withdrawn, and not all have heard of that. cancelled: who
# has not begun never will. `processed` is for those who cannot tell whether a purge is complete;
# we can, so no job comes to it.
PurgeState = Literal[
    "pending", "active", "complete", "processed", "failed", "cancelling", "cancelled"
]


class PurgeJob(PurgeTarget):
    """A purge, as lists have it. `forbidden_until`: a title was deleted, and a tombstone keeps the
    package from being served or filled till then. `awaited` appliances have yet to obey."""

    job_id: JobId
    state: PurgeState
    forbidden_until: AwareDatetime | None = None
    created_at: AwareDatetime
    deadline_at: AwareDatetime
    finished_at: AwareDatetime | None = None
    obeyed: int
    awaited: int
    files: int  # unlinked so far, on all appliances that told
    why: str = ""  # of one that failed, for people


class PurgeProgress(Wire):
    """How far one appliance is with a purge; `files` None when its count is not known."""

    appliance_id: Name
    state: Literal["pending", "active", "complete"]
    awaited: bool
    alive: bool
    files: int | None = None


class PurgeDetails(PurgeJob):
    """A purge with all appliances that it concerns: those alive when it was ordered, and those that
    have reported since."""

    appliances: tuple[PurgeProgress, ...]

    @property
    def is_over(self) -> bool:
        """Its state will not change any more."""
        return self.state in ("complete", "processed", "failed", "cancelled")


class PurgeJobs(Wire):
    """`GET /v1/purges`: the newest first."""

    purges: tuple[PurgeJob, ...]

"""What in the store nobody needs any more: decisions alone, pure.

Whoever sweeps lists the store first and asks the database after: what is stored has its row before
it, so a row that is missing then is missing for good. Where there is a doubt, things stay.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from media.api import JobState
from media.ids import ID, made_ms
from media.objects import ObjectInfo

# Nothing younger is touched: a writer that was thought dead may be about to write its last.
MARGIN = timedelta(days=1)
# Machines' clocks, which stamp ids, differ by less.
SKEW = timedelta(hours=1)


class Fate(Enum):
    """What becomes of a folder."""

    keep = "it belongs to somebody"
    read = "a package that stands: what its inventory does not name goes"
    clear = "it belongs to nobody"
    clear_job = "of a job that ended: `removal` looks after it once more"


@dataclass(frozen=True)
class Known:
    """What the database has of a package's id: the state of its job, whether that was cleared away
    before, and whether the package stands."""

    job: JobState | None = None
    cleared: bool = False
    stands: bool = False


@dataclass(frozen=True)
class Gap:
    """What was made in this time the database may not know, though somebody may need it: it was
    made before the database was, or after the backup that it was restored from."""

    since: datetime
    until: datetime

    def holds(self, identifier: str) -> bool:
        """Whether the identifier was made then."""
        made = timedelta(milliseconds=made_ms(identifier))
        epoch = datetime.fromtimestamp(0, self.since.tzinfo)
        return self.since - SKEW <= epoch + made <= self.until + SKEW


def id_in(folder: str, prefix: str) -> str | None:
    """The id that a folder is named by; None for one that is not ours."""
    name = folder.rstrip("/").rpartition("/")[2]
    return name if re.fullmatch(rf"{prefix}_{ID}", name) else None


def title_fate(title_id: str, known: bool, gaps: Sequence[Gap]) -> Fate:
    """Of the masters of a title, by whether there is its row. A deleted title's are cleared away
    before the row is."""
    return Fate.keep if known else _nobodys(title_id, gaps)


def package_fate(package_id: str, known: Known, gaps: Sequence[Gap]) -> Fate:
    """Of a package's folder in `titles/`. Its encoder writes it while the job is queued or running,
    and the package stands from the moment at which the job is done."""
    if known.stands:
        return Fate.read
    return _of_job(package_id, known, gaps)


def work_fate(package_id: str, known: Known, gaps: Sequence[Gap]) -> Fate:
    """Of what a job keeps for another attempt; once it is done there is none."""
    return _of_job(package_id, known, gaps)


def old(found: Iterable[ObjectInfo], now: datetime) -> list[ObjectInfo]:
    """Of these objects, those that may go."""
    before_s = (now - MARGIN).timestamp()
    return [info for info in found if info.modified_s < before_s]


def _of_job(package_id: str, known: Known, gaps: Sequence[Gap]) -> Fate:
    if known.job == "done":  # and its package was superseded and cleared away, or it is its work
        return Fate.clear
    if known.job in ("failed", "cancelled") and known.cleared:
        return Fate.clear_job
    if known.job is not None or known.stands:
        return Fate.keep
    return _nobodys(package_id, gaps)


def _nobodys(identifier: str, gaps: Sequence[Gap]) -> Fate:
    return Fate.keep if any(gap.holds(identifier) for gap in gaps) else Fate.clear

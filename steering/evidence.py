"""What viewers have taken, kept over restarts: the evidence from which plans are made.

Each sum fades: half of it counts after HALF_LIFE_DAYS. Nothing is multiplied day by day for that;
what comes later counts for more instead (forward decay: Cormode et al., ICDE 2009), and a reader
divides.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from media.fleet import PackageRef
from runtime.durable import write_durably
from runtime.log import logger
from steering.popularity import HALF_LIFE_DAYS, Evidence

# 0.3 KB each: what was watched last of a large catalog, in all regions.
MAX_SUMS = 500_000
WHOLE = ""  # the rendition of a package whose renditions are not known
_DAY_S = 86_400.0
_MOST_GROWTH = 2.0**60  # then all is counted from another day on


class Sum(BaseModel):
    """Bytes of a rendition that a region's viewers took, faded to the file's `at_s`."""

    model_config = ConfigDict(frozen=True)
    region: str
    package_id: str
    rendition_id: str
    bytes: float = Field(ge=0)


class Kept(BaseModel):
    """The file."""

    since_s: float
    at_s: float
    sums: tuple[Sum, ...] = Field(max_length=MAX_SUMS)


class EvidenceBook:
    """Sums by region, package and rendition, those that changed last at the end."""

    def __init__(self, path: Path, now_s: float, most: int = MAX_SUMS) -> None:
        """Goes on with what is in the file. One that is damaged costs some days of evidence."""
        self._path = path
        self._most = most
        self._since_s = now_s  # the first evidence
        self._landmark_s = now_s
        self._sums: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        try:
            kept = Kept.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, ValidationError) as error:
            logger().warning("evidence_unreadable", path=str(path), why=type(error).__name__)
            return
        self._since_s = min(kept.since_s, now_s)
        for one in kept.sums:
            fades = 0.5 ** (max(0.0, now_s - kept.at_s) / _DAY_S / HALF_LIFE_DAYS)
            self._sums[one.region, one.package_id, one.rendition_id] = one.bytes * fades

    def add(self, region: str, package_id: str, rendition_id: str, sent: int, at_s: float) -> None:
        """A `Sink` of demand."""
        growth = self._growth(at_s)
        if growth > _MOST_GROWTH:
            self._sums = OrderedDict((name, sum / growth) for name, sum in self._sums.items())
            self._landmark_s, growth = at_s, 1.0
        name = region, package_id, rendition_id
        self._sums[name] = self._sums.pop(name, 0.0) + sent * growth
        if len(self._sums) > self._most:
            self._sums.popitem(last=False)

    def copy(self) -> "EvidenceBook":
        """The evidence of this moment, to be looked at elsewhere."""
        other = copy(self)
        other._sums = self._sums.copy()
        return other

    def keep_only(self, packages: Sequence[PackageRef]) -> None:
        """Other packages than these are gone for good."""
        known = {package.package_id for package in packages}
        for name in [name for name in self._sums if name[1] not in known]:
            del self._sums[name]

    def of(
        self,
        packages: Sequence[PackageRef],
        regions: Sequence[str],
        expected: Mapping[str, float],
        now_s: float,
    ) -> tuple[Evidence, list[tuple[int, str]]]:
        """The evidence of these packages in these regions, and the rows: the number of the package,
        and the rendition. `expected` are the bytes a day that operators expect, by package."""
        rows = [
            (number, rendition_id)
            for number, package in enumerate(packages)
            for rendition_id, _ in _renditions(package)
        ]
        sizes = [size for package in packages for _, size in _renditions(package)]
        kinds = {
            kind: number for number, kind in enumerate(dict.fromkeys(kind for _, kind in rows))
        }
        at = {(packages[number].package_id, kind): row for row, (number, kind) in enumerate(rows)}
        sent = np.zeros((len(regions), len(rows)))
        numbers = {region: number for number, region in enumerate(regions)}
        growth = self._growth(now_s)
        for (region, package_id, rendition_id), sum in self._sums.items():
            row = at.get((package_id, rendition_id), at.get((package_id, WHOLE)))
            if row is not None and region in numbers:
                sent[numbers[region], row] += sum / growth
        ages = [
            max(0.0, now_s - max(self._since_s, package.published_at.timestamp())) / _DAY_S
            for package in packages
        ]
        life = HALF_LIFE_DAYS / math.log(2)
        evidence = Evidence(
            bytes=np.array(sizes, np.float64),
            package=np.array([number for number, _ in rows], np.int64),
            kind=np.array([kinds[kind] for _, kind in rows], np.int64),
            sent=sent,
            days=life * (1 - np.exp(-np.array(ages, np.float64) / life)),
            expected=np.array([expected.get(one.package_id, np.nan) for one in packages]),
        )
        return evidence, rows

    def write(self, now_s: float) -> None:
        """The file has it. Blocks for the disk."""
        growth = self._growth(now_s)
        sums = tuple(
            Sum(region=region, package_id=package, rendition_id=rendition, bytes=sum / growth)
            for (region, package, rendition), sum in self._sums.items()
        )
        kept = Kept(since_s=self._since_s, at_s=now_s, sums=sums)
        try:
            write_durably(self._path, kept.model_dump_json().encode())
        except OSError as error:
            logger().warning("evidence_not_written", why=str(error))

    def _growth(self, at_s: float) -> float:
        """How much more something counts that comes now. A clock that was set back makes it no
        less than a day's worth."""
        days = max(-1.0, (at_s - self._landmark_s) / _DAY_S)
        return float(2.0 ** min(days / HALF_LIFE_DAYS, 1000.0))


def _renditions(package: PackageRef) -> list[tuple[str, int]]:
    if package.renditions:
        return [(one.rendition_id, one.bytes) for one in package.renditions]
    return [(WHOLE, package.total_bytes)]

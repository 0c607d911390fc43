"""How much will be watched of what, and where: an estimate for tomorrow from what appliances sent
to viewers. Pure.

Bytes that were sent are summed by region and rendition, and half of them is forgotten in
HALF_LIFE_DAYS. Most renditions are watched too seldom to be judged by themselves, so each is judged
beside its like. A package in a region: as it was watched there, and as elsewhere, which weighs as
much as _REGION_DAYS there. A rendition of it: as it was watched itself, and as its kind is watched
in all packages, which weighs as much as _KIND_DAYS. Both are the mean of a Gamma distribution after
Poisson counts, with the others as its prior. A launch is first what its operator expects of it, or
as much as a package is on average, but never less than once in _SELDOM_DAYS; _LAUNCH_DAYS of
viewers weigh as much as that.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HALF_LIFE_DAYS = 3.0
_REGION_DAYS = 1.0
_KIND_DAYS = 10.0
_LAUNCH_DAYS = 0.5
_SELDOM_DAYS = 100.0
_SILENT = 0.01  # of what a region shows on average


class Evidence(NamedTuple):
    """What is known. Rows are renditions of so many `bytes`: `package` and `kind` number what they
    belong to, from 0 on. `sent` has the bytes by region and row, `days` how many days of evidence
    there are of a package, both faded; `expected` is what the operator expects of a package, in
    bytes a day of all regions together, NaN if he says nothing."""

    bytes: Floats
    package: Ints
    kind: Ints
    sent: Floats
    days: Floats
    expected: Floats


def fade(evidence: Evidence, days: float, half_life_days: float = HALF_LIFE_DAYS) -> Evidence:
    """The evidence when so much more time has gone by, in which all of it came."""
    kept = 0.5 ** (days / half_life_days)
    return evidence._replace(sent=evidence.sent * kept, days=(evidence.days + days) * kept)


def estimate(evidence: Evidence) -> Floats:
    """The bytes a day that will be sent of each row, by region."""
    size, package, kind, sent, days, expected = evidence
    regions, packages = len(sent), len(days)
    by_package = np.stack([np.bincount(package, row, packages) for row in sent])
    everywhere = by_package.sum(axis=0)
    # Of a package, on average; not much is made of what came in the first hour.
    known = everywhere.sum() / max(days.sum() + _LAUNCH_DAYS * packages, 1e-9)
    seldom = np.bincount(package, size, packages) / _SELDOM_DAYS
    guess = np.where(np.isnan(expected), np.maximum(known, seldom), expected)
    everywhere = (everywhere + _LAUNCH_DAYS * guess) / (days + _LAUNCH_DAYS)
    # What the regions have of all: a package nobody has watched here is expected as elsewhere, and
    # a region where nobody has watched anything yet has a little.
    shown = by_package.sum(axis=1)
    part = (shown + _SILENT * shown.mean() + 1e-9) / (shown.sum() * (1 + _SILENT) + 1e-9 * regions)
    here = (by_package + _REGION_DAYS * part[:, None] * everywhere) / (days + _REGION_DAYS)
    # What the kinds have of a package, among those that it has; at first by their size.
    of_kind = np.bincount(kind, sent.sum(axis=0) + 1e-9 * size)[kind]
    usual = of_kind / np.bincount(package, of_kind, packages)[package]
    like = here[:, package] * usual
    found: Floats = (sent + _KIND_DAYS * like) / (days[package] + _KIND_DAYS)
    return found

"""What the disks of a region should hold: the most of what its viewers will ask for. Pure.

Things are renditions, in rows. What one is worth to a site is the bytes that will be sent of it
there in a day, for each of its own: each of them that is held need not come from elsewhere. One of
the region's sites is a package's tier (media/homes.py): to it, what the other sites will lack is
worth something, too (TIER_WORTH), for what the tier holds need not come from the store. So each
site has what it asks for most, and the tail is spread over the region.

At a site a package belongs to its home, where ranking sends its viewers, and to as many appliances
more as it takes to bear them (`copies`). To the others it is worth a little, too (SPARE_WORTH),
for the day when its home is away: so they have a copy of what is asked for most, and of everything
where there is room. An appliance takes what is worth most until its bytes are used up. What it has
stays until something is worth MARGIN more, and no more comes in a night than may, but for what
there is free room for.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

TIER_WORTH = 0.5
SPARE_WORTH = 0.02
MARGIN = 0.1
_DAY_S = 86_400
_PEAK = 3.0  # the busiest hour, against the mean
_BORNE = 0.3  # of an appliance's capacity, by one package
_FIRST = 1e300  # above all else, and finite: what is held counts more among these, too
_FEW = 5  # a disk mostly takes less than this part of all things: the others need not be sorted


class Shelf(NamedTuple):
    """An appliance's disks: the site it stands at, by number; the bytes that plans may use, and
    those that may come in a night in the place of others; the things that are there, or planned
    already; and those that belong here."""

    site: int
    budget_bytes: float
    nightly_bytes: float
    held: Bools
    belongs: Bools


def plan_region(
    sizes: Floats,
    demand: Floats,
    tiers: Ints,
    shelves: Sequence[Shelf],
    *,
    first: Bools | None = None,
    tier_worth: float = TIER_WORTH,
    margin: float = MARGIN,
) -> list[Bools]:
    """The things to hold, by shelf. `sizes` are in bytes; `demand` is what will be sent of each in
    a day, by site and row; `tiers` is the site that is the tier of each. What is `first`, by site
    and row, comes before all else."""
    chosen = [shelf.held for shelf in shelves]
    sites = len(demand)
    here = np.zeros((sites, len(sizes)), bool)
    for shelf in shelves:
        here[shelf.site] |= shelf.held
    lacking = np.where(here, 0.0, demand)
    missed = lacking.sum(axis=0)  # by all sites
    safe = np.maximum(sizes, 1.0)
    # Twice: only then has each site seen what all the others take.
    for site in (*range(sites), *range(sites)):
        others = np.where(tiers == site, missed - lacking[site], 0.0)
        worth = (demand[site] + tier_worth * others) / safe
        if first is not None:
            worth = np.where(first[site], _FIRST, worth)
        missed -= lacking[site]
        here[site] = False
        for number, shelf in enumerate(shelves):
            if shelf.site == site:
                free = shelf.budget_bytes - float(sizes[shelf.held].sum())
                chosen[number] = choose(
                    sizes,
                    np.where(shelf.belongs, worth, SPARE_WORTH * worth),
                    shelf.held,
                    budget_bytes=shelf.budget_bytes,
                    nightly_bytes=max(shelf.nightly_bytes, free),
                    margin=margin,
                )
                here[site] |= chosen[number]
        lacking[site] = np.where(here[site], 0.0, demand[site])
        missed += lacking[site]
    return chosen


def choose(
    sizes: Floats,
    worth: Floats,
    held: Bools,
    *,
    budget_bytes: float,
    nightly_bytes: float,
    margin: float,
) -> Bools:
    """Of things of these sizes those to hold, the ones that are worth most for each byte; none that
    is worth nothing. What is held already counts `margin` more (0.1: a tenth). Of what is not
    `nightly_bytes` come, and the rest of the thing that goes beyond."""
    score = np.where(held, worth * (1 + margin), worth)
    score = score * np.linspace(1, 1 - 1e-9, len(score))  # of equals the first listed
    chosen = np.zeros(len(sizes), bool)
    for most in (len(score) // _FEW, len(score)):
        order = _best(score, most)
        coming = np.where(held[order], 0.0, sizes[order])
        order = order[held[order] | (np.cumsum(coming) - coming < nightly_bytes)]
        filled = np.cumsum(sizes[order])
        if len(order) and filled[-1] > budget_bytes:  # what is worth less changes nothing
            break
    chosen[order[filled <= budget_bytes]] = True
    return chosen


def _best(score: Floats, most: int) -> Ints:
    """The things of the `most` highest scores above 0, the highest first."""
    least = np.partition(score, -most)[-most] if 0 < most < len(score) else 0.0
    some = np.flatnonzero(score >= least if least > 0 else score > 0)
    order: Ints = some[np.argsort(-score[some])]
    return order


def copies(bytes_a_day: Floats, capacity_bps: float, appliances: int) -> Ints:
    """How many appliances of a site should hold packages of which so much is sent there, if each
    can send `capacity_bps`."""
    peak_bps = bytes_a_day * 8 / _DAY_S * _PEAK
    borne = np.ceil(peak_bps / (_BORNE * max(capacity_bps, 1.0)))
    wanted: Ints = np.clip(borne, 1, appliances).astype(np.int64)
    return wanted

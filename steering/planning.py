"""What each appliance should hold, worked out for the whole fleet. Pure.

`plan_fleet` puts catalog, fleet, evidence and pins into columns for the planner, region by region,
and says of each appliance what it is to hold, and why, and what was left out.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from media.fills import Pin
from media.fleet import PackageRef
from media.places import Atlas
from media.rank import spread
from steering.evidence import WHOLE
from steering.home_book import HomeBook
from steering.planner import Bools, Floats, Ints, Shelf, copies, plan_region
from steering.popularity import Evidence, estimate

MAX_LEFT_OUT = 20  # that are told, of an appliance


class Box(NamedTuple):
    """An appliance to plan for, and the renditions that it holds whole, by package."""

    appliance_id: str
    site: str
    budget_bytes: int
    capacity_bps: int
    held: Mapping[str, frozenset[str]]


class Item(NamedTuple):
    """A package to hold, or what is left out of one: its renditions (None: all), and why."""

    package_id: str
    renditions: tuple[str, ...] | None
    bytes: int
    why: str


class Choice(NamedTuple):
    """What one appliance is to hold, what is wanted most first, and what it would hold next."""

    items: tuple[Item, ...] = ()
    left_out: tuple[Item, ...] = ()


def plan_fleet(
    packages: Sequence[PackageRef],
    evidence: Evidence,
    rows: Sequence[tuple[int, str]],
    boxes: Iterable[Box],
    atlas: Atlas,
    pins: Mapping[str, Mapping[str, Pin]],
    before: Mapping[str, Choice],
    homes: HomeBook,
    *,
    share: float,
    nightly_share: float,
) -> dict[str, Choice]:
    """The choice for each appliance. `evidence` has the regions of the atlas in their order, and
    `rows` of it are renditions of `packages`; `pins`, by site, are those that hold there. What was
    chosen `before` stays where nothing is worth clearly more."""
    if not packages:
        return {box.appliance_id: Choice() for box in boxes}
    demand = estimate(evidence)
    by_region: dict[str, list[Box]] = {}
    for box in boxes:
        by_region.setdefault(atlas.sites[box.site].region, []).append(box)
    homes.forget(len(packages), len(atlas.sites) + len(atlas.regions))
    columns = _Columns(packages, evidence, rows)
    choices: dict[str, Choice] = {}
    for number, region in enumerate(atlas.regions):
        group = by_region.get(region)
        if group:
            made = _plan_group(
                columns,
                demand[number],
                group,
                pins,
                before,
                homes,
                share=share,
                nightly=nightly_share,
            )
            choices.update(made)
    return choices


class _Columns:
    """The catalog, in rows. Those of a package stand together."""

    def __init__(
        self, packages: Sequence[PackageRef], evidence: Evidence, rows: Sequence[tuple[int, str]]
    ) -> None:
        self.packages = packages
        self.sizes: Floats = evidence.bytes
        self.package: Ints = evidence.package
        self._kinds = [kind for _, kind in rows]
        self._numbers = {one.package_id: number for number, one in enumerate(packages)}
        self._starts: Ints = np.flatnonzero(np.diff(self.package, prepend=-1))
        self._ends: Ints = np.append(self._starts[1:], len(rows))
        widths = self._ends - self._starts
        self._widest = int(widths.max(initial=1))
        within = (np.arange(len(rows)) - np.repeat(self._starts, widths)).astype(np.uint64)
        self._bits = np.uint64(1) << within  # a package has up to 64 renditions
        self._all: list[int] = [(1 << width) - 1 for width in widths.tolist()]
        self._renditions: dict[tuple[int, int], tuple[str, ...] | None] = {}
        self._patterns: dict[tuple[int, frozenset[str]], int] = {}

    def marked(self, items: Iterable[tuple[str, Collection[str] | None]]) -> Bools:
        """The rows of these packages: of these renditions, None for all."""
        patterns = [0] * len(self.packages)
        for package_id, renditions in items:
            number = self._numbers.get(package_id)
            if number is not None:
                patterns[number] |= self._pattern(number, renditions)
        found: Bools = (np.array(patterns, np.uint64)[self.package] & self._bits) > 0
        return found

    def items(
        self,
        which: Bools,
        worth: Floats,
        pinned: Bools,
        known: Mapping[tuple[str, tuple[str, ...] | None], Item],
        most: int,
    ) -> list[Item]:
        """These rows, package by package, the best first, and of equals the first listed, which is
        the newest; `most` of them. Those that are `known` are the same."""
        worth = np.where(pinned, np.inf, worth)
        rows = np.flatnonzero(which)
        best_rows = most * self._widest  # of the packages that have them there are `most`, and more
        if best_rows < len(rows):
            least = np.partition(worth[rows], -best_rows)[-best_rows]
            packages = np.zeros(len(self.packages), bool)
            packages[self.package[rows[worth[rows] >= least]]] = True
            rows = rows[packages[self.package[rows]]]
        if not len(rows):
            return []
        numbers = self.package[rows]
        starts = np.flatnonzero(np.diff(numbers, prepend=-1))
        best = np.maximum.reduceat(worth[rows], starts)
        order = np.argsort(-best, kind="stable")[:most]
        patterns = np.bitwise_or.reduceat(self._bits[rows], starts)
        sizes = np.add.reduceat(self.sizes[rows], starts)
        columns = (column[order].tolist() for column in (numbers[starts], patterns, sizes, best))
        found = []
        for number, pattern, size, sent in zip(*columns, strict=True):
            package_id = self.packages[number].package_id
            renditions = self._of(number, pattern)
            item = known.get((package_id, renditions))
            if item is None:
                why = "pinned" if sent == np.inf else f"sent {sent:.1g} times a day here"
                item = Item(package_id, renditions, int(size), why)
            found.append(item)
        return found

    def _pattern(self, number: int, renditions: Collection[str] | None) -> int:
        """A bit for each rendition of the package that is among these."""
        if renditions is None:
            return self._all[number]
        key = number, frozenset(renditions)
        if key not in self._patterns:
            kinds = self._kinds[self._starts[number] : self._ends[number]]
            self._patterns[key] = sum(
                1 << bit
                for bit, kind in enumerate(kinds)
                if kind in renditions or (kind == WHOLE and renditions)
            )
        return self._patterns[key]

    def _of(self, number: int, pattern: int) -> tuple[str, ...] | None:
        """The renditions of a pattern, None for all of them."""
        if pattern == self._all[number]:
            return None
        if (number, pattern) not in self._renditions:
            kinds = self._kinds[self._starts[number] : self._ends[number]]
            self._renditions[number, pattern] = tuple(
                kind for bit, kind in enumerate(kinds) if pattern >> bit & 1
            )
        return self._renditions[number, pattern]


def _plan_group(
    columns: _Columns,
    demand: Floats,
    boxes: Sequence[Box],
    pins: Mapping[str, Mapping[str, Pin]],
    before: Mapping[str, Choice],
    homes: HomeBook,
    *,
    share: float,
    nightly: float,
) -> dict[str, Choice]:
    """The appliances of one region, and what its viewers will take in a day."""
    sites = sorted({box.site for box in boxes})
    site_numbers = {site: number for number, site in enumerate(sites)}
    members: list[dict[str, int]] = [{} for _ in sites]
    for box in boxes:
        members[site_numbers[box.site]][box.appliance_id] = box.capacity_bps
    sums = {site: sum(each.values()) for site, each in zip(sites, members, strict=True)}
    capacity = np.array(list(sums.values()), np.float64)
    at_sites = demand[None, :] * (capacity / capacity.sum())[:, None]
    ids = [one.package_id for one in columns.packages]
    tiers = homes.of(ids, sums)  # the sites stand in the order of their names
    belongs = _belonging(columns, at_sites, members, homes)
    shelves = [
        Shelf(
            site=site_numbers[box.site],
            budget_bytes=box.budget_bytes * share,
            nightly_bytes=box.budget_bytes * share * nightly,
            held=columns.marked(_there(box, before.get(box.appliance_id, Choice()))),
            belongs=belongs[box.appliance_id],
        )
        for box in boxes
    ]
    first = np.stack([columns.marked((one, None) for one in pins.get(site, ())) for site in sites])
    chosen = plan_region(columns.sizes, at_sites, tiers[columns.package], shelves, first=first)
    return {
        box.appliance_id: _told(
            columns,
            things,
            at_sites[shelf.site] / np.maximum(columns.sizes, 1.0),
            first[shelf.site],
            before.get(box.appliance_id, Choice()),
        )
        for box, shelf, things in zip(boxes, shelves, chosen, strict=True)
    }


def _there(box: Box, before: Choice) -> Iterator[tuple[str, Collection[str] | None]]:
    """What the appliance holds already, or is about to."""
    yield from box.held.items()
    for item in before.items:
        yield item.package_id, item.renditions


def _belonging(
    columns: _Columns, demand: Floats, members: Sequence[Mapping[str, int]], homes: HomeBook
) -> dict[str, Bools]:
    """The rows that belong to each appliance: to the package's home at its site, and to the next in
    line where one cannot bear its viewers."""
    ids = [one.package_id for one in columns.packages]
    found: dict[str, Bools] = {}
    for site, each in enumerate(members):
        home = homes.of(ids, each)
        here = {name: home == number for number, name in enumerate(sorted(each))}
        daily = np.bincount(columns.package, demand[site], len(ids)).astype(float)
        many = copies(daily, sum(each.values()) / len(each), len(each))
        for number in np.flatnonzero(many > 1):
            line = sorted(each, key=lambda one: (spread(ids[number], one, each[one]), one))
            for other in line[1 : many[number]]:
                here[other][number] = True
        found |= here
    return {one: mask[columns.package] for one, mask in found.items()}


def _told(columns: _Columns, chosen: Bools, worth: Floats, pinned: Bools, before: Choice) -> Choice:
    """The rows as items. One that was planned likewise before keeps its words, so that a plan whose
    items are the same is the same plan."""
    known = {(item.package_id, item.renditions): item for item in before.items}
    items = columns.items(chosen, worth, pinned, known, len(columns.packages))
    left_out = columns.items(~chosen, worth, pinned, {}, MAX_LEFT_OUT)
    return Choice(tuple(items), tuple(left_out))

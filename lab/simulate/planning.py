"""Steering's part in a simulated world: what is watched where, and the plan of each box."""

import numpy as np

from lab.simulate.catalog import Arrival, Floats
from lab.simulate.fleet import Fleet
from lab.simulate.ledger import Ledger
from lab.simulate.variants import Variant
from lab.simulate.world import World
from steering.planner import Shelf, plan_region
from steering.popularity import Evidence, estimate, fade


class Planner:
    """By steering/popularity.py and planner.py. There are no plans before the first day is over:
    nothing is known."""

    def __init__(self, world: World, fleet: Fleet, variant: Variant, ledger: Ledger) -> None:
        self._world = world
        self._fleet = fleet
        self._variant = variant
        self._ledger = ledger
        catalog, net = world.catalog, world.scenario.net
        self._evidence = Evidence(
            bytes=catalog.rendition_bytes().reshape(-1).astype(np.float64),
            package=np.repeat(np.arange(catalog.titles), catalog.renditions),
            kind=np.tile(np.arange(catalog.renditions), catalog.titles),
            sent=np.zeros((net.regions, catalog.titles * catalog.renditions)),
            days=np.zeros(catalog.titles),
            expected=np.full(catalog.titles, np.nan),
        )
        self._demand: Floats | None = None
        self._new = np.zeros(len(self._evidence.package), bool)  # rows, today
        viewing = world.viewing
        by_region = np.bincount(viewing.region, viewing.weight, net.regions)
        self._weight = viewing.weight / by_region[viewing.region]
        self._homes = np.zeros((net.sites, catalog.titles), np.int32)
        self._tier_sites = np.zeros((net.regions, catalog.titles), np.int32)
        self._find_homes(list(range(catalog.titles)))

    def next_day(self, watched: Floats, arrivals: list[Arrival]) -> None:
        """This was sent in the day that is over, by region and row; those are new."""
        evidence = self._evidence
        evidence = fade(evidence._replace(sent=evidence.sent + watched), 1.0)
        new = [one.title for one in arrivals]
        daily = evidence.sent.sum() / max(evidence.days.max(), 1e-9)
        self._new = np.isin(evidence.package, new)
        evidence.sent[:, self._new] = 0
        evidence.days[new] = 0
        evidence.expected[new] = [one.guess * daily for one in arrivals]
        self._evidence = evidence
        self._demand = estimate(evidence)
        self._find_homes(new)

    def fill(self, region: int, hour: int, *, at_once: bool = False) -> float:
        """The boxes of the region hold what they should tomorrow; `at_once`, outside of the night,
        only what is new. Returns the bytes that came."""
        if self._demand is None:
            return 0.0
        variant, network = self._variant, self._fleet.network
        sites = np.flatnonzero(self._world.viewing.region == region)
        boxes = [box for site in sites for box in network.siblings(int(site))]
        numbers = {int(site): number for number, site in enumerate(sites)}
        package = self._evidence.package
        chosen = plan_region(
            self._evidence.bytes,
            self._demand[region] * self._weight[sites][:, None],
            np.searchsorted(sites, self._tier_sites[region])[package],
            [
                Shelf(
                    numbers[box.site],
                    box.budget_bytes * variant.plan,
                    self._world.scenario.filling.nightly_share * box.budget_bytes,
                    box.pinned.copy(),
                    self._homes[box.site][package] == box.number,
                )
                for box in boxes
            ],
            tier_worth=variant.tier_worth if variant.tiers else 0.0,
        )
        brought = 0.0
        for box, things in zip(boxes, chosen, strict=True):
            rows = things & (box.pinned | self._new) if at_once else things
            self._fleet.unpin(box, np.flatnonzero(box.pinned & ~rows).tolist())
            came = self._fleet.pin(box, np.flatnonzero(rows & ~box.pinned))
            for tier, amount in came.items():
                self._ledger.filled[tier, hour] += amount
                brought += amount
        return brought

    def _find_homes(self, titles: list[int]) -> None:
        network = self._fleet.network
        for site in range(len(self._homes)):
            for title in titles:
                self._homes[site, title] = network.home(site, title).number
        for region in range(len(self._tier_sites)):
            for title in titles:
                self._tier_sites[region, title] = network.tier_home(region, title).site

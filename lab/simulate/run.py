"""A world played through, with one variant of what decides: its calendar."""

import time
from collections.abc import Callable

from lab.simulate import clairvoyant
from lab.simulate.fleet import Fleet
from lab.simulate.ledger import Ledger, Outcome, summed
from lab.simulate.planning import Planner
from lab.simulate.scenario import Scenario
from lab.simulate.serving import Serving
from lab.simulate.variants import Variant
from lab.simulate.world import World

_TTL_S = 15  # of an answer by steering


def play(
    scenario: Scenario,
    seed: int,
    variant: Variant,
    tell: Callable[[float], None] = lambda done: None,
) -> Outcome:
    """The whole time. `tell` hears how much of it is done. Raises Problem if it is too much."""
    if variant.all_knowing:
        return clairvoyant.play(scenario, seed, variant, tell)
    return Run(scenario, seed, variant).play(tell)


class Run:
    """One variant in one world. World time begins at the hour of filling, so that a day ends with
    the night's fill."""

    def __init__(self, scenario: Scenario, seed: int, variant: Variant) -> None:
        self.scenario = scenario
        self.variant = variant
        self.world = World(scenario, seed)
        self.fleet = Fleet(self.world, variant)
        self.ledger = Ledger(self.world.days * 24, scenario.net.sites, len(self.fleet.boxes))
        self.serving = Serving(self.world, self.fleet, variant, self.ledger)
        self.planner = (
            Planner(self.world, self.fleet, variant, self.ledger) if variant.plan else None
        )
        self.churned = [0.0] * self.world.days  # bytes that plans brought, by day
        self._seed = seed
        self._away: frozenset[int] = frozenset()

    @property
    def ticks(self) -> int:
        """Of the whole time."""
        return self.world.days * self.scenario.clock.ticks_a_day

    def play(self, tell: Callable[[float], None] = lambda done: None) -> Outcome:
        """The whole time. `tell` hears how much of it is done."""
        began = time.monotonic()
        for tick in range(self.ticks):
            self.tick(tick)
            if (tick + 1) % max(1, self.ticks // 200) == 0:
                tell((tick + 1) / self.ticks)
        return summed(
            self.variant.name,
            self._seed,
            self.ledger,
            self.scenario,
            disk_bytes=self.fleet.disk_bytes,
            churned_bytes=self.churned,
            seconds=time.monotonic() - began,
        )

    def tick(self, tick: int) -> None:
        """The next `part_s`; `tick` is its number."""
        clock, filling = self.scenario.clock, self.scenario.filling
        day, of_day = divmod(tick, clock.ticks_a_day)
        if day and not of_day:
            self._next_day(day)
        at_s = tick * clock.part_s
        hour = at_s // 3600
        if self.planner is not None:
            local_h = (at_s / 3600 + self.world.viewing.zone_h) % 24
            night = set(self.world.viewing.region[local_h < clock.part_s / 3600 - 1e-9].tolist())
            for region in range(self.scenario.net.regions):
                if region in night or not of_day:
                    self.churned[day] += self.planner.fill(
                        region, hour, at_once=region not in night
                    )
        shows = self.world.viewing.tick(tick + int(filling.hour * 3600 / clock.part_s))
        away = self._away_at(at_s)
        due = away != self._away or tick % max(1, _TTL_S // clock.part_s) == 0
        self._away = away
        self.serving.serve(shows, hour, due=due)
        load = self.serving.sent * 8 / clock.part_s / self.fleet.network.capacity_bps
        ends = (at_s + clock.part_s) % 3600 < clock.part_s
        self.ledger.loaded(hour, load, ends=ends)
        self.fleet.network.hear(load, away)

    def _next_day(self, day: int) -> None:
        arrivals = self.world.next_day(day - 1)
        for one in arrivals:
            self.fleet.replace(one.title)
        if self.planner is not None:
            self.planner.next_day(self.serving.take_watched(), arrivals)

    def _away_at(self, at_s: float) -> frozenset[int]:
        since_h = at_s / 3600 - self.scenario.clock.warmup_days * 24
        return frozenset(
            outage.site
            for outage in self.scenario.outages
            if outage.from_hour <= since_h < outage.from_hour + outage.hours
        )

"""The part of a simulated world that no variant changes: films and viewers."""

import numpy as np

from lab.simulate.catalog import Arrival, Catalog, Charts
from lab.simulate.scenario import Scenario
from lab.simulate.viewing import Viewing


class World:
    """The same for the same scenario and seed, whoever serves it."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        streams = np.random.SeedSequence(seed).spawn(4)
        films, charts, viewing, turns = (np.random.Generator(np.random.PCG64(s)) for s in streams)
        self.scenario = scenario
        self.catalog = Catalog(scenario, films)
        self.charts = Charts(scenario, self.catalog, charts)
        self.viewing = Viewing(scenario, self.catalog, self.charts, viewing)
        self.turns = turns  # chance, by which viewers ask one after the other
        self.days = scenario.clock.warmup_days + scenario.clock.days

    def next_day(self, day: int) -> list[Arrival]:
        """The day `day` is over: its successor's charts hold. Who watched what has gone has
        stopped. Returns what is new."""
        arrivals = self.charts.next_day(day)
        self.viewing.forget([one.title for one in arrivals])
        return arrivals

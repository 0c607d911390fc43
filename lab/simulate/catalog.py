"""The titles of a simulated world: their files, and how they rise and fall from day to day. Pure,
but for the seeded chance that is handed in."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from lab.simulate.scenario import Scenario

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Numbering(NamedTuple):
    """Titles, renditions and parts are numbers, and so is a file, `item`: one part of one rendition
    of one title. A `row` is one rendition of one title."""

    titles: int
    renditions: int
    most_parts: int


class Catalog:
    """The films of a world. A title that is replaced keeps its number and becomes another
    package."""

    def __init__(self, scenario: Scenario, chance: Generator) -> None:
        films, clock = scenario.films, scenario.clock
        self.titles = films.titles
        self.rungs = len(films.rung_mbps)
        self.rates_bps = np.array([*films.rung_mbps, *films.audio_mbps]) * 1e6
        self.renditions = len(self.rates_bps)
        shortest_s, longest_s = (minutes * 60 for minutes in films.minutes)
        self.seconds: Floats = chance.uniform(shortest_s, longest_s, self.titles)
        self.parts: Ints = np.ceil(self.seconds / clock.part_s).astype(np.int64)
        self.most_parts = int(self.parts.max())
        self.generation: Ints = np.zeros(self.titles, np.int64)
        self._part_s = clock.part_s

    @property
    def numbering(self) -> Numbering:
        """Of its files."""
        return Numbering(self.titles, self.renditions, self.most_parts)

    @property
    def items(self) -> int:
        """How many numbers of files there are; some have no file."""
        return self.titles * self.renditions * self.most_parts

    @property
    def total_bytes(self) -> float:
        """Of all files."""
        return float(self.seconds.sum() * self.rates_bps.sum() / 8)

    def first_item(self, title: Ints, rendition: Ints) -> Ints:
        """The first part; the others follow it."""
        return (title * self.renditions + rendition) * self.most_parts

    def seconds_of(self, title: Ints, part: Ints | int) -> Floats:
        """How much of these parts there is: all, or what is left of the film."""
        left: Floats = np.clip(self.seconds[title] - part * self._part_s, 0, self._part_s)
        return left

    def bytes_of(self, title: Ints, rendition: Ints, part: Ints) -> Ints:
        """Of the files of these parts."""
        size: Ints = (self.seconds_of(title, part) * self.rates_bps[rendition] / 8).astype(np.int64)
        return size

    def part_bytes(self, row: int) -> list[int]:
        """Of the files of a rendition, in their order."""
        title, rendition = divmod(row, self.renditions)
        parts = np.arange(self.parts[title])
        same = np.zeros(len(parts), np.int64)
        sizes: list[int] = self.bytes_of(same + title, same + rendition, parts).tolist()
        return sizes

    def rendition_bytes(self) -> Ints:
        """Of the files of each rendition together, by title and rendition."""
        titles = np.arange(self.titles)
        last = self.seconds_of(titles, self.parts - 1)[:, None] * self.rates_bps / 8
        whole = (self._part_s * self.rates_bps / 8).astype(np.int64)
        size: Ints = (self.parts - 1)[:, None] * whole + last.astype(np.int64)
        return size


@dataclass(frozen=True)
class Arrival:
    """A title that begins tomorrow in the place of another, and what the operator expects: this
    share of all views."""

    title: int
    guess: float


class Charts:
    """How popular the titles are today, in each region."""

    def __init__(self, scenario: Scenario, catalog: Catalog, chance: Generator) -> None:
        self._viewing = scenario.viewing
        self._scenario = scenario
        self._catalog = catalog
        self._chance = chance
        count = catalog.titles
        self._own = -scenario.viewing.zipf * np.log(1 + chance.permutation(count))
        self._boost: Floats = np.zeros(count)
        self._taste = chance.normal(0, scenario.viewing.regional, (scenario.net.regions, count))
        self.shares = self._shares()

    def next_day(self, day: int) -> list[Arrival]:
        """It is the next day: `shares` are its own. Returns who is new. `day` is the number of the
        one that ends; launches count from the end of the warm-up."""
        viewing, chance = self._viewing, self._chance
        count = self._catalog.titles
        self._own += chance.normal(0, viewing.drift, count)
        self._boost *= 1 - viewing.launch_fade
        new = min(self._scenario.films.launches_per_day, count)
        least = np.argsort(self._own + self._boost, kind="stable")[: new + 100]
        ranks = np.exp(chance.uniform(np.log(min(10, count)), np.log(count + 1), new))
        errors = np.exp(chance.normal(0, viewing.guess_error, new + 100))
        self._taste[:, least[:new]] = chance.normal(0, viewing.regional, (len(self._taste), new))
        arrivals = list(least[:new])
        self._own[least[:new]] = -viewing.zipf * np.log(ranks)
        self._boost[least[:new]] = np.log(viewing.launch_boost)
        measured = day - self._scenario.clock.warmup_days
        for number, launch in enumerate(self._scenario.launches):
            if launch.day == measured:
                title = least[new + number]
                arrivals.append(title)
                self._own[title] = self._own.max()
                self._boost[title] = np.log(launch.boost)
                self._taste[:, title] = 0
        self._catalog.generation[arrivals] += 1
        self.shares = self._shares()
        mean = self.shares.mean(axis=0)
        return [
            Arrival(int(title), float(mean[title] * error))
            for title, error in zip(arrivals, errors, strict=False)
        ]

    def _shares(self) -> Floats:
        """Of all views of a region, by region and title. Within a region the titles stand in an
        order, and their places say how much each is watched; one that is launched with a boost is
        above the first."""
        score = self._own + self._boost + self._taste
        places = np.empty_like(score)
        order = np.argsort(-score, axis=1, kind="stable")
        ranks = np.arange(1, score.shape[1] + 1, dtype=np.float64) ** -self._viewing.zipf
        np.put_along_axis(places, order, np.broadcast_to(ranks, score.shape), axis=1)
        for launch in self._scenario.launches:
            loud = self._boost > np.log(max(launch.boost, 1.0)) * 0.3
            places[:, loud] *= np.exp(self._boost[loud])
        shares: Floats = places / places.sum(axis=1, keepdims=True)
        return shares

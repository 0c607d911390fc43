"""Who watches what, when and where, tick by tick. It knows of no appliance, so whatever is compared
on a scenario serves the very same viewers. Pure, but for the seeded chance that is handed in."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from lab.simulate.catalog import Bools, Catalog, Charts, Floats, Ints
from lab.simulate.scenario import DAY_S, Scenario

_QUARTER_S = 900.0


@dataclass
class Showings:
    """What is being watched: columns of equal length. Each is `viewers` who are at the same part of
    the same film, in the same rendition, at the same site."""

    site: Ints
    title: Ints
    rung: Ints
    language: Ints
    part: Ints
    viewers: Ints

    def __len__(self) -> int:
        return len(self.site)

    def only(self, which: Bools | Ints) -> "Showings":
        """Those."""
        return Showings(*(column[which] for column in self.columns()))

    def and_also(self, others: "Showings") -> "Showings":
        """Both."""
        pairs = zip(self.columns(), others.columns(), strict=True)
        return Showings(*(np.concatenate(pair) for pair in pairs))

    def columns(self) -> tuple[Ints, ...]:
        """In their order."""
        return (self.site, self.title, self.rung, self.language, self.part, self.viewers)


class Viewing:
    """All viewers of a world."""

    def __init__(
        self, scenario: Scenario, catalog: Catalog, charts: Charts, chance: Generator
    ) -> None:
        self._scenario = scenario
        self._catalog = catalog
        self._charts = charts
        self._chance = chance
        net, viewing = scenario.net, scenario.viewing
        sites = np.arange(net.sites)
        self.region: Ints = sites % net.regions
        zones = np.array(net.zones_h)
        self.zone_h: Floats = zones[self.region % len(zones)]
        falling = net.largest ** -(sites / max(1, net.sites - 1))
        self.weight: Floats = falling / falling.sum()
        self._rungs = np.cumsum(viewing.rung_share)
        self._languages = np.cumsum(viewing.audio_share)
        self._by_hour = _by_hour(viewing.night)
        ends = np.arange(1, catalog.most_parts + 1) * scenario.clock.part_s / _QUARTER_S
        still = np.where(
            ends <= 1,
            viewing.stays_first**ends,
            viewing.stays_first * viewing.stays ** np.maximum(ends - 1, 0),
        )
        before = np.concatenate([[1.0], still[:-1]])
        self._goes_on: Floats = np.divide(still, before, out=np.zeros_like(still), where=before > 0)
        self.seen: Floats = (1 + self._goes_on) / 2  # of a part, on average
        # The chance to see a part of a film that is long enough.
        self.reached: Floats = np.concatenate([[1.0], np.cumprod(self._goes_on[:-1])])
        self.rung_share = viewing.rung_share
        self.audio_share = viewing.audio_share
        none = np.zeros(0, np.int64)
        self._now = Showings(none, none, none, none, none, none)

    def mean_bps(self) -> Floats:
        """What the viewers of each site take, averaged over the day."""
        viewing, catalog = self._scenario.viewing, self._catalog
        rate = np.dot(viewing.rung_share, catalog.rates_bps[: catalog.rungs])
        rate += np.dot(viewing.audio_share, catalog.rates_bps[catalog.rungs :])
        titles = np.arange(catalog.titles)
        lasts = np.array([catalog.seconds_of(titles, n).mean() for n in range(catalog.most_parts)])
        seconds = float((lasts * self.reached * self.seen).sum())
        mean: Floats = self.weight * viewing.sessions_per_day * seconds * rate / DAY_S
        return mean

    def tick(self, number: int) -> Showings:
        """All that is watched in this tick; those who began before have gone on, or have left."""
        self._now = self._going_on().and_also(self._beginning(number))
        return self._now

    def forget(self, titles: list[int]) -> None:
        """Nobody watches these any more: they have gone."""
        self._now = self._now.only(~np.isin(self._now.title, titles))

    def _going_on(self) -> Showings:
        now = self._now
        if not len(now):
            return now
        stay = self._chance.binomial(now.viewers, self._goes_on[now.part])
        now = Showings(now.site, now.title, now.rung, now.language, now.part + 1, stay)
        return now.only((stay > 0) & (now.part < self._catalog.parts[now.title]))

    def _beginning(self, number: int) -> Showings:
        clock, viewing, chance = self._scenario.clock, self._scenario.viewing, self._chance
        hour = (number * clock.part_s / 3600 + self.zone_h - viewing.peak_hour) % 24
        rate = np.interp(hour, np.arange(25), self._by_hour)
        counts = chance.poisson(
            viewing.sessions_per_day * clock.part_s / DAY_S * self.weight * rate
        )
        sites = np.repeat(np.arange(len(counts)), counts)
        regions = self.region[sites]
        titles = np.empty(len(sites), np.int64)
        for region in np.unique(regions):
            here = regions == region
            cumulated = np.cumsum(self._charts.shares[region])
            titles[here] = _drawn(cumulated, chance.random(int(here.sum())))
        rungs = _drawn(self._rungs, chance.random(len(sites)))
        languages = _drawn(self._languages, chance.random(len(sites)))
        # Who begins the same at the same time is drawn as one from now on.
        of = (len(self._rungs), len(self._languages))
        key = ((sites * self._catalog.titles + titles) * of[0] + rungs) * of[1] + languages
        key, viewers = np.unique(key, return_counts=True)
        key, languages = np.divmod(key, of[1])
        key, rungs = np.divmod(key, of[0])
        sites, titles = np.divmod(key, self._catalog.titles)
        return Showings(sites, titles, rungs, languages, np.zeros(len(sites), np.int64), viewers)


def _drawn(cumulated: Floats, chances: Floats) -> Ints:
    """The number whose share of the whole each chance falls into."""
    found = np.searchsorted(cumulated, chances * cumulated[-1], side="right")
    number: Ints = np.minimum(found, len(cumulated) - 1).astype(np.int64)
    return number


def _by_hour(night: float) -> Floats:
    """How many begin, by hours after the peak, 1 on average."""
    hours = np.arange(25)
    curve = night + (1 - night) * ((1 + np.cos(2 * math.pi * hours / 24)) / 2) ** 2
    by_hour: Floats = curve / curve[:24].mean()
    return by_hour

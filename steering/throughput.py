"""How fast viewers of a network get their bytes from each site, by their players' words. Pure.

The map says which site is near; this says where the map is wrong: a congested link between a
network and its own site. Such a site goes behind one that is measured to be faster. It takes many
words to say so, and a wide margin to unsay it, so that viewers are not sent to and fro; and after a
while without words it is tried again. Beyond what a viewer can use, faster is no better: a near
site that gives plenty is never left for a far one that gives more.
"""

import math
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

LEAST_WORDS = 10  # of a network about a site
SLOW_BELOW, FAST_FROM = 0.5, 0.8  # of what another site gives
_FRESH_S = 600.0
_NEWEST = 0.2  # the weight of a new word
_MOST_NETWORKS = 20_000
_MOST_SITES = 16


@dataclass(slots=True)
class Pace:
    """What a network gets of a site."""

    network: str
    site: str
    bps: float
    words: int
    heard_s: float


class ThroughputBook:
    """The networks heard last. From `enough_bps` on, all sites are equally fast."""

    def __init__(self, enough_bps: float = math.inf) -> None:
        self._enough_bps = enough_bps
        self._paces: OrderedDict[str, dict[str, Pace]] = OrderedDict()
        self._others: dict[str, dict[tuple[str, str], Pace]] = {}  # of other instances
        self._slow: dict[str, dict[str, str]] = {}

    def hear(self, network: str, site: str, bps: float, now_s: float) -> None:
        """A viewer of the network had this throughput from the site."""
        sites = self._paces.get(network)
        if sites is None:
            sites = self._paces[network] = {}
        self._paces.move_to_end(network)
        pace = sites.get(site)
        if pace is None or not 0 <= now_s - pace.heard_s < _FRESH_S:
            if pace is None and len(sites) >= _MOST_SITES:
                return
            pace = sites[site] = Pace(network, site, bps, 0, now_s)
        pace.words += 1
        pace.bps += (bps - pace.bps) * max(_NEWEST, 1 / pace.words)
        pace.heard_s = now_s
        if len(sites) > 1 or self._others or network in self._slow:
            self._judge(network, now_s)
        if len(self._paces) > _MOST_NETWORKS:
            gone, _ = self._paces.popitem(last=False)
            self._slow.pop(gone, None)

    def slow(self, network: str, now_s: float) -> Mapping[str, str]:
        """The sites that are slow for this network, each with the one that is faster."""
        if network in self._slow:
            self._judge(network, now_s)
        return self._slow.get(network, {})

    def by_site(self, now_s: float) -> dict[str, float]:
        """The mean over networks of what each site gives, of those heard here lately."""
        found: dict[str, list[float]] = {}
        for pace in self.words(now_s):
            found.setdefault(pace.site, []).append(pace.bps)
        return {site: sum(rates) / len(rates) for site, rates in sorted(found.items())}

    def words(self, now_s: float) -> list[Pace]:
        """What was heard here, for others: of the networks heard last."""
        return [
            pace
            for sites in self._paces.values()
            for pace in sites.values()
            if 0 <= now_s - pace.heard_s < _FRESH_S
        ]

    def hear_all(self, instance: str, paces: Iterable[Pace], now_s: float) -> None:
        """What another instance has heard by now counts, too; instead of what it said before."""
        self._others[instance] = {(pace.network, pace.site): pace for pace in paces}
        for network, _ in self._others[instance]:
            self._judge(network, now_s)

    def forget_instances(self, alive: Collection[str]) -> None:
        """Other instances than these say nothing any more."""
        for gone in self._others.keys() - set(alive):
            del self._others[gone]

    def _judge(self, network: str, now_s: float) -> None:
        means = self._means(network, now_s)
        if len(means) < 2:
            self._slow.pop(network, None)
            return
        fastest = max(means, key=means.__getitem__)
        before = self._slow.get(network, {})
        slow = {
            site: fastest
            for site, bps in means.items()
            if bps < (FAST_FROM if site in before else SLOW_BELOW) * means[fastest]
        }
        if slow:
            self._slow[network] = slow
        else:
            self._slow.pop(network, None)

    def _means(self, network: str, now_s: float) -> dict[str, float]:
        """By site, over all instances, of those that enough was said of."""
        found: dict[str, list[Pace]] = {}
        for pace in self._paces.get(network, {}).values():
            found.setdefault(pace.site, []).append(pace)
        for said in self._others.values():
            for site in {site for other, site in said if other == network}:
                found.setdefault(site, []).append(said[network, site])
        means = {}
        for site, paces in found.items():
            fresh = [pace for pace in paces if 0 <= now_s - pace.heard_s < _FRESH_S]
            words = sum(pace.words for pace in fresh)
            if words >= LEAST_WORDS:
                mean_bps = sum(pace.bps * pace.words for pace in fresh) / words
                means[site] = min(mean_bps, self._enough_bps)
        return means

"""Who serves whom in a simulated world: the map, and the ranking that ships (media/rank.py), asked
as steering asks it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lab.simulate.box import Box
from lab.simulate.catalog import Catalog, Floats, Ints
from media.homes import home_of, tier_home_of
from media.places import Atlas
from media.rank import CALM_LOAD, Asked, Candidate, Limits, Standing, order, personal, standings

_LIMITS = Limits()
_CALM_LOAD = min(CALM_LOAD, _LIMITS.full_load)  # below it nobody is full or crowded
_SILENT_S = 1e6


class _Answer(NamedTuple):
    """An answer, and all that it was made of."""

    box: int
    standings: tuple[tuple[int, int], ...]  # the version of each site's
    held: tuple[tuple[str, float], ...]
    personal: bool


class _Looking:
    """The fleet, as one question sees it; it notes what was looked at."""

    def __init__(self, network: "Network", title: int) -> None:
        self._network = network
        self._title = title
        self.seen_sites: list[int] = []
        self.seen_held: list[tuple[str, float]] = []

    def at(self, site: str) -> Sequence[Standing]:
        """See Fleet."""
        number = self._network.number_of[site]
        self.seen_sites.append(number)
        return self._network.at(number)

    def held(self, appliance_id: str) -> float:
        """See Fleet."""
        share = self._network.held(appliance_id, self._title)
        self.seen_held.append((appliance_id, share))
        return share

    def holds(self, site: str) -> bool:
        """See Fleet: no site of a simulated world has all renditions of a title whole."""
        return False


class Network:
    """Sites, their appliances, and where viewers are sent."""

    def __init__(
        self, atlas: Atlas, boxes: Sequence[Box], catalog: Catalog, capacity_bps: Floats
    ) -> None:
        self.boxes = boxes
        self.capacity_bps = capacity_bps
        self._atlas = atlas
        self._catalog = catalog
        self._sites = tuple(atlas.sites)
        self._places = [atlas.place_of_site(site) for site in self._sites]
        self._site_of_box: Ints = np.array([box.site for box in boxes])
        self._ids = [f"a{box.number}" for box in boxes]
        self._by_id = dict(zip(self._ids, boxes, strict=True))
        self._of_site: list[list[Box]] = [[] for _ in self._sites]
        for box in boxes:
            self._of_site[box.site].append(box)
        self._members = [
            {self._ids[box.number]: int(capacity_bps[box.number]) for box in group}
            for group in self._of_site
        ]
        self._regions: list[dict[str, dict[str, int]]] = [{} for _ in atlas.regions]
        numbers = {region: number for number, region in enumerate(atlas.regions)}
        for (name, site), members in zip(atlas.sites.items(), self._members, strict=True):
            self._regions[numbers[site.region]][name] = members
        # Numbers of boxes; -1: nobody has asked yet.
        self._homes = np.full((len(self._sites), catalog.titles), -1, np.int32)
        self._tier_homes = np.full((len(self._regions), catalog.titles), -1, np.int32)
        self.number_of = {site: number for number, site in enumerate(self._sites)}
        self._load: Floats = np.zeros(len(boxes))
        self._away: frozenset[int] = frozenset()
        self._standings: dict[int, tuple[Standing, ...]] = {}
        self._eventful: set[int] = set()  # sites of which not all are simply fit
        self._versions = [0] * len(self._sites)
        self._answers: dict[tuple[int, int], _Answer] = {}

    def siblings(self, site: int) -> list[Box]:
        """The appliances of a site."""
        return self._of_site[site]

    def home(self, site: int, title: int) -> Box:
        """The appliance of the site that brings the title's files for the others, and where
        ranking sends its viewers, as long as nothing speaks against it."""
        number = int(self._homes[site, title])
        if number < 0:
            found = self._by_id[home_of(self._package(title), self._members[site])]
            number = self._homes[site, title] = found.number
        return self.boxes[number]

    def tier_home(self, region: int, title: int) -> Box:
        """The appliance that brings the title's files for all sites of a region."""
        number = int(self._tier_homes[region, title])
        if number < 0:
            found = self._by_id[tier_home_of(self._package(title), self._regions[region])]
            number = self._tier_homes[region, title] = found.number
        return self.boxes[number]

    def replaced(self, title: int) -> None:
        """The title's number is another package's."""
        self._homes[:, title] = -1
        self._tier_homes[:, title] = -1

    def held(self, appliance_id: str, title: int) -> float:
        """How much of a title's package is there, as far as ranking asks: some, or nothing."""
        return 0.5 if self._by_id[appliance_id].held[title] else 0.0

    def at(self, site: int) -> tuple[Standing, ...]:
        """How the site's appliances stand."""
        known = self._standings.get(site)
        if known is None:
            known = self._standings[site] = self._stand(site)
        return known

    def hear(self, load: Floats, away: frozenset[int]) -> None:
        """All appliances have reported their load; those of the sites `away` are silent. At most
        sites nothing comes of it: all have little to do, and are fit."""
        before, earlier = self._eventful, self._standings
        self._load, self._away = load.copy(), away
        self._eventful = set(self._site_of_box[load >= _CALM_LOAD].tolist()) | away
        self._standings = {}
        for site in before | self._eventful:
            known = earlier.get(site)
            if known is None or [_decisive(one) for one in known] != [
                _decisive(one) for one in self.at(site)
            ]:
                self._versions[site] += 1

    def serve(self, site: int, title: int, session: int) -> int:
        """The appliance that serves this title to a viewer at this site; -1 if none does."""
        known = self._answers.get((site, title))
        if known is not None and not known.personal and self._stands(known, title):
            return known.box
        looking = _Looking(self, title)
        asked = Asked(self._package(title), self._places[site], wanted=1, session_id=str(session))
        ids = order(asked, looking, self._atlas.rings(asked.place))
        box = self._by_id[ids[0]].number if ids else -1
        self._answers[site, title] = _Answer(
            box,
            tuple((number, self._versions[number]) for number in looking.seen_sites),
            tuple(looking.seen_held),
            any(personal(one) for number in looking.seen_sites for one in self.at(number)),
        )
        return box

    def _package(self, title: int) -> str:
        return f"{title}.{self._catalog.generation[title]}"

    def _stand(self, number: int) -> tuple[Standing, ...]:
        group = [
            Candidate(
                appliance_id=self._ids[box.number],
                site=self._sites[number],
                url="",
                host=self._ids[box.number],
                state="serving",
                bottleneck="",
                age_s=_SILENT_S if number in self._away else 0.0,
                clock_skew_s=0.0,
                draining=False,
                load=float(self._load[box.number]),
                capacity_bps=int(self.capacity_bps[box.number]),
            )
            for box in self._of_site[number]
        ]
        return standings(group, _LIMITS)

    def _stands(self, known: _Answer, title: int) -> bool:
        """Nothing that it was made of has changed."""
        versions = self._versions
        return all(versions[site] == version for site, version in known.standings) and all(
            self.held(name, title) == share for name, share in known.held
        )


def _decisive(standing: Standing) -> tuple[object, ...]:
    """What of a standing decides."""
    return standing.refused, standing.full != "", standing.crowded != ""

"""Viewers of a simulated world get what they ask for."""

import numpy as np

from lab.simulate.box import Box
from lab.simulate.catalog import Floats, Ints
from lab.simulate.fleet import Fleet
from lab.simulate.ledger import Ledger, Tier
from lab.simulate.variants import Variant
from lab.simulate.viewing import Showings
from lab.simulate.world import World


class Serving:
    """What is asked, by whom, of whom, and where that has it from."""

    def __init__(self, world: World, fleet: Fleet, variant: Variant, ledger: Ledger) -> None:
        self._world = world
        self._fleet = fleet
        self._variant = variant
        self._ledger = ledger
        self._box_of: dict[tuple[int, int], int] = {}  # by site and title
        clock = world.scenario.clock
        self._segments = clock.part_s // clock.segment_s
        self._cohorts = clock.cohorts
        self.sent: Floats = np.zeros(len(fleet.boxes))  # by each box, in the last tick
        count = world.catalog.titles * world.catalog.renditions
        self.watched: Floats = np.zeros((world.scenario.net.regions, count))  # bytes, by row; see
        # `take_watched`

    def take_watched(self) -> Floats:
        """What the boxes have reported since the last time: what was sent of each rendition, by the
        region of the box."""
        watched, self.watched = self.watched, np.zeros_like(self.watched)
        return watched

    def serve(self, shows: Showings, hour: int, *, due: bool) -> None:
        """All of it is sent. If it is `due`, every viewer has asked steering again."""
        self.sent[:] = 0
        if not len(shows):
            return
        if not self._cohorts:
            each = np.repeat(np.arange(len(shows)), shows.viewers)
            shows = shows.only(each)
            shows.viewers = np.ones(len(each), np.int64)
        boxes = self._ranked(shows, hour, due)
        fit = boxes >= 0
        if not fit.all():
            self._ledger.refused[hour] += int(shows.viewers[~fit].sum())
            shows, boxes = shows.only(fit), boxes[fit]
            if not len(shows):
                return
        self._ledger.requests[hour] += 2 * self._segments * int(shows.viewers.sum())
        catalog, viewing = self._world.catalog, self._world.viewing
        # Everybody hears some language while they see some rung.
        twice = np.tile(np.arange(len(shows)), 2)
        site, title, part = shows.site[twice], shows.title[twice], shows.part[twice]
        boxes, viewers = boxes[twice], shows.viewers[twice]
        rendition = np.concatenate([shows.rung, shows.language + catalog.rungs])
        item = catalog.first_item(title, rendition) + part
        size = catalog.bytes_of(title, rendition, part)
        seen = viewing.seen[part]
        sent = size * viewers * seen
        self.sent += np.bincount(boxes, sent, len(self.sent))
        box_site = boxes // self._world.scenario.net.appliances
        tier = np.where(box_site == site, Tier.SITE, Tier.PEER)
        self._ledger.took(hour, tier, site, sent)
        if self._variant.plan:
            row = viewing.region[box_site] * self.watched.shape[1] + item // catalog.most_parts
            np.add.at(self.watched.reshape(-1), row, sent)
        if self._cohorts:  # who wants the same file of the same appliance at once wants it once
            _, where, inverse = np.unique(
                (boxes * self._world.scenario.net.sites + site) * catalog.items + item,
                return_index=True,
                return_inverse=True,
            )
            unseen = np.bincount(inverse, viewers * np.log(1 - seen + 1e-12))
            viewers = np.bincount(inverse, viewers).astype(np.int64)
            boxes, item, site, size = boxes[where], item[where], site[where], size[where]
            seen = 1 - np.exp(unseen)
        # In any order, but box by box: one and the same would be a loop, the worst case for LRU.
        turn = self._world.turns.permutation(len(boxes))
        turn = turn[np.argsort(boxes[turn], kind="stable")]
        self._ask(
            boxes[turn],
            item[turn],
            viewers[turn],
            (size * seen)[turn],
            site[turn],
            size[turn],
            hour,
        )

    def _ask(
        self,
        boxes: Ints,
        items: Ints,
        viewers: Ints,
        wanted: Floats,
        sites: Ints,
        sizes: Ints,
        hour: int,
    ) -> None:
        """Each box is asked for items, all together in order, of which so many bytes are wanted."""
        starts = np.flatnonzero(np.diff(boxes, prepend=-1))
        ends = np.append(starts[1:], len(boxes))
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            box = self._fleet.boxes[boxes[start]]
            uses = box.uses
            asked = zip(items[start:end].tolist(), viewers[start:end].tolist(), strict=True)
            for at, (item, by) in enumerate(asked, start):
                if not uses(item, by):
                    tier = self._bring(box, item, int(sizes[at]))
                    site = int(sites[at])
                    own = Tier.SITE if box.site == site else Tier.PEER
                    if tier > own:
                        self._ledger.missed(hour, site, own, tier, float(wanted[at]))

    def _bring(self, box: Box, item: int, size: int) -> Tier:
        """The box brings the file from its home in the site, that from its home in the region, that
        from the store; each keeps it. Returns where it was."""
        network = self._fleet.network
        title = item // (self._world.catalog.renditions * self._world.catalog.most_parts)
        way = [box]
        home = network.home(box.site, title)
        if home is not box:
            way.append(home)
        if self._variant.tiers:
            region = int(self._world.viewing.region[box.site])
            tier_home = network.tier_home(region, title)
            if tier_home.site != box.site:
                way.append(tier_home)
        found = len(way)
        for at in range(1, len(way)):
            if way[at].uses(item, 1):
                found = at
                break
        for one in way[:found]:
            self._fleet.bring(one, item, size)
        if found == len(way):
            return Tier.STORE
        return Tier.SITE if way[found].site == box.site else Tier.PEER

    def _ranked(self, shows: Showings, hour: int, due: bool) -> Ints:
        """The box that serves each showing."""
        titles = self._world.catalog.titles
        each, first, inverse, count = np.unique(
            shows.site * titles + shows.title,
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        found = np.empty(len(each), np.int64)
        ask, known = self._fleet.network.serve, self._box_of
        if due and len(known) > 4 * len(each):
            known.clear()
        sites, wanted = np.divmod(each, titles)
        for at, pair in enumerate(zip(sites.tolist(), wanted.tolist(), strict=True)):
            box = known.get(pair)
            if box is None or due:
                before, box = box, ask(pair[0], pair[1], int(first[at]))
                known[pair] = box
                if before is not None and before != box:
                    self._ledger.moves[hour] += int(count[at])
            found[at] = box
        return found[inverse]

"""The appliances of a simulated world, and what all of them hold."""

import math
from collections.abc import Sequence

import numpy as np

from lab.simulate.box import Box
from lab.simulate.catalog import Ints
from lab.simulate.ledger import Tier
from lab.simulate.network import Network
from lab.simulate.variants import Variant
from lab.simulate.world import World

_MOST_BYTES = 2**62


class Fleet:
    """All boxes, and the network that they make."""

    def __init__(self, world: World, variant: Variant) -> None:
        scenario, catalog = world.scenario, world.catalog
        net, clock = scenario.net, scenario.clock
        disk = math.inf if variant.unbounded else net.disk_share * catalog.total_bytes
        self.boxes = [
            Box(
                number,
                number // net.appliances,
                int(min(disk / net.appliances, _MOST_BYTES)),
                catalog.numbering,
                variant.policy,
                variant.admission,
                files_together=clock.part_s // clock.segment_s,
            )
            for number in range(net.sites * net.appliances)
        ]
        mean_bps = world.viewing.mean_bps() * net.headroom / net.appliances
        capacity_bps = np.repeat(np.maximum(mean_bps, 1.0), net.appliances)
        self.network = Network(scenario.atlas(), self.boxes, catalog, capacity_bps)
        self._catalog = catalog
        self._row_bytes = catalog.rendition_bytes().reshape(-1)
        self._holders: Ints = np.zeros(catalog.items, np.int32)  # unpinned, by item
        self._pinners: Ints = np.zeros(len(self._row_bytes), np.int32)  # by row

    @property
    def disk_bytes(self) -> int:
        """Of all."""
        return sum(box.budget_bytes for box in self.boxes)

    def bring(self, box: Box, item: int, size: int) -> None:
        """The box holds the file, if it has room for it."""
        evicted: list[int] = []
        if box.brings(item, size, evicted):
            self._holders[item] += 1
        self._left(evicted)

    def unpin(self, box: Box, rows: Sequence[int]) -> None:
        """The box may let these renditions go, which were pinned there."""
        for row in rows:
            sizes = self._catalog.part_bytes(row)
            box.unpin(row, sizes)
            self._pinners[row] -= 1
            first = row * self._catalog.most_parts
            self._holders[first : first + len(sizes)] += 1

    def pin(self, box: Box, rows: Ints) -> dict[Tier, float]:
        """The box holds these renditions, which were not pinned there, as far as there is room, and
        will. Returns the bytes that came, by tier: a plan names who has a file already, or will
        have it first."""
        came = dict.fromkeys(Tier, 0.0)
        siblings = [one for one in self.network.siblings(box.site) if one is not box]
        known = np.frombuffer(box.held, np.uint32) > 0
        for one in siblings:
            known |= np.frombuffer(one.held, np.uint32) > 0
        # Nothing of the title is at the site, and somebody elsewhere has the rendition whole.
        plain = ~known[rows // self._catalog.renditions] & (self._pinners[rows] > 0)
        size = int(self._row_bytes[rows[plain]].sum())
        evicted: list[int] = []
        if box.pin_all(rows[plain].tolist(), size, evicted):
            came[Tier.PEER] += size
            self._pinners[rows[plain]] += 1
            rows = rows[~plain]
        self._left(evicted)
        for row in rows.tolist():
            self._pin(box, row, siblings, came)
        return came

    def replace(self, title: int) -> None:
        """The title's package is removed from everywhere, as a tombstone does it."""
        catalog = self._catalog
        self.network.replaced(title)
        per_title = catalog.renditions * catalog.most_parts
        items = range(title * per_title, (title + 1) * per_title)
        rows = range(title * catalog.renditions, (title + 1) * catalog.renditions)
        for box in self.boxes:
            if box.held[title]:
                box.drop(items)
                for row in rows:
                    if box.pinned[row]:
                        box.drop_pinned(row, int(self._row_bytes[row]))
        self._holders[items.start : items.stop] = 0
        self._pinners[rows.start : rows.stop] = 0

    def _pin(self, box: Box, row: int, siblings: list[Box], came: dict[Tier, float]) -> None:
        first, sizes = row * self._catalog.most_parts, self._catalog.part_bytes(row)
        new = {first + at: size for at, size in enumerate(sizes) if first + at not in box.slots}
        evicted: list[int] = []
        if box.pin(row, sizes, evicted):
            for item, size in new.items():
                if not self._holders[item] and not self._pinners[row]:
                    came[Tier.STORE] += size
                else:
                    inside = any(one.has(item) for one in siblings)
                    came[Tier.SITE if inside else Tier.PEER] += size
            self._pinners[row] += 1
        self._left(evicted)

    def _left(self, items: list[int]) -> None:
        for item in items:
            self._holders[item] -= 1

    def validate_state(self) -> None:
        """Raises AssertionError if the counts are not those of the boxes."""
        holders, pinners = np.zeros_like(self._holders), np.zeros_like(self._pinners)
        for box in self.boxes:
            holders[list(box.slots)] += 1
            pinners += box.pinned
        assert (holders == self._holders).all()
        assert (pinners == self._pinners).all()

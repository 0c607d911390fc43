"""An appliance of a simulated world: what decides in the one that ships, without its disks.

Ration, admission and policy are the keeper's own (appliance/evict.py, admit.py), and so are the
columns that they work on; but a file is a number here, so that the names of an Index, which decide
nothing, cost nothing. Nothing takes time: a file that is brought is held at once, and its size
counts when it comes.

What a plan pins is whole renditions, which no policy is asked about. So they stand in one bitmap,
and in the ration as one pinned file of so many bytes: an appliance may hold a million files.
"""

from array import array
from collections.abc import Iterable, Sequence

import numpy as np

from appliance.evict import Admission, PolicyName, Ration, excess_bytes, make_policy, slack_bytes
from appliance.index import NIL, Index
from lab.simulate.catalog import Bools, Numbering

_MOST_USES = 3  # no policy counts more


class Slots(Index):
    """An index whose keys are numbers. The slot of an item is found by who asks."""

    def __init__(self) -> None:
        super().__init__()
        self.items = array("Q", [0])

    def key(self, slot: int) -> str:
        """See Index."""
        return str(self.items[slot])

    def take(self, item: int, size_bytes: int) -> int:
        """The slot of an item that is held from now on."""
        slot = self._free
        if slot == NIL:
            slot = len(self.sizes)
            self.sizes.append(size_bytes)
            self.items.append(item)
            for column in (self.flags, self.marks, self.newer, self.older):
                column.append(0)
        else:
            self._free = self.older[slot]
            self.sizes[slot] = size_bytes
            self.items[slot] = item
            self.flags[slot] = self.marks[slot] = 0
            self.older[slot] = NIL
        return slot

    def leave(self, slot: int) -> None:
        """It is another's."""
        self.flags[slot] = 0
        self.older[slot] = self._free
        self._free = slot


class Box:
    """One appliance. Files are items of the catalog, rows its renditions."""

    def __init__(
        self,
        number: int,
        site: int,
        budget_bytes: int,
        numbering: Numbering,
        policy: PolicyName,
        admission: Admission,
        *,
        files_together: int = 1,
        slack: bool = False,
    ) -> None:
        """An item is so many `files_together`. With `slack`, files leave ahead of need, as the
        keeper lets them."""
        self.number = number
        self.site = site
        self.budget_bytes = budget_bytes
        self.slots: dict[int, int] = {}  # of items
        # Items and pinned rows that are here, by title.
        self.held = array("I", bytes(4 * numbering.titles))
        self.pinned: Bools = np.zeros(numbering.titles * numbering.renditions, np.bool_)  # rows
        self.evictions = 0
        self._slack_bytes = slack_bytes(budget_bytes) if slack else 0
        self._parts = numbering.most_parts
        self._renditions = numbering.renditions
        self._per_title = numbering.renditions * numbering.most_parts
        # Single ones are found quicker so than in the column.
        self._is_pinned: memoryview[bool] = memoryview(self.pinned)  # type: ignore[arg-type]
        self._index = Slots()
        self._ration = Ration(
            self._index,
            make_policy(
                policy, admission, self._index, budget_bytes, files_together=files_together
            ),
        )
        self._idempotent = policy == "lru"
        self._pinned_slot = self._index.take(0, 0)
        self._ration.insert(self._pinned_slot, pinned=True)

    @property
    def used_bytes(self) -> int:
        """Never more than the budget."""
        return self._ration.used_bytes

    def has(self, item: int) -> bool:
        """The file is held."""
        return item in self.slots or self._is_pinned[item // self._parts]

    def uses(self, item: int, viewers: int) -> bool:
        """Whether the file is held; if it is, so many viewers have used it."""
        slot = self.slots.get(item, NIL)
        if slot == NIL:
            return self._is_pinned[item // self._parts]
        self._ration.touch(slot)
        if viewers > 1 and not self._idempotent:
            for _ in range(min(viewers, _MOST_USES) - 1):
                self._ration.touch(slot)
        return True

    def brings(self, item: int, size: int, evicted: list[int]) -> bool:
        """The file is held, and what had to leave for it has left; `evicted` has it. False when
        it cannot be: all else is pinned."""
        if not self._has_room(size, evicted):
            return False
        self._take(item, size)
        return True

    def pin(self, row: int, sizes: Sequence[int], evicted: list[int]) -> bool:
        """The plan wants the rendition, whose parts have these sizes: it is held whole; `evicted`
        has what left, or counts among the pinned now. False if there is no room for it."""
        first = row * self._parts
        here = [first + at for at in range(len(sizes)) if first + at in self.slots]
        evicted += here
        self.drop(here)
        return self.pin_all([row], sum(sizes), evicted)

    def pin_all(self, rows: Sequence[int], size: int, evicted: list[int]) -> bool:
        """Renditions of which nothing was here, of so many bytes together, are pinned. False if
        there is no room."""
        if not self._has_room(size, evicted):
            return False
        for row in rows:
            self._is_pinned[row] = True
            self.held[row // self._renditions] += 1
        self._weigh(size)
        return True

    def unpin(self, row: int, sizes: Sequence[int]) -> None:
        """The plan wants the rendition no longer: its files may leave. It was pinned."""
        self._let_go(row, sum(sizes))
        for at, size in enumerate(sizes):
            self._take(row * self._parts + at, size)

    def drop(self, items: Iterable[int]) -> None:
        """Those are not held any more."""
        for item in items:
            slot = self.slots.get(item, NIL)
            if slot != NIL:
                self._ration.remove(slot)
                self._forget(slot)

    def drop_pinned(self, row: int, size: int) -> None:
        """The rendition, which was pinned and has so many bytes, is not held any more."""
        self._let_go(row, size)

    def validate_state(self, sizes: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> None:
        """Raises AssertionError if something does not agree. `sizes` are those of all items."""
        pinned = sizes.reshape(-1, self._parts)[self.pinned].sum()
        loose = sum(int(sizes[item]) for item in self.slots)
        assert self._ration.pinned_bytes == pinned
        assert self._ration.used_bytes == pinned + loose <= self.budget_bytes
        assert all(self._index.items[slot] == item for item, slot in self.slots.items())
        assert not any(self.pinned[item // self._parts] for item in self.slots)
        count = np.zeros(len(self.held), np.int64)
        np.add.at(count, [item // self._per_title for item in self.slots], 1)
        np.add.at(count, np.flatnonzero(self.pinned) // self._renditions, 1)
        assert count.tolist() == self.held.tolist()

    def _has_room(self, size: int, evicted: list[int]) -> bool:
        """It has, after what had to leave has left."""
        ration = self._ration
        claimed = ration.used_bytes + size
        over = claimed - self.budget_bytes
        if over > ration.evictable_bytes:
            return False
        if over > 0:
            self._evict(over, evicted)
        if self._slack_bytes:
            claimed = ration.used_bytes + size
            self._evict(excess_bytes(claimed, self.budget_bytes, self._slack_bytes), evicted)
        return True

    def _evict(self, bytes_to_free: int, evicted: list[int]) -> None:
        victims = self._ration.victims(bytes_to_free, len(self.slots))
        self.evictions += len(victims)
        evicted += [self._forget(slot) for slot in victims]

    def _take(self, item: int, size: int) -> None:
        slot = self.slots[item] = self._index.take(item, size)
        self._ration.insert(slot)
        self.held[item // self._per_title] += 1

    def _let_go(self, row: int, size: int) -> None:
        self._is_pinned[row] = False
        self.held[row // self._renditions] -= 1
        self._weigh(-size)

    def _weigh(self, more: int) -> None:
        """The pinned have so many bytes more."""
        self._ration.remove(self._pinned_slot)
        self._index.sizes[self._pinned_slot] += more
        self._ration.insert(self._pinned_slot, pinned=True)

    def _forget(self, slot: int) -> int:
        """Returns the item that was there."""
        item = self._index.items[slot]
        del self.slots[item]
        self.held[item // self._per_title] -= 1
        self._index.leave(slot)
        return item

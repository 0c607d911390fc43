"""Which files leave the cache: three policies over the queues of an Index, and what counts. Pure.

    lru      the one that was not used for longest
    sieve    Zhang et al., "SIEVE is Simpler than LRU", NSDI 2024
    s3fifo   Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023

The papers count objects; here every queue is weighed in bytes. All three keep the very files that
libCacheSim keeps, which the papers' authors wrote (tests/lab/test_replay.py); S3-FIFO's warm-up is
the one that they added there after the paper. Two things are ours: files of more than a tenth of
the cache are kept, too, for who waits for them reads them from it; and as in the paper room is made
first, and then it is asked whether the newcomer's name is remembered.
"""

from collections.abc import Callable
from typing import Literal

from appliance.admit import SecondHit, Seen, fingerprint
from appliance.index import NIL, PINNED, Index, Queue
from appliance.policy import Policy

PolicyName = Literal["lru", "sieve", "s3fifo"]
Admission = Literal["all", "second_hit"]

# Names that are remembered after their files have left: 24 MB for each folder of the cache.
MAX_REMEMBERED = 1 << 20
_USUAL_FILE_BYTES = 64 * 1024  # a cache of fewer, larger files remembers more than it holds

_SLACK_PARTS = 50
_MOST_SLACK_BYTES = 256 * 1024 * 1024

_SMALL_SHARE = 0.1  # of S3-FIFO's bytes: the paper's
_GHOST_SHARE = 0.9  # as many names as the main queue has files
_MAX_USES = 3
_PASSING_USES = 2  # uses in the small queue that let a file into the main one
_USES = 0x03  # in Index.marks
_IN_MAIN = 0x04
_VISITED = 0x01


class Lru:
    """Least recently used first."""

    def __init__(self, index: Index) -> None:
        self._queue = Queue(index)
        self.insert = self._queue.push
        self.insert_oldest = self._queue.push_oldest
        self.remove = self._queue.remove
        self.victim = self._queue.pop

    def reserve(self, pinned_bytes: int) -> None:
        """See Policy."""

    def touch(self, slot: int) -> None:
        """See Policy."""
        queue = self._queue
        if queue.newest != slot:
            queue.remove(slot)
            queue.push(slot)


class Sieve:
    """A hand goes from the oldest to the newest and takes the first file that was not used since
    it last came by; used ones stay where they are."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._queue = Queue(index)
        self._hand = NIL
        self.insert = self._queue.push
        self.insert_oldest = self._queue.push_oldest

    def reserve(self, pinned_bytes: int) -> None:
        """See Policy."""

    def touch(self, slot: int) -> None:
        """See Policy."""
        self._index.marks[slot] = _VISITED

    def remove(self, slot: int) -> None:
        """See Policy."""
        if slot == self._hand:
            self._hand = self._index.newer[slot]
        self._index.marks[slot] = 0
        self._queue.remove(slot)

    def victim(self) -> int:
        """See Policy."""
        marks, newer = self._index.marks, self._index.newer
        slot = self._hand or self._queue.oldest
        while slot != NIL and marks[slot]:
            marks[slot] = 0
            slot = newer[slot] or self._queue.oldest
        if slot != NIL:
            self._hand = newer[slot]
            self._queue.remove(slot)
        return slot


class S3Fifo:
    """A small queue for newcomers, a main one for those used twice in it, and the names of those
    that were not: who of them comes again is let into the main queue at once. So are, as long as
    nothing had to leave yet, those for whom the small queue is full."""

    def __init__(self, index: Index, remembered: int, budget_bytes: int) -> None:
        """For a cache of so many bytes; remembers so many names at most."""
        self._index = index
        self._small = Queue(index)
        self._main = Queue(index)
        self._ghosts = Seen(remembered)
        self._budget_bytes = budget_bytes
        self._warm = False  # something had to leave
        self.reserve(0)

    def reserve(self, pinned_bytes: int) -> None:
        """See Policy."""
        room = max(0, self._budget_bytes - pinned_bytes)
        self._small_bytes = int(_SMALL_SHARE * room)
        self._main_bytes = room - self._small_bytes
        self._ghost_bytes = int(_GHOST_SHARE * room)

    def insert(self, slot: int) -> None:
        """See Policy."""
        returned = self._ghosts.pop(fingerprint(self._index.key(slot)))
        if returned or (not self._warm and self._small.bytes >= self._small_bytes):
            self._index.marks[slot] = _IN_MAIN
            self._main.push(slot)
        else:
            self._index.marks[slot] = 0
            self._small.push(slot)

    def insert_oldest(self, slot: int) -> None:
        """See Policy."""
        self._index.marks[slot] = _IN_MAIN
        self._main.push_oldest(slot)

    def touch(self, slot: int) -> None:
        """See Policy."""
        if self._index.marks[slot] & _USES < _MAX_USES:
            self._index.marks[slot] += 1

    def remove(self, slot: int) -> None:
        """See Policy."""
        (self._main if self._index.marks[slot] & _IN_MAIN else self._small).remove(slot)
        self._index.marks[slot] = 0

    def victim(self) -> int:
        """See Policy."""
        self._warm = True
        slot = NIL
        if self._main.bytes <= self._main_bytes:
            slot = self._from_small()
        if slot == NIL:
            slot = self._from_main()
        return slot if slot != NIL else self._from_small()

    def _from_small(self) -> int:
        """NIL when all of them have passed into the main queue."""
        marks = self._index.marks
        while (slot := self._small.pop()) != NIL:
            if marks[slot] & _USES < _PASSING_USES:
                name, size = fingerprint(self._index.key(slot)), self._index.sizes[slot]
                self._ghosts.add(name, size, self._ghost_bytes)
                marks[slot] = 0
                return slot
            marks[slot] = _IN_MAIN
            self._main.push(slot)
        return NIL

    def _from_main(self) -> int:
        marks = self._index.marks
        while (slot := self._main.pop()) != NIL:
            if marks[slot] & _USES == 0:
                marks[slot] = 0
                return slot
            marks[slot] -= 1
            self._main.push(slot)
        return NIL


_POLICIES: dict[PolicyName, Callable[[Index, int, int], Policy]] = {
    "lru": lambda index, remembered, budget_bytes: Lru(index),
    "sieve": lambda index, remembered, budget_bytes: Sieve(index),
    "s3fifo": S3Fifo,
}


def make_policy(
    name: PolicyName,
    admission: Admission,
    index: Index,
    budget_bytes: int,
    *,
    files_together: int = 1,
) -> Policy:
    """The policy of that name, behind the admission of that name, for a cache of so many bytes.
    S3-FIFO's small queue is an admission already: `second_hit` changes nothing there. In a
    simulated cache a slot of the index may stand for so many `files_together`."""
    names = min(MAX_REMEMBERED, max(1024, budget_bytes // _USUAL_FILE_BYTES))
    remembered = max(1, names // files_together)
    policy = _POLICIES[name](index, remembered, budget_bytes)
    if admission == "second_hit" and name != "s3fifo":
        return SecondHit(index, policy, remembered)
    return policy


def slack_bytes(budget_bytes: int) -> int:
    """Room that is kept free, so that a fill finds it at once and what was evicted for it has long
    left."""
    return min(budget_bytes // _SLACK_PARTS, _MOST_SLACK_BYTES)


def excess_bytes(claimed_bytes: int, budget_bytes: int, slack_bytes: int) -> int:
    """What should leave now of what is held or reserved, so that the slack comes back: as much as
    the slack when half of it is used up, else nothing."""
    if claimed_bytes <= budget_bytes - slack_bytes // 2:
        return 0
    return claimed_bytes - (budget_bytes - 3 * slack_bytes // 2)


class Ration:
    """The bytes held in one folder: pinned files are counted, and never chosen."""

    def __init__(self, index: Index, policy: Policy) -> None:
        self._index = index
        self._policy = policy
        self.used_bytes = 0
        self.pinned_bytes = 0  # of those: what cannot be evicted

    @property
    def evictable_bytes(self) -> int:
        """What all eviction could free."""
        return self.used_bytes - self.pinned_bytes

    def insert(self, slot: int, *, pinned: bool = False, found: bool = False) -> None:
        """The file counts. `found`: it has been here for longer than all the others."""
        size = self._index.sizes[slot]
        self.used_bytes += size
        if pinned:
            self._index.flags[slot] |= PINNED
            self.pinned_bytes += size
            self._policy.reserve(self.pinned_bytes)
        elif found:
            self._policy.insert_oldest(slot)
        else:
            self._policy.insert(slot)

    def remove(self, slot: int) -> None:
        """The file does not count any more."""
        size = self._index.sizes[slot]
        self.used_bytes -= size
        if self._index.flags[slot] & PINNED:
            self._index.flags[slot] &= ~PINNED
            self.pinned_bytes -= size
            self._policy.reserve(self.pinned_bytes)
        else:
            self._policy.remove(slot)

    def touch(self, slot: int) -> None:
        """The file was used."""
        if not self._index.flags[slot] & PINNED:
            self._policy.touch(slot)

    def pin(self, slot: int, pinned: bool) -> None:
        """Whether the plan holds the file. One that it lets go joins the others as a newcomer."""
        if bool(self._index.flags[slot] & PINNED) != pinned:
            self.remove(slot)
            self.insert(slot, pinned=pinned)

    def victims(self, bytes_to_free: int, at_most: int) -> list[int]:
        """The files to unlink, in the policy's order, that free so many bytes, `at_most` of them;
        they do not count afterwards. Fewer bytes, when the rest is pinned."""
        chosen: list[int] = []
        while bytes_to_free > 0 and len(chosen) < at_most:
            slot = self._policy.victim()
            if slot == NIL:
                break
            size = self._index.sizes[slot]
            self.used_bytes -= size
            bytes_to_free -= size
            chosen.append(slot)
        return chosen

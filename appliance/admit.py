"""Names that were here lately, in a bounded memory, and second-hit admission. Pure.

With `admission = "second_hit"` a file that comes for the first time is kept on probation only: it
waits in a queue of a tenth of the bytes, first in, first out, and joins the others when it is used
again, or comes again while its name is still remembered. Films that one viewer looks at once push
out nothing that is in use. Every file is landed on the disk anyway, since its waiters read it from
there, so probation costs nothing more than not keeping it would, and saves the second fill when
the second viewer comes soon. This is 2Q (Johnson and Shasha, VLDB 1994) with any policy in the
place of its main queue.
"""

import mmap
import struct
from hashlib import blake2b
from typing import cast

from appliance.index import NIL, Index, Queue
from appliance.policy import Policy

_ON_PROBATION = 0x80  # in Index.marks; the policies use the lower bits
_PROBATION_SHARE = 0.1


def fingerprint(key: str) -> int:
    """64 bits that stand for a name: the same in every process and on every machine."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big")


def _zeros(kind: str, count: int) -> "memoryview[int]":
    """So many numbers, which take memory only when something is written there."""
    size = count * struct.calcsize(kind)
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    return cast("memoryview[int]", memoryview(mmap.mmap(-1, size, flags=private)).cast(kind))  # type: ignore[call-overload]


class Seen:
    """Names that were here lately, first in, first out: at most so many, and at most as many as
    weigh so much. A name costs 24 to 32 bytes: a row of fingerprints and sizes that goes round, and
    a table of where each stands in it, by linear probing."""

    def __init__(self, capacity: int) -> None:
        """Remembers `capacity` names at most, those that were told again included."""
        self.capacity = capacity
        self.bytes = 0
        self._names = _zeros("Q", capacity)  # 0: the name has been told again
        self._sizes = _zeros("Q", capacity)
        self._oldest = self._length = 0
        self._mask = (1 << (2 * capacity - 1).bit_length()) - 1
        self._table = _zeros("I", self._mask + 1)  # place in the row + 1; 0: empty

    def add(self, name: int, size_bytes: int = 0, room_bytes: int = 0) -> None:
        """The name is the latest; the oldest are forgotten that have no room beside it. One that
        is larger than the room is not remembered at all."""
        self.pop(name)
        if size_bytes > room_bytes:
            return
        while self._length and (
            self._length == self.capacity or self.bytes + size_bytes > room_bytes
        ):
            self._forget()
        place = (self._oldest + self._length) % self.capacity
        self._names[place], self._sizes[place] = name or 1, size_bytes
        self._table[self._cell(name or 1)] = place + 1
        self._length += 1
        self.bytes += size_bytes

    def pop(self, name: int) -> bool:
        """The name is remembered. It is forgotten then."""
        cell = self._cell(name or 1)
        place = self._table[cell] - 1
        if place < 0:
            return False
        self._clear(cell)
        self._names[place] = 0
        self.bytes -= self._sizes[place]
        return True

    def _forget(self) -> None:
        place = self._oldest
        name = self._names[place]
        if name:
            self._clear(self._cell(name))
            self._names[place] = 0
            self.bytes -= self._sizes[place]
        self._oldest = (place + 1) % self.capacity
        self._length -= 1

    def _cell(self, name: int) -> int:
        """Where the table has the name, or else the empty cell for it."""
        table, names, mask = self._table, self._names, self._mask
        cell = name & mask
        while (place := table[cell]) and names[place - 1] != name:
            cell = (cell + 1) & mask
        return cell

    def _clear(self, cell: int) -> None:
        """The cell is empty, and who stood behind it because of it has moved up."""
        table, names, mask = self._table, self._names, self._mask
        table[cell] = 0
        gap, cell = cell, (cell + 1) & mask
        while place := table[cell]:
            if (cell - names[place - 1]) & mask >= (cell - gap) & mask:
                table[gap], table[cell] = place, 0
                gap = cell
            cell = (cell + 1) & mask


class SecondHit:
    """Probation before another policy."""

    def __init__(self, index: Index, policy: Policy, remembered: int) -> None:
        """Remembers the names of so many files that did not pass."""
        self._index = index
        self._policy = policy
        self._waiting = Queue(index)
        self._failed = Seen(remembered)
        self._passed_bytes = 0

    def insert(self, slot: int) -> None:
        """See Policy."""
        name = fingerprint(self._index.key(slot))
        if self._failed.pop(name):
            self._pass(slot)
        else:
            self._index.marks[slot] = _ON_PROBATION
            self._waiting.push(slot)

    def insert_oldest(self, slot: int) -> None:
        """See Policy. It is no newcomer."""
        self._passed_bytes += self._index.sizes[slot]
        self._policy.insert_oldest(slot)

    def touch(self, slot: int) -> None:
        """See Policy."""
        if self._index.marks[slot] & _ON_PROBATION:
            self._waiting.remove(slot)
            self._pass(slot)
        else:
            self._policy.touch(slot)

    def remove(self, slot: int) -> None:
        """See Policy."""
        if self._index.marks[slot] & _ON_PROBATION:
            self._waiting.remove(slot)
            self._index.marks[slot] = 0
        else:
            self._passed_bytes -= self._index.sizes[slot]
            self._policy.remove(slot)

    def reserve(self, pinned_bytes: int) -> None:
        """See Policy."""
        self._policy.reserve(pinned_bytes)

    def victim(self) -> int:
        """See Policy."""
        total = self._waiting.bytes + self._passed_bytes
        slot = NIL
        if self._waiting.bytes >= _PROBATION_SHARE * total:
            slot = self._from_waiting()
        if slot == NIL and (slot := self._policy.victim()) != NIL:
            self._passed_bytes -= self._index.sizes[slot]
        return slot if slot != NIL else self._from_waiting()

    def _from_waiting(self) -> int:
        slot = self._waiting.pop()
        if slot != NIL:
            self._index.marks[slot] = 0
            self._failed.add(fingerprint(self._index.key(slot)))
        return slot

    def _pass(self, slot: int) -> None:
        self._index.marks[slot] = 0
        self._passed_bytes += self._index.sizes[slot]
        self._policy.insert(slot)

"""Names that were here lately, in a bounded memory, and second-hit admission. Pure.

With `admission = "second_hit"` a file that comes for the first time is kept on probation only: it
waits in a queue of a tenth of the bytes, first in, first out, and joins the others when it is used
again, or comes again while its name is still remembered. Films that one viewer looks at once push
out nothing that is in use. Every file is landed on the disk anyway, since its waiters read it from
there, so probation costs nothing more than not keeping it would, and saves the second fill when
the second viewer comes soon. This is 2Q (Johnson and Shasha, VLDB 1994) with any policy in the
place of its main queue.
"""

from array import array
from hashlib import blake2b

from appliance.index import NIL, Index, Queue
from appliance.policy import Policy

_WAYS = 4
_ON_PROBATION = 0x80  # in Index.marks; the policies use the lower bits
_PROBATION_SHARE = 0.1


def fingerprint(key: str) -> int:
    """64 bits that stand for a name: the same in every process and on every machine."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big")


class Seen:
    """The last names, by their fingerprints, 32 bytes a name. A few of them are forgotten early,
    when too many share a bucket."""

    def __init__(self, capacity: int) -> None:
        """Remembers `capacity` names at most."""
        self.capacity = capacity
        self._buckets = max(1, capacity * 2 // _WAYS)  # half empty: early losses are rare
        self._prints = array("Q", bytes(8 * self._buckets * _WAYS))
        self._times = array("Q", bytes(8 * self._buckets * _WAYS))
        self._now = 0

    def add(self, name: int) -> None:
        """The name is the latest."""
        self._now += 1
        ways = self._ways(name)
        at = next((way for way in ways if self._prints[way] == name), None)
        if at is None:
            at = min(ways, key=self._times.__getitem__)
        self._prints[at], self._times[at] = name, self._now

    def pop(self, name: int, within: int) -> bool:
        """The name is one of the last `within`, or of `capacity` if that is less. It is forgotten
        then."""
        for way in self._ways(name):
            if self._times[way] and self._prints[way] == name:
                age = self._now - self._times[way]
                self._times[way] = 0
                return age < min(within, self.capacity)
        return False

    def _ways(self, name: int) -> range:
        first = name % self._buckets * _WAYS
        return range(first, first + _WAYS)


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
        if self._failed.pop(name, self._failed.capacity):
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

"""A trace through the caches that ship: how many requests would have been hits. Pure.

It is the appliance's own decisions (`appliance.evict`, `appliance.admit`), without a disk and
without time: a miss is held at once. A file larger than the budget is never held.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from appliance.evict import Admission, PolicyName, Ration, make_policy
from appliance.index import NIL, Index
from lab.trace import Request


@dataclass
class Counts:
    """What was asked for, and what of it was there."""

    requests: int = 0
    hits: int = 0
    bytes: int = 0
    hit_bytes: int = 0
    evictions: int = 0
    evicted_bytes: int = 0


class Cache:
    """A cache without a disk."""

    def __init__(
        self, policy: PolicyName, budget_bytes: int, *, admission: Admission = "all"
    ) -> None:
        self.counts = Counts()
        self._budget_bytes = budget_bytes
        self._index = Index()
        policy_made = make_policy(policy, admission, self._index, budget_bytes)
        self._ration = Ration(self._index, policy_made)

    @property
    def held_bytes(self) -> int:
        """Never more than the budget."""
        return self._ration.used_bytes

    def ask(self, request: Request) -> bool:
        """Whether it is a hit. The file is held afterwards."""
        counts, index, ration = self.counts, self._index, self._ration
        counts.requests += 1
        counts.bytes += request.bytes
        slot = index.find(request.key)
        if slot != NIL:
            ration.touch(slot)
            counts.hits += 1
            counts.hit_bytes += request.bytes
            return True
        if request.bytes <= self._budget_bytes:
            self._make_room(ration.used_bytes + request.bytes - self._budget_bytes)
            ration.insert(index.add(request.key, request.bytes, 0))
        return False

    def _make_room(self, bytes_to_free: int) -> None:
        for victim in self._ration.victims(bytes_to_free, len(self._index)):
            self.counts.evictions += 1
            self.counts.evicted_bytes += self._index.sizes[victim]
            self._index.drop(victim)


def replay(requests: Iterable[Request], caches: Iterable[Cache]) -> None:
    """Every cache has been asked for all of them, in order."""
    caches = list(caches)
    for request in requests:
        for cache in caches:
            cache.ask(request)

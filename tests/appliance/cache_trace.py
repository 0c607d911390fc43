"""A small synthetic video trace: films by Zipf 0.9, watched from their start and often left."""

import random
from collections.abc import Iterator

from appliance.admit import fingerprint
from appliance.evict import Admission, PolicyName, Ration, make_policy
from appliance.index import NIL, Index

FILMS = 2_000
SEGMENTS = 12
PLAYS = 12_000
TOTAL_BYTES = FILMS * SEGMENTS * 1_500_000


def requests(seed: int) -> Iterator[tuple[str, int]]:
    """Keys and sizes, in the order asked for. New films come and old ones lose interest: half of
    the ranks change hands during the trace."""
    dice = random.Random(seed)
    weights = [1 / (rank + 1) ** 0.9 for rank in range(FILMS)]
    films = list(range(FILMS))
    newest = FILMS
    playing: list[Iterator[tuple[str, int]]] = []
    for film in dice.choices(range(FILMS), weights, k=PLAYS):
        if dice.random() < FILMS / 2 / PLAYS:
            films[dice.randrange(FILMS)] = newest = newest + 1
        playing.append(_play(films[film], dice.choice((1, 2, SEGMENTS, SEGMENTS, SEGMENTS))))
        while len(playing) > 20:
            at = dice.randrange(len(playing))
            segment = next(playing[at], None)
            if segment is None:
                del playing[at]
            else:
                yield segment


def _play(film: int, segments: int) -> Iterator[tuple[str, int]]:
    for number in range(segments):
        key = f"pkg_{film:026d}/v-avc-720/{number}.m4s"
        yield key, 1_000_000 + fingerprint(key) % 1_000_000


class Cached:
    """A cache without a disk."""

    def __init__(self, name: PolicyName, admission: Admission, budget_bytes: int) -> None:
        self.index = Index()
        self.budget_bytes = budget_bytes
        self.ration = Ration(self.index, make_policy(name, admission, self.index, budget_bytes))

    def ask(self, key: str, size: int) -> bool:
        """Whether it was a hit; it is held afterwards."""
        slot = self.index.find(key)
        if slot != NIL:
            self.ration.touch(slot)
            return True
        over = self.ration.used_bytes + size - self.budget_bytes
        for victim in self.ration.victims(over, len(self.index)):
            self.index.drop(victim)
        self.ration.insert(self.index.add(key, size, 0))
        return False


def miss_bytes(name: PolicyName, admission: Admission, budget_bytes: int, seed: int = 7) -> float:
    """The byte miss ratio over the trace."""
    cached, asked, missed = Cached(name, admission, budget_bytes), 0, 0
    for key, size in requests(seed):
        asked += size
        missed += 0 if cached.ask(key, size) else size
    return missed / asked

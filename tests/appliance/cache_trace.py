"""A small synthetic video trace: films by Zipf 0.9, watched from their start and often left."""

import random
from collections.abc import Iterator

from appliance.admit import fingerprint
from appliance.evict import Admission, PolicyName
from lab.replay import Cache, replay
from lab.trace import Request

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


def miss_bytes(name: PolicyName, admission: Admission, budget_bytes: int, seed: int = 7) -> float:
    """The byte miss ratio over the trace."""
    cache = Cache(name, budget_bytes, admission=admission)
    replay((Request(0.0, key, size) for key, size in requests(seed)), [cache])
    return 1 - cache.counts.hit_bytes / cache.counts.bytes

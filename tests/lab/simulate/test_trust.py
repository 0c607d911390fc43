"""The simulated appliance answers as the real one does, request by request.

A real appliance with a budget of less than half a package, one worker and one connection, is asked
for its files in an order by chance; whether an answer was a hit is in its `Cache-Status`. The box
of the simulator is asked for the same. Two things are told to it that it does not know by itself:
the package's lists are files, too, which each use of another uses; and what is evicted ahead of
need is told apart by `slack`. A worker notes a file once until it tells the keeper, at the next
miss or after a moment: so nothing is asked for twice without a miss in between. And what has just
been evicted is still there for a moment: it is not asked for at once.
"""

import random
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from appliance.evict import Admission, PolicyName
from lab.replay import Cache
from lab.simulate.box import Box
from lab.simulate.catalog import Numbering
from lab.trace import Request
from media.inventory import FILE_LIST_NAME, INVENTORY_NAME
from tests.appliance.conftest import Standing
from tests.packages import MadePackage, make_keys, make_package

POLICIES: list[tuple[PolicyName, Admission]] = [
    ("lru", "all"),
    ("sieve", "all"),
    ("s3fifo", "all"),
    ("lru", "second_hit"),
]
BUDGET_BYTES = 1_200_000  # the least that an appliance takes is 1 MiB
FILES, REQUESTS = 400, 1200
LEAVING = 5  # misses, until what was evicted for the first of them is surely gone


def wanted(dice: random.Random) -> Iterator[int]:
    """Numbers of files, the first ones most; who wants what drifts."""
    ranks = [1 / (rank + 1) for rank in range(FILES)]
    for at, rank in enumerate(dice.choices(range(FILES), ranks, k=REQUESTS)):
        yield (rank + at * FILES // REQUESTS // 2) % FILES


class Simulated:
    """The box, asked as a keeper is told by its worker."""

    def __init__(self, policy: PolicyName, admission: Admission, sizes: list[int]) -> None:
        """`sizes` are those of the inventory, the list, and the files."""
        self.sizes = sizes
        self.leaving: deque[list[int]] = deque(maxlen=LEAVING)
        numbering = Numbering(1, 1, len(sizes))
        self.box = Box(0, 0, BUDGET_BYTES, numbering, policy, admission, slack=True)

    def ask(self, item: int) -> bool:
        """Whether it is a hit; it is held afterwards."""
        hit = self.box.uses(item, 1)
        if not hit:
            self.leaving.append([])
            self.box.brings(item, self.sizes[item], self.leaving[-1])
        if item > 0:
            self.box.uses(1, 1)
        self.box.uses(0, 1)
        return hit


@pytest.mark.parametrize(("policy", "admission"), POLICIES)
async def test_hits_are_the_same(tmp_path: Path, policy: PolicyName, admission: Admission) -> None:
    dice = random.Random(11)
    names = [f"{number}.m4s" for number in range(FILES)]
    package = make_package(
        tmp_path / "store", {name: dice.randrange(2_000, 12_000) for name in names}
    )
    paths = [INVENTORY_NAME, f"v-avc-720/{FILE_LIST_NAME}", *(f"v-avc-720/{n}" for n in names)]
    simulated = Simulated(policy, admission, [len(package.files[path]) for path in paths])
    appliance = Standing(tmp_path, make_keys(tmp_path, "north-1"))
    appliance.settings = {
        "budget_bytes": str(BUDGET_BYTES),
        "policy": policy,
        "admission": admission,
        "early_fills": "0",
    }
    await appliance.start()
    try:
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(connector=connector) as session:
            await compare(session, appliance, package, paths, simulated, dice)
    finally:
        await appliance.stop()


async def compare(
    session: aiohttp.ClientSession,
    appliance: Standing,
    package: MadePackage,
    paths: list[str],
    simulated: Simulated,
    dice: random.Random,
) -> None:
    """Asks both."""
    base = appliance.url(package, "")
    for item in (0, 1):
        simulated.ask(item)
    told: set[int] = set()
    hits = asked = 0
    for number in wanted(dice):
        if number in told or any(number + 2 in left for left in simulated.leaving):
            continue
        expected = simulated.ask(number + 2)
        async with session.get(base + paths[number + 2]) as answer:
            assert answer.status == 200
            assert await answer.read() == package.files[paths[number + 2]]
            hit = answer.headers["Cache-Status"].endswith("hit")
        assert hit == expected, (asked, number)
        told = told | {number} if hit else set()
        hits, asked = hits + hit, asked + 1
    assert asked > REQUESTS * 0.4 and asked * 0.2 < hits < asked * 0.9
    assert simulated.box.evictions > 50


@pytest.mark.parametrize(("policy", "admission"), POLICIES)
def test_a_box_is_the_cache_of_a_trace(policy: PolicyName, admission: Admission) -> None:
    """The simulator and `nearcast trace replay` answer alike; test_libcachesim.py has the latter
    beside libCacheSim."""
    dice = random.Random(3)
    sizes = [dice.randrange(2_000, 12_000) for _ in range(FILES)]
    box = Box(0, 0, BUDGET_BYTES, Numbering(1, 1, FILES), policy, admission)
    cache = Cache(policy, BUDGET_BYTES, admission=admission)
    for _ in range(10):
        for number in wanted(dice):
            hit = box.uses(number, 1) or not box.brings(number, sizes[number], [])
            assert hit == cache.ask(Request(0, f"v/{number}", sizes[number]))
            assert box.used_bytes == cache.held_bytes

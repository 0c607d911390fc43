"""A simulated appliance: beside a naive one, and what a plan pins."""

import random

import numpy as np
import pytest

from lab.simulate.box import Box
from lab.simulate.catalog import Numbering

SHAPE = Numbering(titles=10, renditions=2, most_parts=3)
ITEMS = 60


def test_lru_is_what_everybody_takes_it_for() -> None:
    dice = random.Random(1)
    sizes = [dice.randrange(1, 100) for _ in range(ITEMS)]
    box = Box(0, 0, 1000, SHAPE, "lru", "all")
    naive: dict[int, int] = {}  # the least recently used first
    hits = 0
    for _ in range(3000):
        item = int(ITEMS * dice.random() ** 2)
        hit = box.uses(item, 1)
        assert hit == (item in naive)
        hits += hit
        if hit:
            naive[item] = naive.pop(item)
            continue
        evicted: list[int] = []
        assert box.brings(item, sizes[item], evicted)
        expected = []
        while sum(naive.values()) + sizes[item] > 1000:
            expected.append(next(iter(naive)))
            del naive[expected[-1]]
        naive[item] = sizes[item]
        assert evicted == expected
        box.validate_state(np.array(sizes))
    assert 500 < hits < 2500


@pytest.mark.parametrize("policy", ["lru", "sieve", "s3fifo"])
def test_what_is_pinned_stays_until_it_is_let_go(policy: str) -> None:
    sizes = np.full(ITEMS, 10)
    box = Box(0, 0, 100, SHAPE, policy, "all")  # type: ignore[arg-type]
    assert box.brings(0, 10, [])
    evicted: list[int] = []
    assert box.pin(0, [10, 10, 10], evicted) and evicted == [0]
    for item in range(10, ITEMS):
        if not box.uses(item, 1):
            assert box.brings(item, 10, [])
        box.validate_state(sizes)
    assert all(box.uses(item, 1) and box.has(item) for item in (0, 1, 2))
    assert not box.pin_all([2, 3, 4], 90, [])  # 30 are pinned already
    box.unpin(0, [10, 10, 10])
    box.validate_state(sizes)
    assert all(box.pin(row, [10, 10, 10], []) for row in (5, 6, 7))
    box.validate_state(sizes)
    assert sum(map(box.has, (0, 1, 2))) <= 1 and box.has(15)
    for row in (5, 6, 7):
        box.drop_pinned(row, 30)
    box.drop(range(ITEMS))
    box.validate_state(sizes)
    assert box.used_bytes == 0


def test_slack_is_freed_ahead_of_need() -> None:
    box = Box(0, 0, 1000, SHAPE, "lru", "all", slack=True)
    for item in range(10):
        assert box.brings(item, 97, [])
    assert box.used_bytes == 970
    evicted: list[int] = []
    assert box.brings(11, 25, evicted)  # 995: the slack of 20 is used up
    assert evicted == [0] and box.used_bytes == 898

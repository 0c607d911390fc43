"""What plans promise, whatever is asked of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering.planner import MARGIN, Bools, Floats, Shelf, choose, copies, plan_region

KINDS, SITES, EACH = 14, 3, 2
SIZES = st.lists(st.integers(1, 50), min_size=KINDS, max_size=KINDS)
WORTHS = st.lists(st.floats(0, 100), min_size=KINDS, max_size=KINDS)
FLAGS = st.lists(st.booleans(), min_size=KINDS, max_size=KINDS)


def floats(values: list[float] | list[int]) -> Floats:
    return np.array(values, np.float64)


def total(sizes: Floats, things: Bools) -> float:
    return float(sizes[things].sum())


@given(SIZES, WORTHS, FLAGS, st.integers(0, 400), st.integers(0, 200))
def test_budget_and_night(
    sizes: list[int], worth: list[float], held: list[bool], budget: int, nightly: int
) -> None:
    """The budget holds, and what comes in a night is little more than may: a thing is whole."""
    size, there = floats(sizes), np.array(held)
    chosen = choose(
        size, floats(worth), there, budget_bytes=budget, nightly_bytes=nightly, margin=MARGIN
    )
    assert total(size, chosen) <= budget
    assert not chosen[floats(worth) == 0].any()
    coming = size[chosen & ~there]
    assert coming.sum() - coming.max(initial=0) <= nightly


@given(SIZES, WORTHS, FLAGS, st.integers(0, 400))
def test_what_was_chosen_stays(
    sizes: list[int], worth: list[float], held: list[bool], budget: int
) -> None:
    """Where nothing changes nothing leaves, and from empty disks on nothing comes, either."""
    size, there = floats(sizes), np.array(held)

    def again(worth: Floats, held: Bools) -> Bools:
        return choose(size, worth, held, budget_bytes=budget, nightly_bytes=1e9, margin=MARGIN)

    chosen = again(floats(worth), there)
    assert not (chosen & ~again(floats(worth), chosen)).any()
    chosen = again(floats(worth), there & False)
    assert (again(floats(worth), chosen) == chosen).all()


def test_a_margin_is_respected() -> None:
    size, held = floats([10, 10]), np.array([True, False])
    for better, stays in ((1.09, True), (1.11, False)):
        chosen = choose(
            size,
            floats([1.0, better]),
            held,
            budget_bytes=10,
            nightly_bytes=10,
            margin=0.1,
        )
        assert chosen.tolist() == [stays, not stays]


@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.integers(0, 100))
def test_a_region(seed: int, budget: int, nightly: int) -> None:
    """No shelf has more than its budget; none gets more in a night than may come, but for the rest
    of one thing and what it has free room for; with time to settle, planning ends."""
    dice = np.random.Generator(np.random.PCG64(seed))
    sizes = dice.integers(1, 30, KINDS).astype(np.float64)
    demand = dice.exponential(10, (SITES, KINDS)) * (dice.random((SITES, KINDS)) < 0.7)
    tiers = dice.integers(0, SITES, KINDS)
    homes = dice.integers(0, EACH, (SITES, KINDS))
    held = [np.zeros(KINDS, bool) for _ in range(SITES * EACH)]

    def shelves() -> list[Shelf]:
        return [
            Shelf(n // EACH, budget, nightly, held[n], homes[n // EACH] == n % EACH)
            for n in range(SITES * EACH)
        ]

    for _ in range(60):
        before, held = held, plan_region(sizes, demand, tiers, shelves())
        for was, now in zip(before, held, strict=True):
            assert total(sizes, now) <= budget
            coming = sizes[now & ~was]
            free = budget - total(sizes, was)
            assert coming.sum() - coming.max(initial=0) <= max(nightly, free)
        if all((was == now).all() for was, now in zip(before, held, strict=True)):
            break
    else:
        pytest.fail("it never settles")
    # Nobody asks for anything: nothing is worth its room.
    assert not any(things.any() for things in plan_region(sizes, 0 * demand, tiers, shelves()))


def test_what_is_first_comes_before_all() -> None:
    sizes, demand = floats([10, 10]), np.array([[100.0, 0.0]])
    shelf = Shelf(0, 10, 10, np.zeros(2, bool), np.ones(2, bool))
    tiers = np.zeros(2, np.int64)
    assert plan_region(sizes, demand, tiers, [shelf])[0].tolist() == [True, False]
    first = np.array([[False, True]])
    assert plan_region(sizes, demand, tiers, [shelf], first=first)[0].tolist() == [False, True]


def test_copies() -> None:
    assert copies(0, 1e9, 3) == 1
    assert copies(1e18, 1e9, 3) == 3
    assert copies(5e12, 1e9, 9) == 5  # 463 Mb/s on average, 1.4 Gb/s at the peak

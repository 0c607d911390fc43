"""Load that does not wait for answers."""

import asyncio

import pytest

from lab import open_loop
from lab.open_loop import Told, as_fast_as_it_goes, offer


async def test_a_pause_is_charged_to_all_that_came_in_it():
    """One call stands still for 0.3 s, and so do those behind it: each by what it had to wait."""
    lock = asyncio.Lock()

    async def call(number: int) -> str:
        async with lock:
            if number == 0:
                await asyncio.sleep(0.3)
        return ""

    told = await offer(call, per_s=100, seconds=0.5)
    assert (told.calls, told.good) == (50, 1.0)
    slow = sorted(told.took_ms)[-20:]
    assert slow[-1] >= 295 and slow[0] >= 90  # not one slow call, but a queue of them


async def test_what_is_answered_otherwise_is_told_by_its_code():
    async def call(number: int) -> str:
        await asyncio.sleep(0)
        return "overloaded" if number % 4 == 0 else ""

    told = await offer(call, per_s=1000, seconds=0.1)
    assert (told.calls, told.good, told.other["overloaded"]) == (100, 0.75, 25)


async def test_who_would_be_one_too_many_is_late(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(open_loop, "MAX_IN_FLIGHT", 5)
    done = asyncio.Event()

    async def call(number: int) -> str:
        if number == 19:
            done.set()
        await done.wait()
        return ""

    asyncio.get_running_loop().call_later(0.2, done.set)
    told = await offer(call, per_s=1000, seconds=0.02)
    assert (told.other["late"], len(told.took_ms)) == (15, 5)


async def test_every_answer_of_every_client_counts():
    answered = 0

    async def call(number: int) -> str:
        nonlocal answered
        await asyncio.sleep(0.001)
        answered += 1
        return ""

    assert await as_fast_as_it_goes(call, clients=8, seconds=0.2) * 0.2 == pytest.approx(answered)


def test_percentiles():
    told = Told([float(n) for n in range(1, 101)])
    assert (told.percentile_ms(0.5), told.percentile_ms(0.99), told.percentile_ms(1.0)) == (
        51,
        100,
        100,
    )
    assert Told().percentile_ms(0.99) == 0.0

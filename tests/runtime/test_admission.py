"""Places go to the first priority first; nobody waits for long, and nothing leaks."""

import asyncio

import pytest

from runtime.admission import START, Admission
from runtime.errors import Problem


class Calls:
    """Calls that run until they are told to end."""

    def __init__(self) -> None:
        self.admission = Admission()
        self.end = asyncio.Event()
        self.running: list[str] = []
        self.tasks: list[asyncio.Task[str]] = []

    async def _call(self, priority: str) -> str:
        try:
            async with self.admission.place(priority):
                self.running.append(priority)
                await self.end.wait()
                return "done"
        except Problem as problem:
            assert problem.code == "overloaded" and problem.retry_after_s
            return "refused"

    def start(self, priority: str, count: int) -> list[asyncio.Task[str]]:
        made = [asyncio.create_task(self._call(priority), name=priority) for _ in range(count)]
        self.tasks += made
        return made


@pytest.fixture
async def calls():
    made = Calls()
    yield made
    made.end.set()
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)


async def settled() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_the_last_places_are_kept_for_the_first(calls: Calls):
    third = calls.start("third", START)
    second = calls.start("second", START)
    await settled()
    assert calls.running.count("third") == round(START * 0.3 + 0.5)
    assert calls.running.count("second") == round(START * 0.6 + 0.5) - calls.running.count("third")
    calls.start("first", START)
    await settled()
    assert len(calls.running) == START
    refused = [await one for one in (third[-1], second[-1])]
    assert refused == ["refused", "refused"]


async def test_who_waits_gets_the_place_of_who_leaves(calls: Calls):
    calls.start("first", START)
    await settled()
    waiting = calls.start("first", 100)
    browsing = calls.start("second", 1)
    await settled()
    assert len(calls.running) == START
    calls.end.set()
    assert set(await asyncio.gather(*waiting, *browsing)) == {"done"}


async def test_too_many_do_not_even_wait(calls: Calls):
    calls.start("first", START)
    await settled()
    calls.start("second", 100)
    await settled()
    late = calls.start("second", 1)[0]
    await settled()
    assert late.result() == "refused"
    assert calls.admission.refused_of("second") == 1


async def test_who_goes_away_while_waiting_leaves_nothing(calls: Calls):
    calls.start("first", START)
    await settled()
    gone = calls.start("first", 50)
    await settled()
    for task in gone:
        task.cancel()
    await settled()
    calls.end.set()
    await settled()
    assert calls.admission._running == 0
    again = calls.start("first", START)
    assert set(await asyncio.gather(*again)) == {"done"}


async def test_a_place_that_comes_as_its_owner_goes_is_not_lost(calls: Calls):
    holders = calls.start("first", START)
    await settled()
    waiting = calls.start("first", 1)[0]
    await settled()
    holders[0].cancel()
    waiting.cancel()
    await settled()
    calls.end.set()
    await settled()
    assert calls.admission._running == 0


async def test_without_a_priority_nobody_waits(calls: Calls):
    calls.start("", 10 * START)
    await settled()
    assert len(calls.running) == 10 * START
    calls.start("third", 1)
    await settled()
    assert calls.running[-1] == "third"


async def test_the_limit_falls_when_calls_take_longer():
    now = [0.0]
    admission = Admission(lambda: now[0])

    async def call(seconds: float) -> None:
        async with admission.place("first"):
            await asyncio.sleep(0)
            now[0] += seconds

    for seconds, rounds in ((0.001, 60), (0.05, 60)):
        for _ in range(rounds):
            await asyncio.gather(*(call(seconds) for _ in range(START)))
        if seconds == 0.001:
            before = admission.limit
    assert admission.limit < before

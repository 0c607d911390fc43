"""Load that does not wait for answers: calls are due at a steady rate, however long earlier ones
take, and a call's time counts from the moment it was due. So a server that stands still for a
second is charged with all that came in that second (coordinated omission).
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

# What a bench may have in flight: beyond that, clients would have gone.
MAX_IN_FLIGHT = 2000


@dataclass
class Told:
    """What came back: milliseconds of each call that was answered as wanted, and how many were
    answered otherwise, by code; "late": it was never sent, for too many were in flight."""

    took_ms: list[float] = field(default_factory=list)
    other: Counter[str] = field(default_factory=Counter)

    @property
    def calls(self) -> int:
        """How many there were."""
        return len(self.took_ms) + self.other.total()

    @property
    def good(self) -> float:
        """The share that was answered as wanted."""
        return len(self.took_ms) / max(1, self.calls)

    def percentile_ms(self, share: float) -> float:
        """So many milliseconds at most took this share of what was answered as wanted."""
        ordered = sorted(self.took_ms)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


async def offer(call: Callable[[int], Awaitable[str]], per_s: float, seconds: float) -> Told:
    """Calls `call(number)` so many times a second. It returns "" for an answer as wanted, or a
    code."""
    told = Told()
    running: set[asyncio.Task[None]] = set()
    began = time.perf_counter()

    async def one(number: int, due: float) -> None:
        code = await call(number)
        if code:
            told.other[code] += 1
        else:
            told.took_ms.append((time.perf_counter() - due) * 1000)

    for number in range(int(per_s * seconds)):
        due = began + number / per_s
        wait_s = due - time.perf_counter()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        if len(running) >= MAX_IN_FLIGHT:
            told.other["late"] += 1
            continue
        task = asyncio.create_task(one(number, due), name="call")
        running.add(task)
        task.add_done_callback(running.discard)
        if number % 16 == 0:
            await asyncio.sleep(0)  # answers are read, however far behind we are
    if running:
        await asyncio.wait(running)
    return told


async def as_fast_as_it_goes(
    call: Callable[[int], Awaitable[str]], clients: int, seconds: float
) -> float:
    """Answers as wanted per second, when so many clients ask one after the other."""
    good = 0
    until = time.perf_counter() + seconds

    async def client(first: int) -> None:
        nonlocal good
        number = first
        while time.perf_counter() < until:
            code = await call(number)
            good += not code
            number += clients

    await asyncio.gather(*(client(number) for number in range(clients)))
    return good / seconds

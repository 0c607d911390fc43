"""Who is let in when there is more to do than can be done.

A service bears so many calls at the same time, as Gradient2 learns from how long they take
(`runtime.limit`). Each *priority* may use a share of that: the last places are kept for the first.
Who finds no place waits a moment for one, in the order of priorities, and is then refused, with a
Retry-After of its own; where too many wait already, at once, which costs next to nothing.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from runtime.errors import Problem
from runtime.limit import Limiter

PRIORITIES = ("first", "second", "third")
# Small services have to move: below this nobody gets on, above it nothing is gained.
LEAST, MOST, START = 8, 200, 32


@dataclass
class _Class:
    """The calls of one priority: they are let in while less than `share` of the limit is in use,
    and else wait up to `wait_s`, at most `most` of them."""

    share: float
    wait_s: float
    most: int
    refused: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class Admission:
    """Lets calls in by priority: "first", "second", "third". A call without one is always let in
    and counts for nothing: it waits for something else than this service."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._limiter = Limiter(limit=START, least=LEAST, most=MOST)
        self._limit = START
        self._running = 0
        self._classes = {
            "first": _Class(share=1.0, wait_s=2.0, most=500),
            "second": _Class(share=0.6, wait_s=0.5, most=100),
            "third": _Class(share=0.3, wait_s=0.5, most=100),
        }

    @property
    def limit(self) -> int:
        """How many calls may run at the same time, as far as is known now."""
        return self._limit

    def refused_of(self, priority: str) -> int:
        """How many calls of a priority were refused so far."""
        return self._classes[priority].refused

    @asynccontextmanager
    async def place(self, priority: str) -> AsyncIterator[None]:
        """The block has a place among those that run. Raises Problem `overloaded`."""
        if not priority:
            yield
            return
        await self._enter(self._classes[priority])
        began = self._clock()
        try:
            yield
            # What failed tells nothing: a refusal is quick, however much there is to do.
            now = self._clock()
            self._limiter.landed(int((now - began) * 1e6), self._running)
            self._limit = self._limiter.tick(now)
        finally:
            self._leave()

    async def _enter(self, one: _Class) -> None:
        if self._has_room(one) and not one.waiting:
            self._running += 1
            return
        if len(one.waiting) >= one.most:
            raise _refusal(one)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        one.waiting.append(turn)
        try:
            async with asyncio.timeout(one.wait_s):
                await turn  # whoever leaves has counted us in
        except (TimeoutError, asyncio.CancelledError) as error:
            if turn.done() and not turn.cancelled():
                self._leave()  # the place came just now, and nobody is there to take it
            if isinstance(error, TimeoutError):
                raise _refusal(one) from None
            raise

    def _has_room(self, one: _Class) -> bool:
        return self._running < max(1.0, self._limit * one.share)

    def _leave(self) -> None:
        """The place goes to who has waited longest in the first class that may have it."""
        self._running -= 1
        for one in self._classes.values():
            while one.waiting and (one.waiting[0].done() or self._has_room(one)):
                turn = one.waiting.popleft()
                if not turn.done():
                    self._running += 1
                    turn.set_result(None)


def _refusal(one: _Class) -> Problem:
    one.refused += 1
    return Problem("overloaded", retry_after_s=random.randint(1, 4))

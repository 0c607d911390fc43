"""Writes that come together are committed together: what one transaction costs, many share.

While one transaction is under way the next ones gather; when it ends they go into one more. So a
lone write waits for nobody, and of hundreds a second each costs a fraction (group commit).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from runtime.errors import Problem

T = TypeVar("T")
MOST = 100


class GroupCommit(Generic[T]):
    """Hands what is added to `write`, in groups of up to MOST. `write` commits a group, or nothing
    of it, and says of each whether it was written. A Problem is everybody's (the database is away);
    after any other failure each is tried alone, so that none fails for another's sake."""

    def __init__(self, write: Callable[[Sequence[T]], Awaitable[Sequence[bool]]]) -> None:
        self._write = write
        self._waiting: deque[tuple[T, asyncio.Future[bool]]] = deque()
        self._writer: asyncio.Task[None] | None = None

    async def add(self, item: T) -> bool:
        """Whether it was written. Raises what `write` raises for it."""
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._writer is None:
            self._writer = asyncio.create_task(self._run(), name="group-commit")
        return await done

    async def _run(self) -> None:
        try:
            while self._waiting:
                group = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
                try:
                    written = await self._write([item for item, _ in group])
                except Problem as problem:
                    for _, done in group:
                        if not done.done():
                            done.set_exception(problem)
                except Exception:
                    await self._one_by_one(group)
                else:
                    for (_, done), was in zip(group, written, strict=True):
                        if not done.done():  # who asked may have gone
                            done.set_result(was)
        finally:
            self._writer = None

    async def _one_by_one(self, group: Sequence[tuple[T, "asyncio.Future[bool]"]]) -> None:
        for item, done in group:
            try:
                (was,) = await self._write([item])
            except Exception as error:
                if not done.done():
                    done.set_exception(error)
            else:
                if not done.done():
                    done.set_result(was)

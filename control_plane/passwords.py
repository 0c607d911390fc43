"""Passwords, hashed with Argon2id in threads of their own."""

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from runtime.errors import Problem

# One hash takes 64 MiB and a core for 50 ms: log-ins queue up rather than take the machine, and
# who would wait for more than a few seconds is told so.
THREADS = 2
MAX_WAITING = 100

T = TypeVar("T")


class Passwords:
    """Hashes and checks. `memory_kib` is that of one hash."""

    def __init__(self, *, passes: int, memory_kib: int, lanes: int) -> None:
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=lanes)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="argon2")
        self._waiting = 0
        self._of_nobody = self._hasher.hash(secrets.token_hex(16))

    async def hash(self, password: str) -> str:
        """A salted hash in the PHC string format. Raises Problem `overloaded`."""
        return await self._in_turn(lambda: self._hasher.hash(password))

    async def matches(self, hashed: str | None, password: str) -> bool:
        """Whether the password is the one that was hashed. None, for a name that nobody has, takes
        as long as a wrong password, so that time does not tell which names exist. Raises Problem
        `overloaded`."""
        right = await self._in_turn(lambda: self._verify(hashed or self._of_nobody, password))
        return right and hashed is not None

    def close(self) -> None:
        """The threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_turn(self, work: Callable[[], T]) -> T:
        if self._waiting >= MAX_WAITING:
            raise Problem("overloaded", "Too many sign in at the same time.", retry_after_s=5)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1

    def _verify(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except VerificationError:
            return False

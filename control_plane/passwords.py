"""Passwords, hashed with Argon2id in threads of their own."""

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

# One hash takes 64 MiB and a core for 50 ms: log-ins queue up rather than take the machine.
THREADS = 2


class Passwords:
    """Hashes and checks. `memory_kib` is that of one hash."""

    def __init__(self, *, passes: int, memory_kib: int, lanes: int) -> None:
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=lanes)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="argon2")
        self._of_nobody = self._hasher.hash(secrets.token_hex(16))

    async def hash(self, password: str) -> str:
        """A salted hash in the PHC string format."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._hasher.hash, password)

    async def matches(self, hashed: str | None, password: str) -> bool:
        """Whether the password is the one that was hashed. None, for a name that nobody has, takes
        as long as a wrong password, so that time does not tell which names exist."""
        loop = asyncio.get_running_loop()
        right = await loop.run_in_executor(
            self._threads, self._verify, hashed or self._of_nobody, password
        )
        return right and hashed is not None

    def close(self) -> None:
        """The threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _verify(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except VerificationError:
            return False

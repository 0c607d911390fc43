"""How many streams an account plays at once: each is a lease that heartbeats renew, and that lapses
by itself.

The leases are in the shared state. When that is away nobody is refused: too many streams for a
while are better than none.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runtime.errors import Problem
from runtime.log import logger
from runtime.state import State, StateUnavailable

BEAT_S = 30.0  # between two heartbeats
LEASE_S = 3 * BEAT_S  # so that two may get lost


class Streams:
    """The streams of all accounts."""

    def __init__(self, state: State) -> None:
        self._state = state

    @asynccontextmanager
    async def one_more(
        self, user_id: str | None, session_id: str, most: int | None
    ) -> AsyncIterator[None]:
        """The session is one of at most `most` of its account, unless the block raises. Raises
        Problem `too_many_streams`."""
        await self.renew(user_id, session_id, most)
        try:
            yield
        except BaseException:
            await self.end(user_id, session_id, most)
            raise

    async def renew(self, user_id: str | None, session_id: str, most: int | None) -> None:
        """The session counts for LEASE_S seconds from now. Raises Problem `too_many_streams`."""
        if most is None:
            return
        try:
            held = await self._state.hold(_key(user_id), session_id, most, LEASE_S)
        except StateUnavailable as error:
            logger().warning("streams_not_counted", why=str(error))
            return
        if not held:
            raise Problem(
                "too_many_streams",
                f"The account's plan allows {most} at the same time, and as many play.",
                retry_after_s=int(LEASE_S),
            )

    async def end(self, user_id: str | None, session_id: str, most: int | None) -> None:
        """The session does not count any more."""
        if most is None:
            return
        try:
            await self._state.let_go(_key(user_id), session_id)
        except StateUnavailable as error:  # it lapses
            logger().warning("streams_not_counted", why=str(error))


def _key(user_id: str | None) -> str:
    return f"streams:{user_id}"

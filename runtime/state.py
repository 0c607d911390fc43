"""Small shared state with an expiry: in memory for one process, in Redis for several.

What lives here may be lost without harm (counters of attempts, the latest reports): durable
facts belong in the database or the store.
"""

import time
from collections.abc import Callable
from typing import Protocol

# Memory is bounded: beyond this the entries that expire first are dropped.
MAX_ENTRIES = 100_000


class StateUnavailable(Exception):
    """The shared state does not answer."""


class State(Protocol):
    """Named entries that expire."""

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """The entry holds `value` for `ttl_s` seconds."""

    async def get(self, key: str) -> bytes | None:
        """The entry, or None when there is none or it has expired."""

    async def add(self, key: str, amount: int, ttl_s: float) -> int:
        """The counter after adding; its time starts with its first amount."""

    async def delete(self, key: str) -> None:
        """There is no such entry."""

    async def items(self, prefix: str) -> dict[str, bytes]:
        """Entries whose key starts with `prefix`."""

    async def hold(self, key: str, holder: str, most: int, ttl_s: float) -> bool:
        """Whether `holder` is one of at most `most` that hold the key: for `ttl_s` seconds, unless
        it asks again, which renews, or lets go. Exact, however many ask at once."""

    async def let_go(self, key: str, holder: str) -> None:
        """`holder` does not hold the key."""

    async def close(self) -> None:
        """Connections are closed."""


def open_state(url: str) -> State:
    """`memory:` or `redis://host:port/db`. Raises ValueError."""
    if url == "memory:":
        return MemoryState()
    if url.startswith(("redis://", "rediss://", "unix://")):
        from runtime.redis_state import RedisState  # a tenth of a second, OpenTelemetry included

        return RedisState(url)
    raise ValueError(f"{url!r} is not a state: memory: or redis://host:port/0")


class MemoryState:
    """Entries of this process. `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[str, tuple[bytes, float]] = {}
        self._holders: dict[str, dict[str, float]] = {}

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        if len(self._entries) >= MAX_ENTRIES and key not in self._entries:
            self._make_room()
        self._entries[key] = value, self._clock() + ttl_s

    async def get(self, key: str) -> bytes | None:
        value, expires = self._entries.get(key, (None, 0.0))
        if value is not None and expires <= self._clock():
            del self._entries[key]
            return None
        return value

    async def add(self, key: str, amount: int, ttl_s: float) -> int:
        held = await self.get(key)
        total = int(held or 0) + amount
        if held is None:
            await self.put(key, str(total).encode(), ttl_s)
        else:
            self._entries[key] = str(total).encode(), self._entries[key][1]
        return total

    async def delete(self, key: str) -> None:
        self._entries.pop(key, None)

    async def items(self, prefix: str) -> dict[str, bytes]:
        now = self._clock()
        return {
            key: value
            for key, (value, expires) in self._entries.items()
            if key.startswith(prefix) and expires > now
        }

    async def hold(self, key: str, holder: str, most: int, ttl_s: float) -> bool:
        now = self._clock()
        if len(self._holders) >= MAX_ENTRIES and key not in self._holders:
            self._forget_lapsed(now)
        holders = self._holders.get(key, {})
        holders = {name: expires for name, expires in holders.items() if expires > now}
        granted = holder in holders or len(holders) < most
        if granted:
            holders[holder] = now + ttl_s
        self._holders[key] = holders
        return granted

    async def let_go(self, key: str, holder: str) -> None:
        holders = self._holders.get(key, {})
        holders.pop(holder, None)
        if not holders:
            self._holders.pop(key, None)

    async def close(self) -> None:
        self._entries.clear()
        self._holders.clear()

    def _forget_lapsed(self, now: float) -> None:
        """Keys that nobody holds any more are gone; when that is not enough, the oldest too."""
        for key in [k for k, held in self._holders.items() if max(held.values(), default=0) <= now]:
            del self._holders[key]
        for key in list(self._holders)[: max(0, len(self._holders) - MAX_ENTRIES + 1)]:
            del self._holders[key]

    def _make_room(self) -> None:
        by_expiry = sorted(self._entries, key=lambda key: self._entries[key][1])
        for key in by_expiry[: MAX_ENTRIES // 10]:
            del self._entries[key]

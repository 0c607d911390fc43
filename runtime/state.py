"""Small shared state with an expiry: in memory for one process, in Redis for several.

What lives here may be lost without harm (counters of attempts, the latest reports): durable
facts belong in the database or the store.
"""

import re
import time
from collections.abc import Callable
from typing import Protocol, cast

import redis.asyncio as redis
from redis.exceptions import RedisError

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

    async def close(self) -> None:
        """Connections are closed."""


def open_state(url: str) -> State:
    """`memory:` or `redis://host:port/db`. Raises ValueError."""
    if url == "memory:":
        return MemoryState()
    if url.startswith(("redis://", "rediss://", "unix://")):
        return RedisState(url)
    raise ValueError(f"{url!r} is not a state: memory: or redis://host:port/0")


class MemoryState:
    """Entries of this process. `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[str, tuple[bytes, float]] = {}

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

    async def close(self) -> None:
        self._entries.clear()

    def _make_room(self) -> None:
        by_expiry = sorted(self._entries, key=lambda key: self._entries[key][1])
        for key in by_expiry[: MAX_ENTRIES // 10]:
            del self._entries[key]


# One step, so that a counter cannot be left without its expiry.
_ADD = """
local total = redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return total
"""


class RedisState:
    """Entries in Redis, under `nearcast:`."""

    def __init__(self, url: str, prefix: str = "nearcast:") -> None:
        self._prefix = prefix
        self._redis = redis.Redis.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0)

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        try:
            await self._redis.set(self._prefix + key, value, px=max(1, int(ttl_s * 1000)))
        except RedisError as error:
            raise StateUnavailable(str(error)) from error

    async def get(self, key: str) -> bytes | None:
        try:
            value = cast(bytes | None, await self._redis.get(self._prefix + key))
        except RedisError as error:
            raise StateUnavailable(str(error)) from error
        return value

    async def add(self, key: str, amount: int, ttl_s: float) -> int:
        try:
            answer = await self._redis.eval(
                _ADD, 1, self._prefix + key, str(amount), str(max(1, int(ttl_s * 1000)))
            )
        except RedisError as error:
            raise StateUnavailable(str(error)) from error
        return int(answer)

    async def delete(self, key: str) -> None:
        try:
            await self._redis.delete(self._prefix + key)
        except RedisError as error:
            raise StateUnavailable(str(error)) from error

    async def items(self, prefix: str) -> dict[str, bytes]:
        try:
            # MATCH takes a glob; the prefix is text.
            pattern = re.sub(r"([][*?^\\-])", r"\\\1", self._prefix + prefix) + "*"
            names = [n async for n in self._redis.scan_iter(match=pattern)]
            values = cast(list[bytes | None], await self._redis.mget(names) if names else [])
        except RedisError as error:
            raise StateUnavailable(str(error)) from error
        cut = len(self._prefix)
        return {n.decode()[cut:]: v for n, v in zip(names, values, strict=True) if v is not None}

    async def close(self) -> None:
        await self._redis.aclose()

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


# One step, so that a counter cannot be left without its expiry.
_ADD = """
local total = redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return total
"""

# Holders with the moment at which each lapses, by the clock of Redis, which all replicas share.
_HOLD = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local held = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not held and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return 1
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

    async def hold(self, key: str, holder: str, most: int, ttl_s: float) -> bool:
        try:
            granted = await self._redis.eval(
                _HOLD, 1, self._held(key), holder, str(most), str(max(1, int(ttl_s * 1000)))
            )
        except RedisError as error:
            raise StateUnavailable(str(error)) from error
        return bool(granted)

    async def let_go(self, key: str, holder: str) -> None:
        try:
            await self._redis.zrem(self._held(key), holder)
        except RedisError as error:
            raise StateUnavailable(str(error)) from error

    def _held(self, key: str) -> str:
        """Beside the entries, which `items` reads as strings."""
        return f"{self._prefix}held:{key}"

    async def close(self) -> None:
        await self._redis.aclose()

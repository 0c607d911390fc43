"""Shared state in Redis (see `runtime.state`)."""

import re
from typing import cast

import redis.asyncio as redis
from redis.exceptions import RedisError

from runtime.state import StateUnavailable

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

"""Fills: one flight per file, however many wait; verified before it counts.

Sources are asked in order. One that stalls or breaks is left, and the next goes on from the byte
reached. A file that is whole but wrong is thrown away; when none of its bytes can have left
(`gate.releasable`) the next source starts it again, else its waiters are reset.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from appliance.cache import Cache, Landing
from appliance.gate import FileWant, releasable
from appliance.sources import Missing, Source, SourceFailed, WrongLength
from runtime.errors import Problem
from runtime.flow import Breaker
from runtime.log import logger

MAX_FLIGHTS = 4096
_DISTRUST_S = 60.0
_MAX_DISTRUSTED = 10_000


class Fill:
    """One file on its way. `landed` bytes of `size` stand in `landing.path`; `watchers` are called
    whenever that changes, and once at the end."""

    def __init__(self, want: FileWant) -> None:
        self.want = want
        self.size = want.size
        self.landed = 0
        self.landing: Landing | None = None
        self.held = False
        self.problem: Problem | None = None
        self.pinned = False
        self.watchers: list[Callable[[Fill], None]] = []
        self._ended = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Held or failed."""
        return self.held or self.problem is not None

    async def wait(self) -> None:
        """The file is held. Raises the fill's Problem."""
        await self._ended.wait()
        if self.problem is not None:
            raise self.problem

    def tell(self) -> None:
        """Watchers learn the present state."""
        for watcher in tuple(self.watchers):
            watcher(self)
        if self.ended:
            self._ended.set()


class Fills:
    """The flights under way, and the sources in the order to ask them."""

    def __init__(self, cache: Cache, stall_s: float) -> None:
        self.sources: Sequence[Source] = ()
        self.bytes_by_kind = {"peer": 0, "store": 0}
        self.failures = 0
        self._cache = cache
        self._stall_s = stall_s
        self._flights: dict[str, Fill] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._breakers: dict[str, Breaker] = {}
        self._distrusted: dict[tuple[str, str], float] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def join(self, want: FileWant, *, pinned: bool = False) -> Fill:
        """The file's flight, started if there is none. One that is held is ended already."""
        fill = self._flights.get(want.key)
        if fill is None:
            fill = Fill(want)
            if want.key in self._cache:
                fill.held = True
                fill.tell()
            elif len(self._flights) >= MAX_FLIGHTS:
                fill.problem = Problem("overloaded", retry_after_s=1)
                fill.tell()
            else:
                self._flights[want.key] = fill
                task = asyncio.create_task(self._fly(fill), name=f"fill {want.key}")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        fill.pinned = fill.pinned or pinned
        if fill.held and pinned:
            self._cache.pin(want.key, True)
        return fill

    async def close(self) -> None:
        """All flights have ended; nothing of them is left."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _fly(self, fill: Fill) -> None:
        try:
            await self._bring(fill)
            fill.held = True
        except Problem as problem:
            fill.problem = problem
        except asyncio.CancelledError:
            fill.problem = Problem("unavailable", "The appliance is stopping.")
            raise
        except Exception:
            logger().exception("fill_broke", file=fill.want.key)
            fill.problem = Problem("internal")
        finally:
            if fill.problem is not None:
                self.failures += 1
                logger().warning("fill_failed", file=fill.want.key, code=fill.problem.code)
            if fill.landing is not None:
                self._cache.abandon(fill.landing)
            del self._flights[fill.want.key]
            fill.tell()

    async def _bring(self, fill: Fill) -> None:
        """Lands the file from the first sources that have it, and commits it."""
        digest = hashlib.sha256()
        buffered = bytearray()
        store_away = False
        for source in self._allowed(fill.want):
            try:
                async with aclosing(self._pieces(source, fill)) as pieces:
                    async for piece in pieces:
                        digest.update(piece)
                        await self._land(fill, piece, buffered)
                        self.bytes_by_kind[source.kind] += len(piece)
            except Missing:
                self._breakers[source.name].record(True, time.monotonic())
                continue
            except (SourceFailed, TimeoutError) as error:
                store_away = source.kind == "store" and not isinstance(error, WrongLength)
                self._breakers[source.name].record(False, time.monotonic())
                logger().warning("source_failed", source=source.name, why=str(error) or "stalled")
                continue
            self._breakers[source.name].record(True, time.monotonic())
            if fill.landed == (fill.size or fill.landed) and digest.hexdigest() == fill.want.sha256:
                await self._commit(fill, buffered)
                return
            self._distrust(fill.want, source)
            if fill.size is not None and releasable(fill.size, fill.landed, False) > 0:
                raise Problem("fill_failed", "A source sent wrong bytes.")
            fill.landed, digest = 0, hashlib.sha256()
            buffered.clear()
        if store_away:
            raise Problem("store_unavailable", retry_after_s=2)
        raise Problem("fill_failed")

    def _allowed(self, want: FileWant) -> list[Source]:
        now = time.monotonic()
        for source in self.sources:
            self._breakers.setdefault(source.name, Breaker())
        return [
            source
            for source in self.sources
            if self._distrusted.get((source.name, want.key), 0.0) < now
            and self._breakers[source.name].allows(now)
        ]

    async def _pieces(self, source: Source, fill: Fill) -> AsyncGenerator[bytes, None]:
        """What the source sends from the byte reached, never more than is wanted. Raises
        TimeoutError when nothing comes for a while."""
        got = fill.landed
        async with aclosing(source.stream(fill.want, got)) as stream:
            while True:
                async with asyncio.timeout(self._stall_s):
                    piece = await anext(stream, b"")
                if not piece:
                    break
                got += len(piece)
                if got > fill.want.max_bytes:
                    raise WrongLength("it sends more than the file has")
                yield piece
        if fill.size is not None and got < fill.size:
            raise WrongLength("it sent less than the file has")

    async def _land(self, fill: Fill, piece: bytes, buffered: bytearray) -> None:
        if fill.size is None:  # an inventory: small, and its length is known at its end
            buffered += piece
            fill.landed += len(piece)
            return
        if fill.landing is None:
            fill.landing = await self._cache.begin(fill.want.key, fill.size)
        self._cache.write(fill.landing, piece, fill.landed)
        fill.landed += len(piece)
        fill.tell()

    async def _commit(self, fill: Fill, buffered: bytearray) -> None:
        if fill.landing is None:
            fill.size = len(buffered)
            fill.landing = await self._cache.begin(fill.want.key, fill.size)
            self._cache.write(fill.landing, bytes(buffered), 0)
        await self._cache.commit(fill.landing, pinned=fill.pinned)

    def _distrust(self, want: FileWant, source: Source) -> None:
        """The source is not asked for this file again for a while."""
        logger().error("wrong_bytes", source=source.name, file=want.key)
        if len(self._distrusted) >= _MAX_DISTRUSTED:
            self._distrusted.clear()
        self._distrusted[source.name, want.key] = time.monotonic() + _DISTRUST_S

"""Fills: one flight per file, however many wait; verified before it counts.

Sources are asked in order. One that stalls or breaks is left, and the next goes on from the byte
reached. Bytes that turn out wrong are thrown away; when none of them can have left
(`gate.releasable`) the next source starts the file again, else its waiters are reset.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from appliance.cache import Cache, Landing
from appliance.gate import releasable
from appliance.home import Asker
from appliance.sources import KINDS, Missing, Source, SourceFailed, WrongLength
from appliance.want import FileWant
from media.http_get import CONNECTIONS
from runtime import tracing
from runtime.errors import Problem
from runtime.flow import Breaker
from runtime.log import logger

MAX_FLIGHTS = 4096
_ASKED_AT_ONCE = CONNECTIONS  # of one source; more questions would wait for a connection
_NEWS_BYTES = 1024 * 1024
_NEWS_S = 0.05
_PATIENCE_LEFT = 0.75  # of a source's time, when its bytes begin to prolong it
_LEAST_BYTES = 32 * 1024  # that do so: a source that trickles holds a reservation and its waiters
_DISTRUST_S = 60.0
_MAX_DISTRUSTED = 10_000


class Home(NamedTuple):
    """Another appliance, asked first to bring a file, and as what we ask it."""

    source: Source
    asker: Asker


class Fill:
    """One file on its way. `landed` bytes of `size` stand in `landing.path`; `watchers` are called
    whenever that changes, and once at the end. `trace` is whose it is, as a `traceparent`, or
    empty."""

    def __init__(self, want: FileWant, trace: str = "") -> None:
        self.want = want
        self.trace = trace
        self.source = ""  # who gave the last of it
        self.size = want.size
        self.landed = 0
        self.home: Home | None = None
        self.of_plan = False  # the plan has begun it
        self.awaited = False  # somebody else wants it, too
        self.landing: Landing | None = None
        self.held = False
        self.problem: Problem | None = None
        self.given_up: Problem | None = None  # it ends with this as soon as it can
        self.watchers: list[Callable[[Fill], None]] = []
        self._told_bytes = 0
        self._told_s = 0.0
        self._later: asyncio.TimerHandle | None = None
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

    def attributes(self) -> dict[str, str | int]:
        """What its span says at the end."""
        return {
            "nearcast.package_id": self.want.package_id,
            "nearcast.path": self.want.path,
            "nearcast.bytes": self.landed,
            "nearcast.source": self.source,
            "nearcast.outcome": "held" if self.problem is None else self.problem.code,
        }

    def tell_progress(self, now_s: float) -> None:
        """Watchers learn the present state, if it is news: the first bytes that may leave, but not
        if the last ones are near; a good many more; or some after a while. To hear of it costs a
        worker as much as a hit does."""
        assert self.size is not None
        may_leave = releasable(self.size, self.landed, held=False)
        more = may_leave - self._told_bytes
        if more <= 0:
            return
        first = self._told_bytes == 0
        if self._told_s == 0.0:
            self._told_s = now_s
        if (
            more >= _NEWS_BYTES
            or now_s - self._told_s >= _NEWS_S
            or (first and self.size - self.landed >= _NEWS_BYTES)
        ):
            self._told_bytes, self._told_s = may_leave, now_s
            self.tell()
        elif self._later is None:  # the source may pause, and these bytes wait for no others
            self._later = asyncio.get_running_loop().call_later(_NEWS_S, self._tell_the_rest)

    def _tell_the_rest(self) -> None:
        self._later = None
        self.tell_progress(asyncio.get_running_loop().time())

    def tell(self) -> None:
        """Watchers learn the present state."""
        if self.ended:
            self._ended.set()
            if self._later is not None:
                self._later.cancel()
        for watcher in tuple(self.watchers):
            watcher(self)


class _Catch:
    """Takes a flight's bytes as its sources give them: hashed, written, told. Of an inventory,
    whose length is known at its end, they are `gathered` in memory."""

    def __init__(self, fill: Fill, cache: Cache, sums: Sequence[dict[str, int]]) -> None:
        """`sums` are of bytes by kind of source."""
        self.givers: list[Source] = []  # of the bytes that have come, in this order
        self.gathered = bytearray()
        self._fill = fill
        self._cache = cache
        self._sums = sums
        self._digest = hashlib.sha256()
        self._loop = asyncio.get_running_loop()

    async def pour(self, source: Source, stall_s: float) -> None:
        """Everything from the byte reached has come from this source. Raises what it raises,
        WrongLength, TimeoutError when next to nothing comes for a while, and the fill's Problem."""
        fill = self._fill
        self._source, self._stall_s = source, stall_s
        self._until_s = self._loop.time() + stall_s
        self._worth_waiting = fill.landed + _LEAST_BYTES
        async with asyncio.timeout_at(self._until_s) as self._patience:
            await source.pour(fill.want, fill.landed, self._take)
        if fill.given_up is not None:
            raise fill.given_up
        if fill.size is not None and fill.landed < fill.size:
            raise WrongLength("it sent less than the file has")

    def is_right(self) -> bool:
        """All that has come is the file."""
        return self._digest.hexdigest() == self._fill.want.sha256

    def _take(self, piece: memoryview) -> None:
        fill = self._fill
        landed = fill.landed + len(piece)
        if landed > fill.want.max_bytes:
            raise WrongLength("it sends more than the file has")
        if fill.given_up is not None:
            raise fill.given_up
        if not self.givers or self.givers[-1] is not self._source:
            self.givers.append(self._source)
        self._digest.update(piece)
        for sum_by_kind in self._sums:
            sum_by_kind[self._source.kind] += len(piece)
        now_s = self._loop.time()
        if (
            now_s > self._until_s - _PATIENCE_LEFT * self._stall_s  # seldom: a timer is not cheap
            and landed >= self._worth_waiting
        ):
            self._until_s = now_s + self._stall_s
            self._worth_waiting = landed + _LEAST_BYTES
            self._patience.reschedule(self._until_s)
        if fill.landing is None:
            self.gathered += piece
            fill.landed = landed
        else:
            self._cache.write(fill.landing, piece, fill.landed)
            fill.landed = landed
            fill.tell_progress(now_s)


def _none() -> dict[str, int]:
    return dict.fromkeys(KINDS, 0)


class Fills:
    """The flights under way, and the sources in the order to ask them."""

    def __init__(self, cache: Cache, stall_s: float) -> None:
        self.sources: Sequence[Source] = ()
        self.home: Callable[[FileWant, Asker], Home | None] = lambda want, asker: None
        # By package: sources to ask before all others.
        self.first: Callable[[FileWant], Sequence[Source]] = lambda want: ()
        self.bytes_by_kind = _none()
        self.plan_bytes_by_kind = _none()  # of flights that the plan began
        self.files_by_kind = _none()  # by who gave the last of it
        self.started = 0
        self.failures = 0  # of those started
        self.wanted: Callable[[str], bool] = lambda key: False  # the plan's word: held is pinned
        self._cache = cache
        self._stall_s = stall_s
        self._flights: dict[str, Fill] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._breakers: dict[str, Breaker] = {}  # by source, as the next ones
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._distrusted: dict[tuple[str, str], float] = {}
        self._purged: frozenset[str] = frozenset()
        self._ending = asyncio.Event()

    def __len__(self) -> int:
        return len(self._flights)

    def brings(self, key: str) -> bool:
        """The file is on its way."""
        return key in self._flights

    def holds(self, want: FileWant) -> bool:
        """The file is held: to join its flight takes no time."""
        return self._cache.holds(want.key, want.size)

    @property
    def awaited(self) -> bool:
        """Somebody else than the plan waits for a file."""
        return any(fill.awaited for fill in self._flights.values())

    async def one_ends(self) -> None:
        """A flight has ended, of those there are or will be."""
        await self._ending.wait()

    @property
    def brought_bytes(self) -> int:
        """From all sources."""
        return sum(self.bytes_by_kind.values())

    def join(
        self,
        want: FileWant,
        asker: Asker = Asker.OURS,
        *,
        of_plan: bool = False,
        trace: str = "",
    ) -> Fill:
        """The file's flight, started if there is none, in the trace of who did so. One that is held
        is ended already. A flight that may wait for whom the asker must not wait for is refused."""
        fill = self._flights.get(want.key)
        if fill is not None and not of_plan:
            fill.awaited = True
        if fill is not None and fill.home is not None and fill.home.asker <= asker:
            fill = Fill(want)
            fill.problem = Problem("not_held")
            fill.tell()
        elif fill is None:
            fill = Fill(want, trace)
            fill.home = self.home(want, asker)
            fill.of_plan, fill.awaited = of_plan, not of_plan
            if want.package_id in self._purged:
                fill.problem = Problem("purged")
                fill.tell()
            elif self._cache.holds(want.key, want.size):
                fill.held = True
                fill.tell()
            elif len(self._flights) >= MAX_FLIGHTS:
                fill.problem = Problem("overloaded", retry_after_s=1)
                fill.tell()
            else:
                self._flights[want.key] = fill
                self.started += 1
                task = asyncio.create_task(self._fly(fill), name=f"fill {want.key}")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        return fill

    def purge(self, packages: Collection[str]) -> None:
        """From now on, until the next purge, no file of these packages is brought."""
        self._purged = frozenset(packages)
        self.give_up(lambda want: want.package_id in self._purged, Problem("purged"))

    def give_up(self, chosen: Callable[[FileWant], bool], problem: Problem) -> list[Fill]:
        """Nothing that is now on its way, and chosen, will be held. Returns those flights, which
        end soon."""
        flights = [fill for fill in self._flights.values() if chosen(fill.want)]
        for fill in flights:
            fill.given_up = problem
        return flights

    def store_away(self, now_s: float) -> bool:
        """The store is left alone for its failures. Without a new attempt that is not known for
        long: nobody may want anything of it for hours."""
        return any(
            breaker.tripped(now_s)
            for source in self.sources
            if source.kind == "store" and (breaker := self._breakers.get(source.name))
        )

    async def close(self) -> None:
        """All flights have ended; nothing of them is left."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _fly(self, fill: Fill) -> None:
        with tracing.joined(fill.trace, "fill") as span:
            await self._fly_to_its_end(fill)
            if span is not None:
                span.attributes |= fill.attributes()
                span.failed = fill.problem is not None

    async def _fly_to_its_end(self, fill: Fill) -> None:
        try:
            await self._bring(fill)
            if fill.given_up is not None:
                self._cache.remove([fill.want.key])
                raise fill.given_up
            self._cache.pin(fill.want.key, self.wanted(fill.want.key))
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
            self._ending.set()
            self._ending = asyncio.Event()

    async def _bring(self, fill: Fill) -> None:
        """Lands the file from the first sources that have it, and commits it."""
        self._cache.check_fits(fill.size or 0)
        sums = [self.bytes_by_kind]
        if fill.of_plan:
            sums.append(self.plan_bytes_by_kind)
        catch = _Catch(fill, self._cache, sums)
        store_away = False
        missing: list[Source] = []
        for source in self._in_order(fill):
            if source in missing or self._distrusts(source, fill.want):
                continue
            breaker = self._breakers.setdefault(source.name, Breaker())
            if not breaker.allows(time.monotonic()):
                store_away = source.kind == "store"
                continue
            turns = self._turns.setdefault(source.name, asyncio.Semaphore(_ASKED_AT_ONCE))
            try:
                async with turns:  # who stands in a queue takes no room, and does not stall
                    if fill.landing is None and fill.size is not None:
                        fill.landing = await self._cache.begin(fill.want.key, fill.size)
                    await catch.pour(source, self._stall_s)
                right = catch.is_right()
                # Of several givers the last is spared: the next time it gives the whole file, or
                # shows that the fault was its own.
                liars = catch.givers[:-1] or [source]
            except Missing:
                breaker.record(True, time.monotonic())
                missing.append(source)
                continue
            except WrongLength as error:
                logger().warning("source_lies", source=source.name, why=str(error))
                right, liars = False, [source]
            except (SourceFailed, TimeoutError) as error:
                store_away = source.kind == "store"
                breaker.record(False, time.monotonic())
                logger().warning("source_failed", source=source.name, why=str(error) or "stalled")
                continue
            breaker.record(True, time.monotonic())  # it answers; what, is about this file alone
            if right:
                fill.source = source.name
                self.files_by_kind[source.kind] += 1
                await self._commit(fill, catch.gathered)
                return
            self._distrust(fill.want, liars)
            if fill.size is not None and releasable(fill.size, fill.landed, False) > 0:
                raise Problem("fill_failed", "A source sent wrong bytes.")
            fill.landed = 0
            catch = _Catch(fill, self._cache, sums)
        if store_away:
            raise Problem("store_unavailable", retry_after_s=2)
        raise Problem("fill_failed")

    def _in_order(self, fill: Fill) -> tuple[Source, ...]:
        """Those that the plan names for the package, the file's home, the peers, the store; and the
        store once more, which may have broken off by chance, or come to an end that was begun by a
        peer that lies. Home is asked although it may have been asked before: as home it brings the
        file, too."""
        first = self.first(fill.want)
        home = () if fill.home is None else (fill.home.source,)
        asked = {source.name for source in (*first, *home)}
        others = (source for source in self.sources if source.name not in asked)
        last = (source for source in self.sources if source.kind == "store")
        return (*first, *home, *others, *last)

    async def _commit(self, fill: Fill, gathered: bytearray) -> None:
        if fill.landing is None:
            fill.size = len(gathered)
            fill.landing = await self._cache.begin(fill.want.key, fill.size)
            self._cache.write(fill.landing, gathered, 0)
        await self._cache.commit(fill.landing, fill.want.sha256)

    def _distrusts(self, source: Source, want: FileWant) -> bool:
        return self._distrusted.get((source.name, want.key), 0.0) > time.monotonic()

    def _distrust(self, want: FileWant, liars: Sequence[Source]) -> None:
        """They are not asked for this file again for a while."""
        for source in liars:
            logger().error("wrong_bytes", source=source.name, file=want.key)
            if len(self._distrusted) >= _MAX_DISTRUSTED:
                self._distrusted.clear()
            self._distrusted[source.name, want.key] = time.monotonic() + _DISTRUST_S

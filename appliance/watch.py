"""The keeper's eye on its appliance: reads board, cache and fills, and tells how it does.

A few times a second `look` judges health and writes the pressure onto the board, where workers read
it to know whom to refuse (`shed`).
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

from appliance.board import MAX_WORKERS, Board, Word
from appliance.cache import Cache
from appliance.early_fills import EarlyFills
from appliance.fill import Fills
from appliance.health import Health, HealthJudge, Vitals
from appliance.metrics import Figure, states
from appliance.plan import PlanFollower
from appliance.quality import QualityBook, read
from appliance.settings import ApplianceSettings
from appliance.shed import Priority
from appliance.tally import Histogram, Tally, histogram
from appliance.vitals import Pulse, Sample
from media.fleet import Counters

LOOK_S = 0.25
# A worker's tick is a quarter of a second; one that has been silent for longer hangs.
_TICK_US = 250_000
_STATUS_CLASSES = (2, 3, 4, 5)


class Watch:
    """`health` is as of the last `look`."""

    def __init__(
        self,
        board: Board,
        cache: Cache,
        fills: Fills,
        settings: ApplianceSettings,
        draining: Callable[[], bool],
    ) -> None:
        self.players = QualityBook()
        self._board, self._cache, self._fills = board, cache, fills
        self._settings = settings
        self._draining = draining
        # Of workers that there are, and of those that an earlier run had.
        self._slots = [n for n in range(MAX_WORKERS) if n < settings.workers or any(board.row(n))]
        self._tallies = {slot: board.tally(slot) for slot in self._slots}
        # The board remembers earlier boots; what is told begins with this one.
        self._words_before = {word: board.total(word) for word in Word}
        self._tally_before = self._tally()
        self._judge = HealthJudge()
        self._vitals = Vitals()
        now_s = time.monotonic()
        self._pulse = Pulse(self._sample(now_s))
        self.health = self.look(now_s)

    async def run(self) -> None:
        """Looks for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.look(time.monotonic())

    def look(self, now_s: float) -> Health:
        """Health at this moment, in monotonic seconds. The board has the pressure."""
        rates = self._pulse.take(self._sample(now_s))
        settings = self._settings
        most = settings.max_connections * max(1, settings.workers)
        self._vitals = Vitals(
            egress_load=rates.egress_bps / settings.capacity_bps,
            connection_load=self.open_connections / most,
            cpu_load=rates.cpu_load,
            lag_s=rates.lag_s,
            shed_share=rates.shed_share,
            fill_failure_share=rates.fill_failure_share,
            store_away=self._fills.store_away(now_s),
            disk_trouble=self._cache.trouble
            or ("" if self._cache.disk_ok else "the cache disk takes no writes"),
            disks_out=self._cache.out,
            workers_alive=len(self._alive()),
            draining=self._draining(),
        )
        self.health = self._judge.judge(self._vitals, now_s)
        self._board.pressure = self._vitals.pressure
        return self.health

    @property
    def open_connections(self) -> int:
        """The connections of all workers now."""
        return self._board.total(Word.OPEN)

    def hear(self, notes: Iterable[Sequence[str]], now_s: float) -> None:
        """A worker's notes of what players said (`quality.Notes`) count, as of Unix time
        `now_s`."""
        for one in read(notes):
            self.players.hear(one, now_s)

    def counters(self) -> Counters:
        """What has been done since this boot, summed over workers."""
        return Counters(
            requests=self._done(Word.REQUESTS),
            bytes_out=self._done(Word.BYTES_OUT),
            hits=self._done(Word.HITS),
            misses=self._done(Word.MISSES),
            rejects=self._done(Word.REJECTS),
            fill_bytes_peer=self._fills.bytes_by_kind["peer"],
            fill_bytes_tier=self._fills.bytes_by_kind["tier"],
            fill_bytes_store=self._fills.bytes_by_kind["store"],
            fill_failures=self._fills.failures,
            evictions=self._cache.evictions,
            sheds=sum(self._sheds(self._tally()).values()),
        )

    def figures(self, plan: PlanFollower, early: EarlyFills) -> dict[str, Figure]:
        """Everything that Prometheus is told (`metrics.TABLE`)."""
        tally, alive, health = self._tally(), self._alive(), self.health
        players = self.players.totals
        acked = self._board.acked()
        stocks = {str(stock.shelf.folder): stock for stock in self._cache.stocks}
        return {
            "requests": self._done(Word.REQUESTS),
            "answers": {
                f"{hundreds}xx": self._grown(tally, Tally.ANSWERS + hundreds)
                for hundreds in _STATUS_CLASSES
            },
            "sent_bytes": self._done(Word.BYTES_OUT),
            "lookups": {"hit": self._done(Word.HITS), "miss": self._done(Word.MISSES)},
            "refusals": self._done(Word.REJECTS),
            "sheds": self._sheds(tally),
            "connections": self._done(Word.ACCEPTED),
            "aborted_connections": self._done(Word.ABORTED),
            "open_connections": self.open_connections,
            "hit_first_byte_seconds": self._latencies(tally, Tally.HIT),
            "fill_first_byte_seconds": self._latencies(tally, Tally.FILL),
            "fill_bytes": self._fills.bytes_by_kind,
            "filled_files": self._fills.files_by_kind,
            "fills": self._fills.started,
            "fill_failures": self._fills.failures,
            "fills_in_flight": len(self._fills),
            "early_fills": early.started,
            "early_fill_bytes": early.bytes,
            "useful_early_fills": early.useful,
            "evictions": self._cache.evictions,
            "cache_budget_bytes": self._cache.budget_bytes,
            "cache_used_bytes": self._cache.used_bytes,
            "cache_files": len(self._cache),
            "cache_pinned_bytes": self._cache.pinned_bytes,
            "cache_folder_used_bytes": {name: s.used_bytes(acked) for name, s in stocks.items()},
            "cache_folder_budget_bytes": {name: s.budget_bytes for name, s in stocks.items()},
            "cache_folder_in_service": {name: s.in_service for name, s in stocks.items()},
            "scrubbed_bytes": self._cache.scrubbed_bytes,
            "corrupt_files": self._cache.corrupt_files,
            "plan_fill_bytes": self._fills.plan_bytes_by_kind,
            "plan_missing_files": plan.missing_files,
            "plan_missing_bytes": plan.missing_bytes,
            "workers_alive": len(alive),
            "flights": sum(self._tallies[slot][Tally.FLIGHTS] for slot in alive),
            "flight_limit": sum(self._tallies[slot][Tally.LIMIT] for slot in alive),
            "loop_lag_seconds": self._lag_s(time.monotonic()),
            "load_ratio": health.load,
            "bottleneck_load_ratio": self._vitals.loads(),
            "health_state": states(health.state),
            "player_sessions": players.sessions,
            "player_requests": players.requests,
            "player_starved_requests": players.starved_requests,
            "player_startups": players.startups,
            "player_startup_seconds": players.startup_ms / 1000,
            "player_notes_lost": self._grown(tally, Tally.NOTES_LOST),
        }

    def _sample(self, now_s: float) -> Sample:
        tally = self._tally()
        return Sample(
            now_s=now_s,
            bytes_out=self._board.total(Word.BYTES_OUT),
            requests=self._board.total(Word.REQUESTS),
            sheds=tally[Tally.SHED + Priority.FIRST] + tally[Tally.SHED + Priority.RUNNING],
            fills=self._fills.started,
            fill_failures=self._fills.failures,
            cpu_us=tuple(each[Tally.CPU_US] for each in self._tallies.values()),
            lag_s=self._lag_s(now_s),
        )

    def _alive(self) -> list[int]:
        """The slots of the workers that serve."""
        return [slot for slot in self._slots if self._board.row(slot)[Word.ALIVE]]

    def _lag_s(self, now_s: float) -> float:
        """How late the latest worker is: as it said itself, or, while it hangs, as we see."""
        now_us, lag_us = int(now_s * 1e6), 0
        for slot in self._alive():
            tally = self._tallies[slot]
            silent_us = now_us - tally[Tally.BEAT_US] - 2 * _TICK_US if tally[Tally.BEAT_US] else 0
            lag_us = max(lag_us, tally[Tally.LAG_US], silent_us)
        return lag_us / 1e6

    def _tally(self) -> list[int]:
        """The sum of all workers' tallies, of those that are gone too."""
        return [sum(words) for words in zip(*self._tallies.values(), strict=True)]

    def _done(self, word: Word) -> int:
        return self._board.total(word) - self._words_before[word]

    def _grown(self, tally: Sequence[int], word: int) -> int:
        return tally[word] - self._tally_before[word]

    def _sheds(self, tally: Sequence[int]) -> dict[str, int]:
        return {p.name.lower(): self._grown(tally, Tally.SHED + p) for p in Priority}

    def _latencies(self, tally: Sequence[int], start: int) -> Histogram:
        return histogram(tally, start).minus(histogram(self._tally_before, start))

"""A worker under more than it can bear, simulated: who gets what."""

import heapq
import random

import pytest

from appliance.load import WorkerLoad
from appliance.shed import Priority
from appliance.tally import TALLY_WORDS, Tally, histogram

TICK_S = 0.25


class Rush:
    """Misses of all priorities arrive at random; the keeper brings `servers` files at a time, each
    in `alone_s`, and the others wait their turn. Nobody who is refused comes again."""

    def __init__(self, servers: int, alone_s: float = 0.02) -> None:
        self.servers, self.alone_s = servers, alone_s
        self.words = [0] * TALLY_WORDS
        self.load = WorkerLoad(self.words, 0.0, TICK_S)
        self.dice = random.Random(7)
        self.now_s = 0.0
        self.free_s = [0.0] * servers
        self.landing: list[tuple[float, float]] = []  # (first byte, begun)

    def run(self, seconds: float, per_s: dict[Priority, float], pressure: float = 0.0) -> None:
        end_s, next_tick_s = self.now_s + seconds, self.now_s + TICK_S
        kinds, rates = list(per_s), list(per_s.values())
        while self.now_s < end_s:
            self.now_s += self.dice.expovariate(sum(rates))
            while self.landing and self.landing[0][0] <= self.now_s:
                first_byte_s, begun_s = heapq.heappop(self.landing)
                self.load.first_byte(int((first_byte_s - begun_s) * 1e6))
            if self.now_s >= next_tick_s:
                next_tick_s += TICK_S
                self.load.tick(self.now_s, pressure, 0)
            self._arrive(self.dice.choices(kinds, rates)[0])

    def _arrive(self, priority: Priority) -> None:
        if not self.load.may_begin(priority):
            self.load.shed(priority)
            return
        self.load.begin()
        begins_s = max(self.now_s, heapq.heappop(self.free_s))
        took_s = self.alone_s * self.dice.uniform(0.7, 1.3)
        heapq.heappush(self.free_s, begins_s + took_s)
        heapq.heappush(self.landing, (begins_s + took_s, self.now_s))

    def sheds(self) -> list[int]:
        """By priority, since the last call."""
        told = self.words[Tally.SHED : Tally.SHED + len(Priority)]
        self.words[Tally.SHED : Tally.SHED + len(Priority)] = [0] * len(Priority)
        return told


EVERYONE = {
    Priority.PREFETCH: 400.0,
    Priority.PEER: 400.0,
    Priority.FIRST: 100.0,
    Priority.RUNNING: 700.0,
}


def scaled(share: float) -> dict[Priority, float]:
    return {priority: rate * share for priority, rate in EVERYONE.items()}


def test_nobody_is_refused_while_there_is_room() -> None:
    rush = Rush(servers=40)  # 2,000 a second
    rush.run(60, scaled(0.3))
    assert rush.sheds() == [0, 0, 0, 0]


def test_under_too_much_the_lowest_go_and_the_highest_hardly_wait() -> None:
    rush = Rush(servers=20)  # 1,000 a second
    rush.run(60, scaled(0.4))
    rush.sheds()
    rush.run(60, EVERYONE)  # 1,600 a second
    rush.sheds()
    before = histogram(rush.words, Tally.FILL)
    rush.run(60, EVERYONE)
    offered = [rate * 60 for rate in EVERYONE.values()]
    shares = [shed / of for shed, of in zip(rush.sheds(), offered, strict=True)]
    assert shares == sorted(shares, reverse=True)
    assert shares[Priority.PREFETCH] > 0.8
    assert shares[Priority.FIRST] < 0.05 and shares[Priority.RUNNING] < 0.01
    seen = histogram(rush.words, Tally.FILL).minus(before)
    assert seen.sum_us / sum(seen.counts) < 3 * 20_000  # without a limit: seconds, and growing
    assert sum(seen.counts) > 0.9 * 1_000 * 60  # and all are busy


def test_pressure_refuses_the_lower_ones_at_once() -> None:
    rush = Rush(servers=40)
    rush.run(10, scaled(0.1))
    assert rush.load.served == (True, True, True, True) and rush.load.calm
    rush.run(10, scaled(0.1), pressure=1.05)
    assert rush.load.served == (False, False, True, True) and not rush.load.calm
    shed = rush.sheds()
    assert shed[Priority.PREFETCH] > 0 and shed[Priority.PEER] > 0
    assert shed[Priority.FIRST] == shed[Priority.RUNNING] == 0


def test_the_tally_tells_the_keeper() -> None:
    words = [0] * TALLY_WORDS
    load = WorkerLoad(words, 100.0, TICK_S)
    assert (words[Tally.BEAT_US], words[Tally.LAG_US]) == (100_000_000, 0)
    load.begin()
    load.begin()
    load.begin()
    load.first_byte(5000)
    load.failed()
    load.tick(100.65, 0.0, 123_000)
    assert words[Tally.LAG_US] == pytest.approx(400_000, abs=1)
    assert (words[Tally.FLIGHTS], words[Tally.LIMIT]) == (1, 64)
    assert (words[Tally.BEAT_US], words[Tally.CPU_US]) == (100_650_000, 123_000)
    assert histogram(words, Tally.FILL).sum_us == 5000
    load.tick(100.9, 0.0, 0)
    assert words[Tally.LAG_US] == pytest.approx(200_000, abs=1)  # the keeper may not have looked
    for number in range(30):
        load.tick(101.15 + number * TICK_S, 0.0, 0)
    assert words[Tally.LAG_US] <= 1

"""The limit against a server with a knee: up to `knee` files at once take their time alone, beyond
that each waits its turn."""

import random

import pytest

from runtime.limit import LEAST, QUEUE, START, WINDOW_S, Limiter

ALONE_US = 20_000


class Server:
    """Runs the limiter against demand that takes all it may have, a window at a time."""

    def __init__(self, knee: int, demand: int = 10_000) -> None:
        self.knee, self.demand, self.alone_us = knee, demand, ALONE_US
        self.limiter = Limiter()
        self.now_s = 0.0
        self.dice = random.Random(1)

    def run(self, seconds: int) -> list[int]:
        """The limit at the end of each window."""
        limits = []
        for _ in range(round(seconds / WINDOW_S)):
            flights = min(self.demand, int(self.limiter.limit))
            usual_us = self.alone_us * max(1.0, flights / self.knee)
            for _ in range(100):
                self.limiter.landed(int(usual_us * self.dice.uniform(0.8, 1.2)), flights)
            self.now_s += WINDOW_S
            limits.append(self.limiter.tick(self.now_s))
        return limits


@pytest.mark.parametrize("knee", [30, 100, 200])
def test_the_limit_finds_the_knee(knee: int) -> None:
    server = Server(knee)
    server.run(1)
    server.demand = knee // 2  # it learns what is usual while there is little to do
    server.run(60)
    server.demand = 10_000
    server.run(120)
    settled = server.run(300)
    assert 0.9 * knee < min(settled)
    # It creeps while all is asked of it for minutes: that is what an average over 600 costs.
    assert max(settled) < 1.1 * knee + 4 * QUEUE
    assert settled[-1] - settled[0] < 0.1 * knee + 10


def test_it_falls_when_the_server_slows_and_recovers_with_it() -> None:
    server = Server(knee=200)
    server.demand = 60
    server.run(60)
    server.demand = 10_000
    before = server.run(120)[-1]
    server.knee = 40  # a disk of five is left
    slow = server.run(60)
    assert slow[-1] < before / 3
    assert slow[20] < before / 2  # within ten seconds
    server.knee = 200
    assert server.run(120)[-1] > 0.8 * before


def test_a_long_overload_is_forgotten_soon() -> None:
    """The long average has learnt the overload; when that is over it must not take as long again
    to see the next one."""
    server = Server(knee=20)
    server.run(1)
    server.alone_us = 20 * ALONE_US
    server.run(600)
    assert server.limiter.long_us > 10 * ALONE_US
    server.alone_us = ALONE_US
    server.demand = 10
    server.run(60)
    assert server.limiter.long_us < 3 * ALONE_US


def test_little_demand_says_nothing_about_more() -> None:
    server = Server(knee=1000, demand=int(START / 2) - 1)
    assert set(server.run(300)) == {START}


def test_bounds() -> None:
    server = Server(knee=1, demand=10_000)
    server.limiter = Limiter(limit=10, least=LEAST, most=12)
    assert max(server.run(100)) <= 12
    server.alone_us *= 100
    assert min(server.run(100)) == LEAST


def test_a_window_needs_half_a_second_and_ten_samples() -> None:
    limiter = Limiter()
    limiter.tick(0.0)
    for _ in range(10):
        limiter.landed(1000, START)
    assert limiter.tick(0.4) == START
    assert limiter.long_us == 0
    assert limiter.tick(0.5) == int(START + 0.2 * QUEUE)
    assert limiter.long_us == 1000
    for _ in range(9):
        limiter.landed(9000, START)
    limiter.tick(10.0)
    assert limiter.long_us == 1000
    limiter.landed(9000, START)
    limiter.tick(10.1)
    assert limiter.long_us == 5000


def test_a_step_by_the_formula() -> None:
    limiter = Limiter(limit=100.0, long_us=1000.0, _windows=10_000)
    limiter.tick(0.0)
    for _ in range(10):
        limiter.landed(2000, 100)
    limiter.tick(1.0)
    long_us = 1000 + (2000 - 1000) * 2 / 601
    assert limiter.long_us == pytest.approx(long_us)
    wanted = 100 * long_us / 2000 + 4
    assert limiter.limit == pytest.approx(100 + 0.2 * (wanted - 100))

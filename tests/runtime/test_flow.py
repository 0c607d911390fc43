"""The breaker and the buckets, on a clock of ours."""

import random

import pytest

from runtime.flow import Breaker, Buckets, Pace


def test_it_opens_rests_probes_and_closes() -> None:
    breaker = Breaker(failures=3, rest_s=5)
    for now in (0, 1, 2):
        assert breaker.allows(now)
        breaker.record(False, now)
    assert not breaker.allows(3) and not breaker.allows(6.9)
    assert breaker.allows(7)  # one probe
    assert not breaker.allows(7.1)
    breaker.record(False, 8)
    assert not breaker.allows(12.9) and breaker.allows(13)
    breaker.record(True, 13)
    assert breaker.allows(13) and breaker.allows(13)


def test_failures_have_to_be_in_a_row() -> None:
    breaker = Breaker(failures=2, rest_s=5)
    for ok in (False, True, False, True, False):
        breaker.record(ok, 0)
    assert breaker.allows(0)


def test_tripped_is_news_for_a_while() -> None:
    breaker = Breaker(failures=2, rest_s=5)
    breaker.record(False, 0)
    assert not breaker.tripped(0)
    breaker.record(False, 1)
    assert breaker.tripped(1) and breaker.tripped(15.9)
    assert not breaker.tripped(16)  # nobody has tried since
    assert breaker.allows(20) and breaker.tripped(20)
    breaker.record(True, 20)
    assert not breaker.tripped(20)


def test_a_bucket_gives_its_burst_then_its_rate():
    buckets = Buckets(rate=10, burst=5)
    assert [buckets.take("a", 0.0) for _ in range(5)] == [0.0] * 5
    assert buckets.take("a", 0.0) == pytest.approx(0.1)
    assert buckets.take("a", 0.05) == pytest.approx(0.05)  # a refusal takes nothing
    assert buckets.take("a", 0.1) == 0.0
    assert buckets.take("b", 0.1) == 0.0
    assert [buckets.take("a", 100.0) for _ in range(6)][:5] == [0.0] * 5


def test_buckets_are_bounded_and_forget_who_was_not_heard_for_longest():
    buckets = Buckets(rate=1, burst=1, most=2)
    assert [buckets.take(key, 0.0) for key in "abca"] == [0.0] * 4  # a was forgotten
    assert buckets.take("a", 0.0) > 0


class TestPace:
    def test_bytes_keep_to_the_rate_whatever_the_files(self) -> None:
        pace, now_s, taken = Pace(1000.0), 100.0, 0
        dice = random.Random(7)
        while now_s < 200:
            wait_s = pace.wait_s(now_s)
            if wait_s > 0:
                now_s += wait_s
                continue
            size = dice.choice((1, 50, 900, 7000))
            pace.take(size, now_s)
            taken += size
        assert 0.9 * 100_000 <= taken <= 100_000 + 7000

    def test_a_file_larger_than_the_bucket_is_paid_for_afterwards(self) -> None:
        pace = Pace(10.0)
        pace.take(100, 5.0)
        assert pace.wait_s(5.0) == 10.0
        assert pace.wait_s(14.0) == 1.0
        assert pace.wait_s(15.0) == 0.0

    def test_a_pause_saves_up_a_second_and_no_more(self) -> None:
        pace = Pace(10.0, burst_s=1.0)
        pace.wait_s(0.0)
        pace.take(10, 1000.0)
        assert pace.wait_s(1000.0) == 0.0
        pace.take(5, 1000.0)
        assert pace.wait_s(1000.0) == 0.5

    def test_a_clock_that_goes_back_gives_nothing_and_takes_nothing(self) -> None:
        pace = Pace(10.0)
        pace.take(10, 100.0)
        assert pace.wait_s(50.0) == 1.0
        assert pace.wait_s(50.5) == 0.5

    def test_another_rate_holds_for_what_is_owed_too(self) -> None:
        pace = Pace(1.0)
        pace.take(1000, 0.0)
        pace.set_rate(1000.0, 0.0)
        assert pace.wait_s(0.0) == 1.0
        pace.set_rate(None, 0.5)
        assert pace.wait_s(0.5) == 0.0
        pace.take(10**9, 0.5)
        pace.set_rate(1.0, 0.5)
        assert pace.wait_s(0.5) == 0.0

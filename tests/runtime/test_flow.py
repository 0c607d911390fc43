"""The breaker and the buckets, on a clock of ours."""

import pytest

from runtime.flow import Breaker, Buckets


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

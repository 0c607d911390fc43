"""Rates out of counters."""

import pytest

from appliance.vitals import MIN_FILLS, MIN_REQUESTS, Pulse, Sample

ZERO = Sample(0.0, 0, 0, 0, 0, 0, (0, 0))


def beat(pulse: Pulse, seconds: float, step_s: float = 0.25, **per_s: float) -> None:
    """So many seconds at steady rates."""
    begin = pulse._before
    for number in range(1, round(seconds / step_s) + 1):
        passed = number * step_s

        def grown(name: str, passed: float = passed) -> int:
            return int(getattr(begin, name) + per_s.get(name, 0) * passed)

        cpu = int(begin.cpu_us[0] + per_s.get("cpu_us", 0) * passed)
        pulse.take(
            Sample(
                begin.now_s + passed,
                *(grown(n) for n in ("bytes_out", "requests", "sheds", "fills", "fill_failures")),
                (0, cpu),
            )
        )


def test_steady_rates_are_told_whatever_the_step() -> None:
    for step_s in (0.25, 1.0, 5.0):
        pulse = Pulse(ZERO)
        beat(pulse, 100, step_s, bytes_out=1e8, requests=1000, sheds=50, fills=10, fill_failures=4)
        assert pulse.rates.egress_bps == pytest.approx(8e8, rel=0.01)
        assert pulse.rates.shed_share == pytest.approx(0.05, rel=0.02)
        assert pulse.rates.fill_failure_share == pytest.approx(0.4, rel=0.02)


def test_egress_is_smoothed_over_fifteen_seconds() -> None:
    pulse = Pulse(ZERO)
    beat(pulse, 15, bytes_out=1e8)
    assert pulse.rates.egress_bps == pytest.approx(8e8 * (1 - 1 / 2.71828), rel=0.01)


def test_cpu_is_the_busiest_workers_and_survives_its_restart() -> None:
    pulse = Pulse(ZERO._replace(cpu_us=(0, 5_000_000)))
    beat(pulse, 60, cpu_us=600_000)
    assert pulse.rates.cpu_load == pytest.approx(0.6, rel=0.01)
    before = pulse._before
    pulse.take(before._replace(now_s=before.now_s + 0.25, cpu_us=(0, 0)))
    assert 0 < pulse.rates.cpu_load <= 0.6


def test_shares_of_a_few_are_chance() -> None:
    pulse = Pulse(ZERO)
    few = {"requests": MIN_REQUESTS / 5 * 0.9, "fills": MIN_FILLS / 5 * 0.9}
    beat(pulse, 60, **few, sheds=few["requests"], fill_failures=few["fills"])
    assert (pulse.rates.shed_share, pulse.rates.fill_failure_share) == (0.0, 0.0)
    beat(pulse, 60, requests=10, sheds=10, fills=10, fill_failures=10)
    assert pulse.rates.shed_share == pulse.rates.fill_failure_share == 1.0


def test_lag_is_smoothed_over_two_seconds() -> None:
    pulse = Pulse(ZERO)
    for number in range(1, 9):
        pulse.take(ZERO._replace(now_s=number * 0.25, lag_s=0.4))
    assert pulse.rates.lag_s == pytest.approx(0.4 * (1 - 1 / 2.71828), rel=0.01)


def test_no_time_and_no_progress_change_nothing() -> None:
    pulse = Pulse(ZERO)
    beat(pulse, 1, bytes_out=1e6)
    told = pulse.rates
    assert pulse.take(pulse._before._replace(bytes_out=10**12)) == told
    beat(pulse, 200)
    assert pulse.rates.egress_bps < 10

"""Health is the worst bottleneck, and steady."""

from typing import Any

import pytest

from appliance.health import HOLD_S, OUT_AFTER_S, Health, HealthJudge, Vitals


def judged(**vitals: Any) -> Health:
    """The first judgement after boot."""
    return HealthJudge().judge(Vitals(**vitals), 0.0)


@pytest.mark.parametrize(
    ("vitals", "state", "bottleneck"),
    [
        ({}, "serving", "none"),
        ({"egress_load": 0.79}, "serving", "none"),
        ({"egress_load": 0.9, "cpu_load": 0.85}, "strained", "egress at 90%"),
        ({"connection_load": 0.8}, "strained", "connections at 80%"),
        ({"cpu_load": 1.0}, "strained", "cpu at 94%"),
        ({"lag_s": 0.3}, "strained", "loop lag at 94%"),
        ({"shed_share": 0.09}, "strained", "shedding at 90%"),
        ({"disk_trouble": "/disk1 is full"}, "strained", "/disk1 is full"),
        ({"store_away": True}, "strained", "the store does not answer"),
        ({"fill_failure_share": 0.3}, "strained", "30% of fills fail"),
        ({"draining": True, "egress_load": 0.9}, "draining", "an operator drains it"),
        ({"workers_alive": 0, "draining": True}, "out", "no worker is alive"),
        ({"disk_trouble": "/disk1 fails", "disks_out": True}, "out", "/disk1 fails"),
        ({"disks_out": True}, "out", "no cache disk is in service"),
    ],
)
def test_states(vitals: dict[str, Any], state: str, bottleneck: str) -> None:
    health = judged(**vitals)
    assert (health.state, health.bottleneck) == (state, bottleneck)


def test_load_is_the_worst_and_faults_are_none() -> None:
    assert judged(egress_load=0.5, connection_load=0.6).load == 0.6
    assert judged(store_away=True, disk_trouble="full", fill_failure_share=1.0).load == 0.0
    assert judged(cpu_load=1.0).load < 0.95  # a busy core is not a full appliance


def test_a_lag_fills_the_appliance_when_it_lasts() -> None:
    judge = HealthJudge()
    late, calm = Vitals(lag_s=0.3), Vitals(lag_s=0.1)
    moments = ((0, late), (4.9, late), (5, late), (6, calm), (7, late), (12, late))
    loads = [judge.judge(vitals, now_s).load for now_s, vitals in moments]
    assert loads == [0.94, 0.94, 1.2, 0.4, 0.94, 1.2]


def test_shedding_does_not_feed_itself() -> None:
    vitals = Vitals(shed_share=1.0, egress_load=0.3, cpu_load=0.4)
    assert vitals.pressure == 0.4 and judged(shed_share=1.0).load > 1


def states(judge: HealthJudge, *moments: tuple[float, dict[str, Any]]) -> list[str]:
    return [judge.judge(Vitals(**vitals), now_s).state for now_s, vitals in moments]


def test_strained_is_left_below_another_bar_and_after_a_while() -> None:
    judge = HealthJudge()
    above, between, below = {"egress_load": 0.85}, {"egress_load": 0.75}, {"egress_load": 0.65}
    assert states(judge, (0, between), (1, above), (2, between), (100, between)) == [
        "serving", "strained", "strained", "strained",
    ]  # fmt: skip
    assert states(judge, (101, below), (101 + HOLD_S - 0.1, below)) == ["strained"] * 2
    # A moment between the bars, and the wait begins anew.
    assert (
        states(judge, (106, between), (107, below), (107 + HOLD_S - 0.1, below)) == ["strained"] * 3
    )
    assert states(judge, (107 + HOLD_S, below), (200, between)) == ["serving"] * 2


def test_faults_hold_too() -> None:
    judge = HealthJudge()
    fault = {"store_away": True}
    assert states(judge, (0, fault), (1, {}), (5.9, {}), (6, {})) == [
        "strained", "strained", "strained", "serving",
    ]  # fmt: skip


def test_failing_fills_have_two_bars() -> None:
    judge = HealthJudge()
    assert states(
        judge,
        (0, {"fill_failure_share": 0.2}),
        (1, {"fill_failure_share": 0.25}),
        (50, {"fill_failure_share": 0.2}),
        (90, {"fill_failure_share": 0.2}),
        (91, {"fill_failure_share": 0.05}),
        (91 + HOLD_S, {"fill_failure_share": 0.05}),
    ) == ["serving", "strained", "strained", "strained", "strained", "serving"]


def test_a_worker_that_is_back_at_once_was_never_missed() -> None:
    judge = HealthJudge()
    gone = {"workers_alive": 0}
    moments = ((0, {}), (1, gone), (1 + OUT_AFTER_S - 0.1, gone), (3, {}), (4, gone), (5, {}))
    assert states(judge, *moments) == ["serving"] * 6


def test_out_after_a_moment_and_back_after_longer() -> None:
    judge = HealthJudge()
    gone = {"workers_alive": 0}
    assert states(
        judge, (0, {}), (1, gone), (1 + OUT_AFTER_S, gone), (5, {}), (5 + HOLD_S - 0.1, {})
    ) == ["serving", "serving", "out", "out", "out"]
    assert judge.judge(Vitals(), 9.95).bottleneck == "it has only just come back"
    assert states(judge, (10, {})) == ["serving"]


def test_at_boot_it_is_out_until_the_first_worker() -> None:
    judge = HealthJudge()
    assert states(judge, (0, {"workers_alive": 0}), (0.3, {})) == ["out", "serving"]


def test_draining_follows_the_operator_at_once() -> None:
    judge = HealthJudge()
    assert states(judge, (0, {"draining": True}), (0.1, {}), (0.2, {"draining": True})) == [
        "draining", "serving", "draining",
    ]  # fmt: skip

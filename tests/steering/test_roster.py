"""The roster: which word counts, who is alive, and how much is kept."""

import pytest

import steering.roster
from media.rank import Limits
from runtime.errors import Problem
from steering.roster import Fleet, Record, RosterBook
from tests.steering_fleet import ATLAS, NOW_S, holdings, package_id, report


@pytest.fixture
def roster() -> RosterBook:
    return RosterBook(ATLAS, report_timeout_s=15, forget_s=3600, session_bps=1_000_000)


def test_nobody_brings_a_forgotten_one_back(roster: RosterBook) -> None:
    roster.hear(report("a1"), NOW_S)
    record = roster.get("a1")
    assert record is not None
    roster.forget({"a1", "a7"})
    assert roster.get("a1") is None and not roster.restore(record, NOW_S)
    roster.forget(frozenset())
    assert roster.restore(record, NOW_S)


def test_an_older_report_of_the_same_boot_is_ignored(roster: RosterBook) -> None:
    assert roster.hear(report(sequence=7, load=0.7), NOW_S)
    assert not roster.hear(report(sequence=6, load=0.6), NOW_S + 1)
    assert not roster.hear(report(sequence=7, load=0.6), NOW_S + 1)
    assert roster.candidate("a1", NOW_S, False).load == 0.7
    assert roster.hear(report(sequence=0, boot_id="boot-2", load=0.2), NOW_S + 2)
    assert roster.candidate("a1", NOW_S, False).load == 0.2


def test_an_appliance_is_alive_until_its_report_is_too_old(roster: RosterBook) -> None:
    roster.hear(report("a1"), NOW_S)
    roster.hear(report("a2", state="out"), NOW_S)
    assert [m.appliance_id for m in roster.members(NOW_S + 15)] == ["a1"]
    assert roster.members(NOW_S + 15.1) == ()
    entries = {e.report.appliance_id: e for e in roster.entries(NOW_S + 20, {"a2"}).appliances}
    assert (entries["a1"].alive, entries["a1"].age_s, entries["a1"].region) == (False, 20, "north")
    assert entries["a2"].draining


def test_a_clock_set_back_makes_no_dead_appliance_live_on(roster: RosterBook) -> None:
    roster.hear(report("dead"), NOW_S)
    roster.hear(report("a1"), NOW_S)
    back_s = NOW_S - 3600
    roster.hear(report("a1", sequence=2), back_s)
    assert [m.appliance_id for m in roster.members(back_s + 1)] == ["a1"]
    ages = {
        s.candidate.appliance_id: s.candidate.age_s
        for s in Fleet(roster, package_id(), back_s + 1, Limits()).at("n1")
    }
    assert ages == {"dead": 3599, "a1": 1}


def test_sessions_count_as_load_until_the_next_report(roster: RosterBook) -> None:
    roster.hear(report(load=0.2, capacity_bps=10_000_000), NOW_S)
    for session in ("one", "two", "two", "one", "two"):  # players that keep asking count once
        roster.assign("a1", session)
    roster.assign("nobody", "one")
    assert roster.candidate("a1", NOW_S, False).load == pytest.approx(0.4)
    roster.hear(report(load=0.4, sequence=2, capacity_bps=10_000_000), NOW_S + 5)
    assert roster.candidate("a1", NOW_S, False).load == 0.4


def test_the_clock_of_the_appliance_is_compared(roster: RosterBook) -> None:
    roster.hear(report(now_s=NOW_S + 45), NOW_S)
    assert roster.candidate("a1", NOW_S, False).clock_skew_s == 45


def test_an_unknown_site_is_refused(roster: RosterBook) -> None:
    with pytest.raises(Problem, match="no site 'moon'"):
        roster.hear(report(site="moon"), NOW_S)


def test_holdings_need_a_report_first(roster: RosterBook) -> None:
    snapshot = holdings(0, (package_id(), "v-avc-720", 1.0), snapshot=True)
    with pytest.raises(Problem, match="report"):
        roster.take("a1", snapshot)
    roster.hear(report(), NOW_S)
    assert roster.take("a1", snapshot)
    assert Fleet(roster, package_id(), NOW_S, Limits()).held("a1") == 1.0
    assert roster.entries(NOW_S, ()).appliances[0].packages_held == 1


def test_the_silent_are_forgotten(roster: RosterBook) -> None:
    roster.hear(report("a1"), NOW_S)
    roster.take("a1", holdings(0, (package_id(), "v-avc-720", 1.0), snapshot=True))
    roster.hear(report("a2"), NOW_S + 100)
    roster.forget_silent(NOW_S + 3650)
    assert roster.get("a1") is None
    assert roster.shelves.get("a1") is None
    assert roster.size == 1


def test_a_full_roster_makes_room_only_where_one_is_dead(
    roster: RosterBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steering.roster, "MAX_APPLIANCES", 2)
    roster.hear(report("a1"), NOW_S)
    roster.hear(report("a2"), NOW_S + 10)
    with pytest.raises(Problem) as caught:
        roster.hear(report("a3"), NOW_S + 11)
    assert caught.value.code == "overloaded"
    assert roster.hear(report("a2", sequence=2), NOW_S + 12)  # those inside go on
    roster.hear(report("a3"), NOW_S + 16)
    assert [m.appliance_id for m in roster.members(NOW_S + 16)] == ["a2", "a3"]


def test_restored_records_never_replace_fresher_ones(roster: RosterBook) -> None:
    roster.hear(report("a1", load=0.5), NOW_S)
    old = Record(report=report("a1", load=0.1), heard_s=NOW_S - 5, clock_skew_s=0)
    new = Record(report=report("a1", load=0.9), heard_s=NOW_S + 5, clock_skew_s=0)
    assert not roster.restore(old, NOW_S)
    assert roster.restore(new, NOW_S + 5)
    assert roster.candidate("a1", NOW_S, False).load == 0.9


@pytest.mark.parametrize(
    ("site", "age_s", "restored"), [("n1", 10, True), ("gone", 10, False), ("n1", 4000, False)]
)
def test_what_no_longer_fits_is_not_restored(
    roster: RosterBook, site: str, age_s: float, restored: bool
) -> None:
    record = Record(report=report("a1", site=site), heard_s=NOW_S - age_s, clock_skew_s=0)
    assert roster.restore(record, NOW_S) is restored


def test_one_that_is_back_takes_a_growing_share() -> None:
    roster = RosterBook(ATLAS, report_timeout_s=15, forget_s=3600, session_bps=0, recovery_s=60)

    def admits(now_s: float) -> float:
        return roster.candidate("a1", now_s, False).admits

    roster.hear(report(sequence=0, state="out"), NOW_S - 5)
    roster.hear(report(), NOW_S)
    assert admits(NOW_S) == 1.0  # new, which is not back
    roster.hear(report(sequence=2, state="out"), NOW_S + 5)
    roster.hear(report(sequence=3), NOW_S + 10)
    assert admits(NOW_S + 10) == 1.0  # it was away for a moment only
    roster.hear(report(sequence=4, state="draining"), NOW_S + 15)
    roster.hear(report(sequence=5, state="draining"), NOW_S + 25)
    roster.hear(report(sequence=6), NOW_S + 30)
    assert [admits(NOW_S + 30 + age_s) for age_s in (0, 3, 30, 60)] == [0.1, 0.1, 0.5, 1.0]
    roster.hear(report(sequence=7), NOW_S + 35)
    assert admits(NOW_S + 60) == 0.5  # further reports change nothing
    roster.hear(report(sequence=1, boot_id="boot-2"), NOW_S + 200)  # it was silent in between
    assert admits(NOW_S + 230) == 0.5


def test_nobody_was_away_while_steering_was() -> None:
    """Neither while it was not there, nor while it heard nobody: all would be sent elsewhere."""

    def book() -> RosterBook:
        return RosterBook(ATLAS, report_timeout_s=15, forget_s=3600, session_bps=0, recovery_s=60)

    before, after = book(), book()
    before.hear(report(), NOW_S)
    known = before.get("a1")
    assert known is not None and after.restore(known, NOW_S + 100)
    after.hear(report(sequence=2), NOW_S + 101)
    assert after.candidate("a1", NOW_S + 101, False).admits == 1.0
    names = [f"a{number}" for number in range(1, 9)]
    for name in names:
        after.hear(report(name, sequence=3), NOW_S + 200)
    for name in names:
        after.hear(report(name, sequence=4), NOW_S + 300)
    assert [after.candidate(name, NOW_S + 300, False).admits for name in names] == [1.0] * 8


def test_a_fleet_that_falls_silent_at_once_blinds(roster: RosterBook) -> None:
    for number in range(10):
        roster.hear(report(f"a{number}"), NOW_S + number / 10)
    for number in range(4):
        roster.hear(report(f"a{number}", sequence=2), NOW_S + 20)
    assert not roster.blind(NOW_S + 10)
    assert roster.blind(NOW_S + 20)  # six of ten
    roster.hear(report("a5", sequence=2), NOW_S + 21)
    assert not roster.blind(NOW_S + 22)


def test_an_appliance_may_move_to_another_site(roster: RosterBook) -> None:
    roster.hear(report("a1"), NOW_S)
    roster.hear(report("a1", sequence=2, site="s1"), NOW_S)
    assert (list(roster.at_site("n1")), list(roster.at_site("s1"))) == ([], ["a1"])
    assert roster.sites_of(["a1", "nobody"]) == ("s1",)
    roster.forget_silent(NOW_S + 4000)
    assert list(roster.at_site("s1")) == []

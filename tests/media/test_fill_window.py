"""Windows by the clock on the wall."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from media.fill_window import FillWindow, known_zone, zone

NIGHT = FillWindow(timezone="Europe/Oslo", start="02:00", end="06:00")


def at(text: str) -> float:
    """Unix time of a moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def open_minutes(window: FillWindow, begin: str, hours: int = 24) -> int:
    """How long it is open from then on."""
    first = at(begin)
    return sum(window.is_open(first + 60 * minute) for minute in range(60 * hours))


def test_a_window_is_open_in_local_hours_its_start_included() -> None:
    # Oslo is one hour ahead of UTC in winter, two in summer.
    for begin, end in (
        ("2026-01-15T01:00", "2026-01-15T05:00"),
        ("2026-07-15T00:00", "2026-07-15T04:00"),
    ):
        assert NIGHT.is_open(at(begin)) and not NIGHT.is_open(at(begin) - 1)
        assert not NIGHT.is_open(at(end)) and NIGHT.is_open(at(end) - 1)
    assert open_minutes(NIGHT, "2026-01-15T12:00") == 240


def test_over_midnight() -> None:
    late = FillWindow(timezone="America/Los_Angeles", start="22:30", end="04:00")
    assert open_minutes(late, "2026-01-15T12:00") == 330
    for local, is_open in (
        ("22:29", False),
        ("22:30", True),
        ("00:00", True),
        ("03:59", True),
        ("04:00", False),
    ):
        moment = at(f"2026-01-15T{local}") + 8 * 3600
        assert late.is_open(moment) is is_open, local


def test_summer_time_takes_an_hour_and_winter_time_gives_one() -> None:
    """Europe changes at 01:00 UTC: on 29 March from 02:00 to 03:00, on 25 October back to 02:00."""
    assert open_minutes(NIGHT, "2026-03-28T12:00") == 180
    assert open_minutes(NIGHT, "2026-10-24T12:00") == 300
    gone = FillWindow(timezone="Europe/Oslo", start="02:10", end="02:50")
    assert open_minutes(gone, "2026-03-28T12:00") == 0
    assert open_minutes(gone, "2026-10-24T12:00") == 80
    over = FillWindow(timezone="Europe/Oslo", start="23:00", end="02:30")
    assert open_minutes(over, "2026-03-28T12:00") == 180
    assert open_minutes(over, "2026-10-24T12:00") == 240


def test_zones_that_nobody_knows() -> None:
    lost = FillWindow(timezone="Mars/Olympus_Mons", start="02:00", end="03:00")
    assert zone(lost.timezone) is None
    assert lost.is_open(at("2026-01-15T02:30")) and not lost.is_open(at("2026-01-15T03:30"))
    with pytest.raises(ValueError, match="tzdata"):
        known_zone(lost.timezone)
    assert known_zone("UTC") == "UTC" and zone("UTC") is UTC
    for bad in ("../../etc/passwd", "/etc/localtime", "Europe/../Oslo", "", "x" * 65):
        with pytest.raises(ValidationError):
            FillWindow(timezone=bad, start="02:00", end="03:00")


def test_utc_needs_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("media.fill_window._zone", lambda name: 1 / 0)
    assert zone("UTC") is UTC


def test_what_a_setting_may_say() -> None:
    assert FillWindow.of("", "UTC") is None
    assert str(FillWindow.of("22:00-02:00", "UTC")) == "22:00-02:00 UTC"
    for bad in ("02:00-02:00", "24:00-02:00", "2-6", "02:60-03:00", "02:00-03:00 "):
        with pytest.raises(ValueError):
            FillWindow.of(bad, "UTC")


def test_midnight_belongs_to_the_day_that_begins() -> None:
    small = FillWindow(start="00:00", end="00:01")
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert small.is_open(moment.timestamp())
    assert not small.is_open((moment - timedelta(seconds=1)).timestamp())

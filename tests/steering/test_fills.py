"""How far the plans are."""

import pytest
from pydantic import ValidationError

from media.fill_window import FillWindow
from media.fleet import Plan, PlanItem
from steering.fills import FillBook
from steering.holdings import Shelves
from steering.roster import Record
from steering.settings import SteeringSettings
from tests.steering_fleet import NOW_S, holdings, package, report

FIRST, SECOND = package(1, 300), package(2, 500)
V, A = "v-avc-720", "a-aac-en"


def plan_of(name: str, *items: PlanItem, window: FillWindow | None = None) -> Plan:
    return Plan(appliance_id=name, version=f"of-{name}", items=items, window=window)


def item(number: int, *renditions: str) -> PlanItem:
    one = package(number, 300 if number == 1 else 500)
    return PlanItem(
        title_id=one.title_id,
        package_id=one.package_id,
        inventory_sha256=one.inventory_sha256,
        bytes=one.total_bytes,
        renditions=renditions or None,
    )


def test_an_appliance_is_as_far_as_it_says() -> None:
    book = FillBook(copies=2)
    window = FillWindow(timezone="UTC", start="00:00", end="12:00")
    book.planned(plan_of("a1", item(1), item(2), window=window))
    said = report(
        plan_version="of-a1", plan_state="filling", plan_missing_bytes=450, plan_missing_files=9
    )
    record = Record(report=said, heard_s=NOW_S, clock_skew_s=0)
    told = book.appliance(record, "north", True, 8 * 3600.0)
    assert (told.items, told.wanted_bytes, told.missing_bytes) == (2, 800, 450)
    assert (told.state, told.is_current, told.window_open) == ("filling", True, True)
    assert not book.appliance(record, "north", True, 13 * 3600.0).window_open
    book.planned(plan_of("a1", item(1)).model_copy(update={"version": "newer"}))
    assert not book.appliance(record, "north", True, NOW_S).is_current
    unknown = Record(report=report("a9"), heard_s=NOW_S, clock_skew_s=0)
    told = book.appliance(unknown, "north", True, NOW_S)
    assert (told.items, told.state, told.window) == (0, "none", None)


def test_a_package_is_live_when_enough_copies_stand() -> None:
    book, shelves = FillBook(copies=2), Shelves()
    for name in ("a1", "a2", "a3"):
        book.planned(plan_of(name, item(1)))
    book.planned(plan_of("b1", item(2)))
    alive = ["a1", "a2", "a3", "b1"]

    def copies(alive: list[str]) -> list[tuple[int, int, bool]]:
        told = book.packages([FIRST, SECOND], alive, shelves, {})
        assert book.live([FIRST, SECOND], alive, shelves) == sum(one.live for one in told)
        return [(one.wanted_by, one.held_by, one.live) for one in told]

    assert copies(alive) == [(3, 0, False), (1, 0, False)]
    held = [(FIRST.package_id, V, 1.0), (FIRST.package_id, A, 1.0)]
    shelves.take("a1", holdings(0, *held, snapshot=True))
    part = [(FIRST.package_id, V, 1.0), (FIRST.package_id, A, 0.5)]
    shelves.take("a2", holdings(0, *part, snapshot=True))
    shelves.take("b1", holdings(0, (SECOND.package_id, V, 1.0), snapshot=True))
    assert copies(alive) == [(3, 1, False), (1, 1, True)]  # one is all that is wanted of it
    shelves.take("a2", holdings(1, (FIRST.package_id, A, 1.0)))
    assert copies(alive)[0] == (3, 2, True)
    assert copies(["a1", "b1"])[0] == (1, 1, True)  # the dead neither want nor hold
    assert copies([]) == [(0, 0, False), (0, 0, False)]


def test_a_part_that_is_all_that_is_wanted_is_a_copy() -> None:
    book, shelves = FillBook(copies=1), Shelves()
    book.planned(plan_of("a1", item(1, V)))
    wide = [(FIRST.package_id, V, 0.1), (FIRST.package_id, A, 0.1)]
    shelves.take("a2", holdings(0, *wide, snapshot=True))
    shelves.take("a1", holdings(0, (FIRST.package_id, V, 0.9), snapshot=True))
    assert not book.packages([FIRST], ["a1", "a2"], shelves, {})[0].live
    shelves.take("a1", holdings(1, (FIRST.package_id, V, 1.0)))
    assert book.packages([FIRST], ["a1", "a2"], shelves, {})[0].live


def test_settings_know_their_hours_zones_and_rates() -> None:
    def settings(**given: object) -> SteeringSettings:
        return SteeringSettings.model_validate(given)

    assert settings().window("UTC") is None and settings().rate_bps("a1") is None
    own = settings(fill_window="22:00-04:00", fill_rate_bps=5, fill_rates_bps={"a1": 7})
    assert str(own.window("Asia/Tokyo")) == "22:00-04:00 Asia/Tokyo"
    assert (own.rate_bps("a1"), own.rate_bps("a2")) == (7, 5)
    site = {"id": "n", "region": "north", "timezone": "Europe/Atlantis"}
    for wrong, why in (
        ({"fill_window": "25:00-26:00"}, "start"),
        ({"fill_window": "02:00-02:00"}, "different times"),
        ({"fill_window": "night"}, "fill_window"),
        ({"fill_rates_bps": {"a1": 0}}, "fill_rates_bps"),
        ({"sites": [site]}, "Europe/Atlantis"),
    ):
        with pytest.raises(ValidationError, match=why):
            settings(**wrong)

"""What the appliances of a fleet are to hold."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from media.fills import Pin, PinRequest
from media.fleet import MAX_RENDITIONS
from media.homes import home_of
from steering.evidence import EvidenceBook
from steering.home_book import HomeBook
from steering.planning import Box, Choice, plan_fleet
from tests.steering.test_evidence import package
from tests.steering_fleet import ATLAS, NOW_S

BOTH = LOW, HIGH = "v-avc-360", "v-avc-720"
PACKAGES = [package(number, (LOW, 100), (HIGH, 300)) for number in range(40)]
CAPACITY = 10**9
FLEET = ("n1-a", "n1-b", "n2-a", "s1-a")


def boxes(budget_bytes: int, held: Mapping[str, Mapping[str, frozenset[str]]] = {}) -> list[Box]:
    return [
        Box(name, name.partition("-")[0], budget_bytes, CAPACITY, held.get(name, {}))
        for name in FLEET
    ]


def planned(
    tmp_path: Path,
    budget_bytes: int,
    watched: Mapping[tuple[str, int, str], int] = {},
    before: Mapping[str, Choice] = {},
    **given: Any,
) -> dict[str, Choice]:
    book = EvidenceBook(tmp_path / "none.json", NOW_S - 10 * 86_400)
    for (region, number, rendition), sent in watched.items():
        book.add(region, PACKAGES[number].package_id, rendition, sent, NOW_S)
    evidence, rows = book.of(PACKAGES, tuple(ATLAS.regions), given.pop("expected", {}), NOW_S)
    return plan_fleet(
        PACKAGES,
        evidence,
        rows,
        given.pop("fleet", None) or boxes(budget_bytes),
        ATLAS,
        given.pop("pins", {}),
        before,
        HomeBook(),
        share=1.0,
        nightly_share=given.pop("nightly_share", 0.1),
    )


def held(choice: Choice) -> set[int]:
    numbers = {one.package_id: number for number, one in enumerate(PACKAGES)}
    return {numbers[item.package_id] for item in choice.items}


def test_a_package_of_as_many_renditions_as_may_be(tmp_path: Path) -> None:
    many = package(1, *((f"v-avc-{number}", 100) for number in range(MAX_RENDITIONS)))
    book = EvidenceBook(tmp_path / "none.json", NOW_S)
    evidence, rows = book.of([many], tuple(ATLAS.regions), {}, NOW_S)

    def at_n1(budget: int, held: frozenset[str]) -> tuple[str, ...] | None:
        fleet = [Box("n1-a", "n1", budget, CAPACITY, {many.package_id: held})]
        shares = {"share": 1.0, "nightly_share": 1.0}
        choice = plan_fleet([many], evidence, rows, fleet, ATLAS, {}, {}, HomeBook(), **shares)
        (item,) = choice["n1-a"].items
        return item.renditions

    assert at_n1(100 * MAX_RENDITIONS, frozenset()) is None
    last = f"v-avc-{MAX_RENDITIONS - 1}"
    assert at_n1(100, frozenset({last})) == (last,)


def test_with_room_for_all_everybody_holds_all(tmp_path: Path) -> None:
    for choice in planned(tmp_path, 40 * 400).values():
        assert held(choice) == set(range(40))
        assert all(item.renditions is None and item.bytes == 400 for item in choice.items)
        assert choice.left_out == ()


def test_what_a_region_watches_is_at_home_there_and_comes_first(tmp_path: Path) -> None:
    watched = {("north", number, HIGH): 10_000 * (10 - number) for number in range(10)}
    choices = planned(tmp_path, 10 * 400, watched)
    members = {"n1-a": CAPACITY, "n1-b": CAPACITY}
    for number in range(10):
        home = home_of(PACKAGES[number].package_id, members)
        assert number in held(choices[home])
        assert number in held(choices["n2-a"])
    first = choices["n2-a"].items[0]
    assert first.package_id == PACKAGES[0].package_id
    assert first.why.startswith("sent ")
    assert held(choices["s1-a"]) != held(choices["n2-a"])


def test_of_a_package_only_what_is_watched_is_held_when_room_is_short(tmp_path: Path) -> None:
    watched = {("north", number, HIGH): 100_000 for number in range(40)}
    items = planned(tmp_path, 8 * 300, watched)["n2-a"].items
    assert [item.renditions for item in items] == [(HIGH,)] * 8


def test_the_tail_is_spread_over_the_sites_of_a_region(tmp_path: Path) -> None:
    """Half of the catalog would fit at each site: together they have nearly all of it."""
    choices = planned(
        tmp_path, 20 * 400, fleet=[one for one in boxes(20 * 400) if one.appliance_id != "n1-b"]
    )
    one, other = held(choices["n1-a"]), held(choices["n2-a"])
    assert len(one) == len(other) == 20
    assert len(one | other) > 32


def test_budgets_are_kept_and_what_is_left_out_is_told(tmp_path: Path) -> None:
    watched = {("north", number, HIGH): 1000 * number for number in range(40)}
    for name, choice in planned(tmp_path, 9 * 400 + 50, watched).items():
        assert sum(item.bytes for item in choice.items) <= 9 * 400 + 50, name
        assert choice.left_out
        rows = {(item.package_id, one) for item in choice.items for one in item.renditions or BOTH}
        assert not rows & {
            (item.package_id, one) for item in choice.left_out for one in item.renditions or BOTH
        }


def test_nothing_changes_when_nothing_has(tmp_path: Path) -> None:
    watched = {("north", number, HIGH): 1000 * number for number in range(40)}
    first = planned(tmp_path, 10 * 400, watched)
    again = planned(tmp_path, 10 * 400, watched, first)
    assert {one: held(choice) for one, choice in again.items()} == {
        one: held(choice) for one, choice in first.items()
    }
    slightly = {key: sent * (1.02 if key[1] % 2 else 0.98) for key, sent in watched.items()}
    later = planned(tmp_path, 10 * 400, {k: int(v) for k, v in slightly.items()}, again)
    assert held(later["n2-a"]) == held(again["n2-a"])


def test_a_night_changes_no_more_than_it_may(tmp_path: Path) -> None:
    yesterday = planned(tmp_path, 20 * 400, {("north", n, HIGH): 10_000 for n in range(20)})
    today = {("north", n, HIGH): 10_000_000 for n in range(20, 40)}
    changed = planned(tmp_path, 20 * 400, today, yesterday, nightly_share=0.1)
    new = held(changed["n2-a"]) - held(yesterday["n2-a"])
    assert 1 <= len(new) <= 4
    faster = planned(tmp_path, 20 * 400, today, yesterday, nightly_share=1.0)
    assert len(held(faster["n2-a"]) - held(yesterday["n2-a"])) > len(new)


def test_what_lies_there_already_is_kept_if_it_is_worth_as_much(tmp_path: Path) -> None:
    there = {one.package_id: frozenset({LOW, HIGH}) for one in PACKAGES[25:35]}
    fleet = boxes(10 * 400, {"s1-a": there})
    assert held(planned(tmp_path, 0, fleet=fleet)["s1-a"]) == set(range(25, 35))


def pinned(number: int) -> Pin:
    """A pin of the package at n2."""
    return Pin(
        package_id=PACKAGES[number].package_id,
        made_at=datetime.fromtimestamp(NOW_S, UTC),
        **PinRequest(sites=("n2",)).model_dump(),
    )


def test_pins_come_before_all_and_a_boost_is_expected_demand(tmp_path: Path) -> None:
    watched = {("north", number, HIGH): 100_000 for number in range(20)}
    pin = pinned(39)
    choices = planned(tmp_path, 5 * 400, watched, pins={"n2": {pin.package_id: pin}})
    assert choices["n2-a"].items[0].package_id == pin.package_id
    assert choices["n2-a"].items[0].why == "pinned"
    assert 39 not in held(choices["s1-a"]) | held(choices["n1-a"])
    boosted = planned(tmp_path, 5 * 400, watched, expected={PACKAGES[38].package_id: 1e9})
    assert all(38 in held(choice) for choice in boosted.values())  # worth a copy everywhere
    assert 38 not in held(planned(tmp_path, 5 * 400, watched)["s1-a"])


def test_of_more_pins_than_there_is_room_for_those_that_are_held_stay(tmp_path: Path) -> None:
    pins = {PACKAGES[number].package_id: pinned(number) for number in range(20, 30)}
    for there in ({24, 26}, {21, 29}):
        shelf = {PACKAGES[number].package_id: frozenset(BOTH) for number in there}
        fleet = boxes(3 * 400, {"n2-a": shelf})
        chosen = held(planned(tmp_path, 0, fleet=fleet, pins={"n2": pins})["n2-a"])
        assert chosen == there | {20}  # and the first of the others


def test_a_package_that_one_appliance_cannot_bear_is_at_several(tmp_path: Path) -> None:
    heavy = {("north", 0, HIGH): int(CAPACITY / 8 * 86_400 * 3)}
    filler = {("north", number, HIGH): 10**10 for number in range(1, 40)}
    choices = planned(tmp_path, 3 * 400, heavy | filler)
    assert 0 in held(choices["n1-a"])
    assert 0 in held(choices["n1-b"])


def test_an_empty_catalog_and_an_empty_fleet(tmp_path: Path) -> None:
    book = EvidenceBook(tmp_path / "none.json", NOW_S)
    evidence, rows = book.of([], tuple(ATLAS.regions), {}, NOW_S)
    given: dict[str, Any] = {"share": 0.8, "nightly_share": 0.1}
    assert plan_fleet([], evidence, rows, boxes(1), ATLAS, {}, {}, HomeBook(), **given) == {
        name: Choice() for name in FLEET
    }
    evidence, rows = book.of(PACKAGES, tuple(ATLAS.regions), {}, NOW_S)
    assert plan_fleet(PACKAGES, evidence, rows, [], ATLAS, {}, {}, HomeBook(), **given) == {}


def test_homes_are_remembered_as_they_are() -> None:
    book, ids = HomeBook(), [one.package_id for one in PACKAGES]
    site, larger = {"b": CAPACITY, "a": CAPACITY}, {"b": CAPACITY, "a": 3 * CAPACITY}
    for _ in range(2):
        for members in (site, larger):
            assert [sorted(members)[number] for number in book.of(ids, members)] == [
                home_of(one, members) for one in ids
            ]
        ids = [*reversed(ids), package(99, (LOW, 1)).package_id]
    book.forget(packages=20, groups=2)  # most have gone
    assert [sorted(site)[number] for number in book.of(ids[:3], site)] == [
        home_of(one, site) for one in ids[:3]
    ]

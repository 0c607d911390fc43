"""Pins: in plans first, where they hold, and durably."""

from pathlib import Path

import pytest

from media.fill_window import FillWindow
from media.fills import PinRequest
from runtime.errors import Problem
from steering import pins
from steering.pins import PinDesk
from steering.placement import Wanting, plan
from steering.planning import Choice, Item
from tests.steering_fleet import ATLAS, NOW_S, package

OLD, NEW = package(1), package(2)


async def test_pins_outlive_a_restart_and_go(tmp_path: Path) -> None:
    desk = PinDesk(tmp_path / "pins.json", lambda: NOW_S)
    made = await desk.pin(OLD.package_id, PinRequest(sites=("n1",), boost=2.5))
    assert (made.package_id, made.boost, made.urgent) == (OLD.package_id, 2.5, True)
    again = PinDesk(tmp_path / "pins.json")
    assert again.pins == desk.pins == {OLD.package_id: made}
    assert set(again.board.at("n1", "north")) == {OLD.package_id}
    assert again.board.at("n2", "north") == {}
    before = again.revision
    await again.unpin(OLD.package_id)
    await again.unpin(OLD.package_id)  # and nothing changes
    assert again.revision == before + 1
    assert PinDesk(tmp_path / "pins.json").pins == {}


async def test_a_pin_holds_at_its_sites_and_in_its_regions(tmp_path: Path) -> None:
    desk = PinDesk(tmp_path / "pins.json")
    await desk.pin(OLD.package_id, PinRequest(sites=("s1",), regions=("north",)))
    await desk.pin(NEW.package_id, PinRequest())
    everywhere = {NEW.package_id}
    assert set(desk.board.at("n2", "north")) == {OLD.package_id, NEW.package_id}
    assert set(desk.board.at("s1", "south")) == {OLD.package_id, NEW.package_id}
    assert set(desk.board.at("w1", "west")) == everywhere


async def test_a_damaged_file_is_not_taken_for_none(tmp_path: Path) -> None:
    (tmp_path / "pins.json").write_text("{")
    with pytest.raises(Problem, match="damaged"):
        PinDesk(tmp_path / "pins.json")


async def test_there_are_so_many_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pins, "MAX_PINS", 1)
    desk = PinDesk(tmp_path / "pins.json")
    await desk.pin(OLD.package_id, PinRequest())
    with pytest.raises(Problem) as refused:
        await desk.pin(NEW.package_id, PinRequest())
    assert refused.value.code == "too_many"
    await desk.pin(OLD.package_id, PinRequest(urgent=False))  # the same again is no other
    assert not desk.pins[OLD.package_id].urgent


async def test_what_is_pinned_is_urgent_in_plans_with_their_hours(tmp_path: Path) -> None:
    desk = PinDesk(tmp_path / "pins.json")
    await desk.pin(OLD.package_id, PinRequest())
    window = FillWindow(start="02:00", end="06:00")
    choice = Choice(tuple(Item(one.package_id, None, 5, "") for one in (OLD, NEW)))
    given = Wanting("a1", "n1"), choice, [NEW, OLD], (), ATLAS
    made = plan(*given, pins=desk.board.at("n1", "north"), window=window, rate_bps=1_000_000)
    assert [(item.package_id, item.urgent) for item in made.items] == [
        (OLD.package_id, True),
        (NEW.package_id, False),
    ]
    assert (made.window, made.rate_bps) == (window, 1_000_000)
    assert plan(*given).version != made.version

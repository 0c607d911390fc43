"""`nearcast fill`, against an HTTP server that answers like the control plane."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from media.api import Title
from media.fill_window import FillWindow
from media.fills import ApplianceFill, FillPlan, FillStatus, PackageFill, Pin, PinRequest
from media.fleet import PlanItem
from media.ids import id_from
from runtime.api import Call, Route, make_app
from runtime.errors import Problem
from runtime.service import serve_http
from steering import fill_cli
from steering.fill_cli import app
from tests.steering import test_cli as stage

NIGHT = FillWindow(timezone="Europe/Oslo", start="02:00", end="06:00")
OTHER = id_from("pkg", 1_700_000_000_000, 2)
GONE = id_from("pkg", 1_700_000_000_000, 3)


def appliance(name: str, **changes: Any) -> ApplianceFill:
    fields = {
        "site": "north", "region": "north", "alive": True, "state": "waiting",
        "plan_version": "1", "is_current": True, "items": 2, "wanted_bytes": 4_000_000,
        "missing_bytes": 1_000_000, "missing_files": 7, "window": NIGHT, "window_open": False,
        "rate_bps": None,
    }  # fmt: skip
    return ApplianceFill.model_validate({"appliance_id": name} | fields | changes)


class ControlPlane(stage.ControlPlane):
    """Answers about fills, too."""

    def __init__(self) -> None:
        super().__init__()
        self.pins: dict[str, PinRequest] = {}

    def routes(self) -> list[Route]:
        return [
            *super().routes(),
            Route("GET", "/v1/fills", self.fills, "", answer=FillStatus),
            Route("POST", "/v1/fills/{p}", self.pin, "", body=PinRequest, answer=Pin),
            Route("DELETE", "/v1/fills/{p}", self.unpin, ""),
            Route("GET", "/v1/fleet/{a}/plan", self.plan, "", answer=FillPlan),
        ]

    async def fills(self, call: Call) -> FillStatus:
        pinned = Pin(package_id=GONE, made_at=datetime.now(UTC), sites=("north",))
        return FillStatus(
            appliances=(
                appliance("north-1"),
                appliance("west-1", state="filled", missing_bytes=0, missing_files=0, window=None,
                          is_current=False),
                appliance("west-2", alive=False, wanted_bytes=0),
            ),
            packages=(
                PackageFill(title_id=stage.FILM, package_id=stage.PACKAGE, total_bytes=3_000_000,
                            wanted_by=3, held_by=2, live=True),
                PackageFill(title_id=stage.SEQUEL, package_id=OTHER, total_bytes=9_000,
                            wanted_by=3, held_by=0, live=False),
            ),
            pins=(pinned,),
        )  # fmt: skip

    async def pin(self, call: Call) -> Pin:
        asked = call.body(PinRequest)
        if "moon" in asked.sites:
            raise Problem("unknown_site", "There is no site 'moon'.")
        self.pins[call.path["p"]] = asked
        return Pin(package_id=call.path["p"], made_at=datetime.now(UTC), **asked.model_dump())

    async def unpin(self, call: Call) -> None:
        del self.pins[call.path["p"]]

    async def plan(self, call: Call) -> FillPlan:
        if call.path["a"] not in ("north-1", "west-1"):
            raise Problem("unknown_appliance")
        item = PlanItem(
            title_id=stage.FILM, package_id=stage.PACKAGE, inventory_sha256="0" * 64,
            renditions=("v-avc-720",), bytes=3_000_000, urgent=True, sources=("west-1",),
            why="pinned [by hand]",
        )  # fmt: skip
        return FillPlan(
            appliance_id=call.path["a"], version="1", items=(item,), window=NIGHT,
            rate_bps=20_000_000,
        )  # fmt: skip

    async def title(self, call: Call) -> Title:
        package_id = stage.PACKAGE if call.path["title"] == stage.FILM else None
        return stage.film(call.path["title"]).model_copy(update={"package_id": package_id})


@pytest.fixture
async def control(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ControlPlane]:
    made = ControlPlane()
    runner, url = await serve_http(make_app(made.routes()), "127.0.0.1:0")
    monkeypatch.setenv("NEARCAST_URL", url)
    monkeypatch.setenv("NEARCAST_USER", "admin")
    monkeypatch.setenv("NEARCAST_PASSWORD", "correct horse")
    monkeypatch.setattr(fill_cli.out, "width", 160)
    yield made
    await runner.cleanup()


async def run(*argv: str) -> Result:
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, ["fill", *argv]))


def line_with(word: str, text: str) -> str:
    (line,) = (line for line in text.splitlines() if word in line)
    return " ".join(line.split())


async def test_status_tells_of_appliances_and_packages(control: ControlPlane) -> None:
    told = await run("status")
    assert told.exit_code == 0, told.output
    assert line_with("north-1", told.stdout) == (
        "north-1 north waits for its hours 75 % 1.0 MB, 7 files 2 02:00-06:00 Europe/Oslo, shut"
    )
    assert line_with("west-1", told.stdout) == "west-1 north filled (an older plan) 100 % nothing 2"
    assert "west-2 north silent 0 %" in line_with("west-2", told.stdout)
    assert line_with(stage.PACKAGE, told.stdout).endswith("Big Film 3.0 MB 2 of 3 live")
    assert line_with(OTHER, told.stdout).endswith("Big Film 2 9.0 kB 0 of 3 not yet")
    assert f"{GONE} is pinned at north, and not published." in told.stdout
    as_json = await run("status", "--json")
    assert FillStatus.model_validate_json(as_json.stdout).packages[0].live
    assert "\x1b" not in told.stdout  # colour is for a terminal


async def test_plan_tells_what_and_why(control: ControlPlane) -> None:
    one = await run("plan", "north-1")
    assert one.exit_code == 0, one.output
    assert "north-1: 1 packages, 3.0 MB, 02:00-06:00 Europe/Oslo, at most 20 Mbit/s" in one.stdout
    assert line_with(stage.PACKAGE, one.stdout).endswith(
        "Big Film 3.0 MB 1 renditions west-1 pinned [by hand], urgent"
    )
    every = await run("plan", "--json")
    assert [p["appliance_id"] for p in json.loads(every.stdout)["plans"]] == ["north-1", "west-1"]
    assert (await run("plan", "nobody")).exit_code == 1


async def test_pin_and_unpin_take_a_package_or_a_title(control: ControlPlane) -> None:
    pinned = await run("pin", stage.PACKAGE, "--site", "north", "--region", "west", "--boost", "2")
    assert pinned.exit_code == 0, pinned.output
    assert "is pinned at north, west, and filled at any hour." in " ".join(pinned.stdout.split())
    asked = PinRequest(sites=("north",), regions=("west",), boost=2)
    assert control.pins == {stage.PACKAGE: asked}
    as_json = await run("pin", stage.FILM, "--in-window", "--json")
    assert json.loads(as_json.stdout)["urgent"] is False
    gone = await run("unpin", stage.FILM, "--json")
    assert json.loads(gone.stdout) == {"package_id": stage.PACKAGE, "pinned": False}
    assert control.pins == {}


async def test_what_cannot_be_pinned_is_said(control: ControlPlane) -> None:
    for argv, words in (
        ((stage.SEQUEL,), "has no package yet"),
        (("Nothing",), "no title 'Nothing'"),
        ((stage.PACKAGE, "--site", "moon"), "no site 'moon'"),
    ):
        result = await run("pin", *argv)
        assert result.exit_code == 1 and words in " ".join(result.stderr.split())
    for argv in ((stage.PACKAGE, "--site", "No Site"), (stage.PACKAGE, "--boost", "-1")):
        assert (await run("pin", *argv)).exit_code == 2

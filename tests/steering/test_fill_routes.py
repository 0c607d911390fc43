"""Demand, fills and pins over HTTP, with appliances that sign with keys of their own."""

import json
from pathlib import Path

from media.fills import FillPlan, FillStatus, Pin, PinRequest
from media.fleet import Demand, Held, Holdings, Served
from tests.steering_fleet import package_id
from tests.steering_service import ControlPlane, Fleet, P, running

WINDOW = {"fill_window": "02:00-06:00", "fill_rate_bps": 5_000, "fill_rates_bps": {"west-1": 7}}


def demand(sequence: int, sent: int, told: int = 0, boot_id: str = "boot-1") -> Demand:
    served = Served(package_id=P, rendition_id="v-avc-720", bytes=sent, told=told)
    return Demand(boot_id=boot_id, sequence=sequence, served=(served,))


async def tell(fleet: Fleet, name: str, message: Demand) -> int:
    by = fleet.control.appliances[name]
    return (await fleet.ask("PUT", f"/v1/demand/{name}", message, by=by))[0]


async def taken(fleet: Fleet, region: str) -> float:
    """Bytes by the metric."""
    _, raw, _ = await fleet.ask("GET", "/metrics")
    wanted = f'nearcast_steering_demand_bytes_total{{region="{region}"}} '
    lines = [line for line in raw.decode().splitlines() if line.startswith(wanted)]
    return float(lines[0].removeprefix(wanted)) if lines else 0.0


async def fills(fleet: Fleet) -> FillStatus:
    status, raw, _ = await fleet.ask("GET", "/v1/fills", by=fleet.control.control)
    assert status == 200, raw
    return FillStatus.model_validate_json(raw)


async def test_demand_is_taken_once_whatever_comes(tmp_path: Path, control: ControlPlane) -> None:
    async with running(tmp_path, control) as fleet:
        assert await tell(fleet, "north-1", demand(1, 100)) == 404  # nobody knows it yet
        await fleet.everyone_reports()
        for message in (demand(1, 100), demand(1, 100), demand(2, 130, 100), demand(1, 100)):
            assert await tell(fleet, "north-1", message) == 204
        assert await tell(fleet, "south-1", demand(1, 9)) == 204
        assert (await taken(fleet, "north"), await taken(fleet, "south")) == (130, 9)
    async with running(tmp_path, control) as fleet:  # anew: it remembers nothing
        await fleet.report("north-1")
        await tell(fleet, "north-1", demand(3, 150, 130))
        assert await taken(fleet, "north") == 20
        by = fleet.control.appliances["south-1"]
        path = "/v1/demand/north-1"
        assert (await fleet.ask("PUT", path, demand(4, 160, 150), by=by))[0] == 403
        bad = json.dumps({"boot_id": "b", "sequence": 9, "served": [{"package_id": "x"}]}).encode()
        by = fleet.control.appliances["north-1"]
        assert (await fleet.ask("PUT", path, bad, by=by))[0] == 422
        assert (await fleet.ask("PUT", path, b" " * (5 * 2**20), by=by))[0] == 413


async def test_plans_have_the_window_of_their_site_and_their_rate(
    tmp_path: Path, control: ControlPlane
) -> None:
    oslo = {"id": "north", "region": "north", "timezone": "Europe/Oslo"}
    rest = [{"id": name, "region": name} for name in ("south", "west")]
    async with running(tmp_path, control, sites=[oslo, *rest], **WINDOW) as fleet:
        await fleet.everyone_reports()
        plans = {name: (await fleet.plan(name))[1] for name in ("north-1", "west-1")}
        north, west = plans["north-1"], plans["west-1"]
        assert north is not None and west is not None
        assert (str(north.window), north.rate_bps) == ("02:00-06:00 Europe/Oslo", 5_000)
        assert (str(west.window), west.rate_bps) == ("02:00-06:00 UTC", 7)
        by = fleet.control.control
        status, raw, _ = await fleet.ask("GET", "/v1/plans/west-1", by=by)
        assert status == 200 and FillPlan.model_validate_json(raw).version == west.version
        assert (await fleet.ask("GET", "/v1/plans/west-9", by=by))[0] == 404
        by = fleet.control.appliances["south-1"]
        assert (await fleet.ask("GET", "/v1/plans/west-1", by=by))[0] == 403


async def test_a_pin_is_in_the_plans_at_once_and_over_a_restart(
    tmp_path: Path, control: ControlPlane
) -> None:
    old = package_id(1)
    async with running(tmp_path, control) as fleet:
        await fleet.everyone_reports()
        await fleet.until_packages(3)
        _, before, tag = await fleet.plan("north-1")
        assert before is not None and before.items[0].package_id == package_id(3)
        by = fleet.control.control
        asked = PinRequest(sites=("north",), boost=3)
        status, raw, _ = await fleet.ask("POST", f"/v1/fills/{old}", asked, by=by)
        assert status == 200 and Pin.model_validate_json(raw).sites == ("north",)
        _, plan, _ = await fleet.plan("north-1", tag)
        assert plan is not None
        assert (plan.items[0].package_id, plan.items[0].urgent) == (old, True)
        _, south, _ = await fleet.plan("south-1")
        assert south is not None and not any(item.urgent for item in south.items)
        for sites, regions, code in (
            (("moon",), (), "unknown_site"),
            ((), ("moon",), "unknown_region"),
        ):
            bad = PinRequest(sites=sites, regions=regions)
            status, raw, _ = await fleet.ask("POST", f"/v1/fills/{old}", bad, by=by)
            assert (status, json.loads(raw)["code"]) == (422, code)
        own = fleet.control.appliances["north-1"]
        assert (await fleet.ask("POST", f"/v1/fills/{old}", asked, by=own))[0] == 403
    async with running(tmp_path, control) as fleet:
        await fleet.everyone_reports()
        told = {one.package_id: one for one in (await fills(fleet)).packages}
        assert told[old].pin is not None and told[old].pin.boost == 3
        by = fleet.control.control
        assert (await fleet.ask("DELETE", f"/v1/fills/{old}", by=by))[0] == 204
        assert (await fills(fleet)).pins == ()
        # A package that is deleted is pinned no more, and cannot be again.
        await fleet.ask("POST", f"/v1/fills/{old}", PinRequest(), by=by)
        until = json.dumps({"until": "2100-01-01T00:00:00Z"}).encode()
        assert (await fleet.ask("PUT", f"/v1/tombstones/{old}", until, by=by))[0] == 204
        assert (await fills(fleet)).pins == ()
        assert (await fleet.ask("POST", f"/v1/fills/{old}", PinRequest(), by=by))[0] == 410


async def test_fills_tell_who_is_how_far_and_what_is_live(fleet: Fleet) -> None:
    await fleet.everyone_reports()
    await fleet.until_packages(3)
    for name in ("north-1", "north-2"):
        _, plan, _ = await fleet.plan(name)
        assert plan is not None
        await fleet.report(
            name, 2, plan_version=plan.version, plan_state="filling", plan_missing_bytes=11,
            plan_missing_files=2,
        )  # fmt: skip
    newest = plan.items[0].package_id
    await fleet.hold("north-1", newest)
    told = await fills(fleet)
    north = {one.appliance_id: one for one in told.appliances}["north-1"]
    assert (north.state, north.missing_bytes, north.missing_files) == ("filling", 11, 2)
    assert north.is_current and north.items == len(plan.items) and north.region == "north"
    assert north.wanted_bytes == sum(item.bytes for item in plan.items) > 0
    first = {one.package_id: one for one in told.packages}[newest]
    assert (first.wanted_by, first.held_by, first.live) == (2, 1, False)
    await fleet.hold("north-2", newest)
    first = {one.package_id: one for one in (await fills(fleet)).packages}[newest]
    assert (first.held_by, first.live) == (2, True)
    _, raw, _ = await fleet.ask("GET", "/metrics")
    assert b"nearcast_steering_packages_live 1.0" in raw


async def test_plans_go_by_what_viewers_took(tmp_path: Path, control: ControlPlane) -> None:
    """Three packages of 300,000 bytes, and room for one: in the end the one that is watched."""
    room = {"plan_share": 0.35, "fill_nightly_share": 1.0}
    async with running(tmp_path, control, **room) as fleet:
        await fleet.everyone_reports()
        await fleet.until_packages(3)
        before = await planned(fleet, "south-1")
        watched = package_id(1 if before == [package_id(3)] else 3)
        served = Served(package_id=watched, rendition_id="v-avc-720", bytes=10**9)
        message = Demand(boot_id="boot-1", sequence=1, served=(served,))
        assert await tell(fleet, "south-1", message) == 204
        assert await planned(fleet, "south-1") == before  # not before there is reason to
        by = fleet.control.control
        status, *_ = await fleet.ask(
            "POST", f"/v1/fills/{package_id(2)}", PinRequest(sites=("north",)), by=by
        )
        assert status == 200
        assert await planned(fleet, "south-1") == [watched]
        assert await planned(fleet, "west-1") == [watched]  # nobody watches there: as elsewhere
        _, raw, _ = await fleet.ask("GET", "/v1/plans/south-1", by=by)
        told = FillPlan.model_validate_json(raw)
        assert "times a day" in told.items[0].why
        assert {item.package_id for item in told.left_out} == {
            package_id(number) for number in (1, 2, 3)
        } - {watched}


async def planned(fleet: Fleet, name: str) -> list[str]:
    _, plan, _ = await fleet.plan(name)
    assert plan is not None
    return [item.package_id for item in plan.items]


async def test_nobody_is_planned_for_whose_disks_are_not_known(
    tmp_path: Path, control: ControlPlane
) -> None:
    """Steering begins anew, and an appliance that holds something has reported, but not yet told
    what: it is to go on with the plan that it has."""
    async with running(tmp_path, control) as fleet:
        await fleet.until_packages(3)
        await fleet.report("north-1", used_bytes=300_000)
        assert (await fleet.plan("north-1"))[0] == 503
        held = Held(package_id=package_id(1), rendition_id="v-avc-720", fraction=1)
        snapshot = Holdings(boot_id="boot-1", sequence=1, snapshot=True, held=(held,))
        by = fleet.control.appliances["north-1"]
        status, *_ = await fleet.ask("PUT", "/v1/holdings/north-1", snapshot, by=by)
        assert status == 204
        assert package_id(1) in await planned(fleet, "north-1")

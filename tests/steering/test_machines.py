"""Machines that join and leave while steering runs: keys come from the control plane."""

import asyncio
import time
from pathlib import Path

from media.fleet import Roster
from tests.steering_fleet import report
from tests.steering_service import ControlPlane, Fleet, running


async def roster(fleet: Fleet) -> set[str]:
    _, raw, _ = await fleet.ask("GET", "/v1/roster", by=fleet.control.control)
    return {e.report.appliance_id for e in Roster.model_validate_json(raw).appliances}


async def newcomer_reports(fleet: Fleet, sequence: int) -> int:
    url = "http://127.0.1.9:8090"
    said = report("north-9", time.time(), site="north", url=url, sequence=sequence)
    return (await fleet.ask("PUT", "/v1/reports/north-9", said, by=fleet.control.stranger))[0]


async def until(fleet: Fleet, key: str | None) -> int:
    """The version of the notices that have this key of north-9."""
    since = 0
    async with asyncio.timeout(10):
        while True:
            notices = await fleet.notices("north-1", since)
            if notices.keys.get("north-9", "-") == key:
                return notices.version
            since = notices.version


async def test_a_new_machine_is_heard_and_a_forgotten_one_is_not(
    control: ControlPlane, fleet: Fleet
) -> None:
    key = control.stranger.public.ed25519
    await fleet.everyone_reports()
    assert await newcomer_reports(fleet, 1) == 403
    # The control plane is no appliance, whatever is said of its name.
    control.tell({"north-9": key, "control": key})
    await until(fleet, key)
    assert await newcomer_reports(fleet, 1) == 200
    assert await roster(fleet) == {*control.appliances, "north-9"}
    control.tell({"north-9": None, "north-2": None})
    await until(fleet, None)
    assert await newcomer_reports(fleet, 2) == 403
    assert await fleet.report("north-2", 2) == 403 and await fleet.report("north-1", 2) == 200
    assert await roster(fleet) == {"north-1", "south-1", "west-1"}


async def test_a_restart_remembers_who_is_trusted(control: ControlPlane, tmp_path: Path) -> None:
    key = control.stranger.public.ed25519
    async with running(tmp_path, control) as fleet:
        control.tell({"north-9": key, "north-2": None})
        version = await until(fleet, key)
    await control.stop()
    async with running(tmp_path, control) as again:
        notices = await again.notices("north-1", 0)
        assert notices.version == version and notices.keys["north-2"] is None
        assert await again.report("north-2") == 403
        assert await newcomer_reports(again, 1) == 200

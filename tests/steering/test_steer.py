"""Steering manifests over HTTP: the rules that shipping players set."""

import json
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from media.fleet import (
    SteeringManifest,
)
from tests.steering_fleet import session_id
from tests.steering_service import SITE_OF, ControlPlane, Fleet, running


async def test_steering_manifests_keep_the_rules_of_players(
    tmp_path: Path, control: ControlPlane
) -> None:
    async with running(tmp_path, control) as fleet:
        await fleet.everyone_reports()
        answer = await fleet.rank(client="127.0.1.77", session_id=session_id())
        offered = [p.appliance_id for p in answer.pathways]
        assert answer.steering_url is not None
        path = answer.steering_url.removeprefix(fleet.url)
        assert path.startswith("/steer/")

        async def steer(query: str = "") -> tuple[SteeringManifest, Any]:
            status, raw, headers = await fleet.ask("GET", path + query)
            assert status == 200, raw
            return SteeringManifest.model_validate_json(raw), headers

        first, headers = await steer(f"?_HLS_pathway=%22{offered[0]}%22&_HLS_throughput=5140000")
        assert list(first.pathway_priority) == offered
        assert first.reload_uri == answer.steering_url
        assert 8 <= first.ttl <= 12
        assert headers["Content-Type"].startswith("application/vnd.apple.steering-list")
        assert headers["Cache-Control"] == "no-store"
        assert headers["Access-Control-Allow-Origin"] == "*"

        # One that dies goes to the end and stays on the list.
        await fleet.report(offered[0], 2, state="out")
        moved, _ = await steer(f"?_DASH_pathway=%22{offered[0]}%22&_DASH_throughput=abc")
        assert moved.pathway_priority == (*offered[1:], offered[0])
        # With nobody left the order is the offered one, and an answer is given all the same.
        for name in offered[1:]:
            await fleet.report(name, 2, state="out")
        assert list((await steer("?_HLS_pathway=%00&junk=1"))[0].pathway_priority) == offered

        status, raw, headers = await fleet.ask("OPTIONS", path)
        assert (status, headers["Access-Control-Allow-Methods"]) == (204, "GET")
        status, raw, headers = await fleet.ask("GET", path[:-3] + "abc")
        assert (status, json.loads(raw)["code"]) == (403, "token_invalid")
        assert headers["Access-Control-Allow-Origin"] == "*"

        late = await fleet.rank(
            client="127.0.1.77",
            session_id=session_id(),
            expires_at=datetime.now(UTC).isoformat(),
            count=16,
        )
        # All but one are dead, so there is nothing to steer by.
        assert [p.appliance_id for p in late.pathways] == [next(iter(set(SITE_OF) - set(offered)))]
        assert late.steering_url is not None
        assert (await fleet.ask("GET", late.steering_url.removeprefix(fleet.url)))[0] == 200
    # The token is all that is needed: another process answers, before any report.
    async with running(tmp_path, control, public_url="https://steer.example") as fleet:
        status, raw, _ = await fleet.ask("GET", path)
        manifest = SteeringManifest.model_validate_json(raw)
        assert list(manifest.pathway_priority) == offered
        assert manifest.reload_uri == f"https://steer.example{path}"
    key = tmp_path / "secrets" / "steering-context.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


async def test_a_viewer_is_not_steered_off_an_appliance_without_a_reason(fleet: Fleet) -> None:
    await fleet.everyone_reports()
    answer = await fleet.rank(region="north", session_id=session_id())
    assert answer.steering_url is not None
    path = answer.steering_url.removeprefix(fleet.url)
    for name in ("north-1", "north-2"):
        _, raw, _ = await fleet.ask("GET", f"{path}?_HLS_pathway={name}")
        assert SteeringManifest.model_validate_json(raw).pathway_priority[0] == name


async def test_sessions_count_before_the_next_report(fleet: Fleet) -> None:
    for name in SITE_OF:
        await fleet.report(name, capacity_bps=10_000_000, load=0.0)
    first = await fleet.rank(region="south", session_id=session_id(1))
    assert first.pathways[0].appliance_id == "south-1"
    for number in (2, 3):  # 5 Mb/s each, so two of them fill 10 Mb/s
        answer = await fleet.rank(region="south", session_id=session_id(number))
    assert answer.pathways[0].appliance_id != "south-1"
    assert ("south-1", "L") in [(s.appliance_id, s.code) for s in answer.skipped]
    await fleet.report("south-1", 2, capacity_bps=10_000_000, load=0.1)
    assert (await fleet.rank(region="south")).pathways[0].appliance_id == "south-1"

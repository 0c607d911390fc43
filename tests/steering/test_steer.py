"""Steering manifests over HTTP: the rules that shipping players set."""

import asyncio
import json
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from media.fleet import (
    SteeringManifest,
)
from media.rank import LAST_RESORT
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
        assert first.reload_uri == f"{answer.steering_url}?told={offered[0]}"
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
        assert manifest.reload_uri == f"https://steer.example{path}?told={offered[0]}"
        # As long as it has not heard of all, it sends nobody to those that it has heard of.
        await fleet.report(offered[2], 1)
        status, raw, _ = await fleet.ask("GET", f"{path}?_HLS_pathway=%22{offered[1]}%22")
        first = SteeringManifest.model_validate_json(raw).pathway_priority[0]
        assert (status, first) == (200, offered[1])
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


async def test_an_appliance_that_players_leave_and_a_probe_finds_dead_is_out(
    fleet: Fleet,
) -> None:
    """Its reports still come; what players meet is what counts."""
    await fleet.everyone_reports()
    asked = [("north", "127.0.1.9"), ("north", "192.0.2.9"), ("north", "198.51.100.9")]
    manifests = []
    for number in range(6):
        region, client = asked[number % 3]
        answer = await fleet.rank(region=region, client=client, session_id=session_id(number))
        assert answer.steering_url is not None
        manifests.append((answer.steering_url.removeprefix(fleet.url), answer.pathways))
    dead = manifests[0][1][0].appliance_id

    async def ask(path: str, query: str) -> SteeringManifest:
        status, raw, _ = await fleet.ask("GET", path + query)
        assert status == 200
        return SteeringManifest.model_validate_json(raw)

    for path, pathways in manifests:
        there = await ask(path, f"?_HLS_pathway={dead}")
        assert there.pathway_priority[0] == dead
        other = next(p.appliance_id for p in pathways if p.appliance_id != dead)
        query = "?" + there.reload_uri.partition("?")[2]
        await ask(path, f"{query}&_HLS_pathway={other}&_HLS_throughput=4000000")
    async with asyncio.timeout(10):
        while True:  # nothing listens where it says it does
            answer = await fleet.rank(region="north", client="127.0.1.9")
            if (dead, "H") in [(s.appliance_id, s.code) for s in answer.skipped]:
                break
            await asyncio.sleep(0.05)
    assert dead not in [p.appliance_id for p in answer.pathways]


async def test_the_last_resort_stands_behind_all_and_alone_when_all_are_dead(
    tmp_path: Path, control: ControlPlane
) -> None:
    async with running(tmp_path, control, last_resort_url="https://other.example/{key}") as fleet:
        alone = await fleet.rank(region="north", session_id=session_id(1))
        assert [p.appliance_id for p in alone.pathways] == [LAST_RESORT]
        await fleet.everyone_reports()
        answer = await fleet.rank(region="north", session_id=session_id(2))
        offered = [p.appliance_id for p in answer.pathways]
        assert len(offered) == 4 and offered[-1] == LAST_RESORT
        base = answer.pathways[-1].base_of("/a-token/titles/t/p/")
        assert base == "https://other.example/titles/t/p/"
        assert answer.steering_url is not None
        path = answer.steering_url.removeprefix(fleet.url)

        async def order() -> list[str]:
            _, raw, _ = await fleet.ask("GET", path)
            return list(SteeringManifest.model_validate_json(raw).pathway_priority)

        assert await order() == offered
        for name in offered[1:3]:
            await fleet.report(name, 2, state="out")
        assert await order() == [offered[0], LAST_RESORT, *offered[1:3]]
        raw = await fleet.ask("GET", "/v1/geography", by=control.control)
        assert json.loads(raw[1])["last_resort_url"] == "https://other.example/{key}"


async def test_a_handler_that_fails_answers_with_an_id_and_a_line_in_the_log(
    tmp_path: Path, control: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, control) as fleet:
        await fleet.everyone_reports()
        answer = await fleet.rank(region="north", session_id=session_id())
        assert answer.steering_url is not None
        monkeypatch.setattr("steering.ranker.priorities", lambda *_: ())
        status, raw, headers = await fleet.ask("GET", answer.steering_url.removeprefix(fleet.url))
        assert (status, json.loads(raw)["code"]) == (500, "internal")
        assert headers["X-Request-Id"]

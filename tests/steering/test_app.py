"""The real service over HTTP, with four appliances that sign with keys of their own."""

import asyncio
import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

from media.fleet import (
    MAX_REPORT_BYTES,
    Roster,
)
from media.keys import Identity
from runtime.supervise import Daemon
from steering.settings import SteeringSettings
from tests.redis_server import redis_server
from tests.steering_fleet import holdings, package, package_id, report, session_id
from tests.steering_service import ControlPlane, Fleet, P, running


async def test_a_viewer_gets_the_nearest_appliances_with_reasons(fleet: Fleet) -> None:
    await fleet.everyone_reports()
    assert await fleet.hold("north-2", P) == 204
    answer = await fleet.rank(client="127.0.1.77")
    assert [p.appliance_id for p in answer.pathways] == ["north-2", "north-1", "west-1"]
    assert answer.pathways[0].reasons == ("same site", "holds it", "load 0.10")
    assert (answer.region, answer.site, answer.steering_url) == ("north", "north", None)
    south = await fleet.rank(client="127.0.1.77", region="south", count=1)
    assert [p.appliance_id for p in south.pathways] == ["south-1"]


async def test_the_dead_the_draining_and_the_full_are_skipped_with_their_codes(
    fleet: Fleet,
) -> None:
    await fleet.everyone_reports()
    await fleet.report("north-1", 2, state="out", bottleneck="disk failed")
    await fleet.report("north-2", 2, load=0.99)
    drain = json.dumps({"draining": True}).encode()
    path = "/v1/drains/west-1"
    assert (await fleet.ask("PUT", path, drain, by=fleet.control.control))[0] == 204
    answer = await fleet.rank(client="192.0.2.1")
    # Two pathways are worth a full appliance.
    assert [p.appliance_id for p in answer.pathways] == ["south-1", "north-2"]
    assert {s.appliance_id: (s.code, s.why) for s in answer.skipped} == {
        "north-1": ("H", "out of service: disk failed"),
        "west-1": ("D", "takes no new viewers"),
    }
    _, raw, _ = await fleet.ask("GET", "/v1/roster", by=fleet.control.control)
    roster = {e.report.appliance_id: e for e in Roster.model_validate_json(raw).appliances}
    assert [e for e, entry in roster.items() if not entry.alive] == ["north-1"]
    assert [e for e, entry in roster.items() if entry.draining] == ["west-1"]


async def test_silence_is_death_and_a_wrong_clock_is_no_service(
    tmp_path: Path, control: ControlPlane
) -> None:
    async with running(tmp_path, control, report_timeout_s=1.0) as fleet:
        await fleet.report("south-1")
        await asyncio.sleep(1.05)  # the time-out itself
        await fleet.report("north-1")
        await fleet.report("west-1", clock=datetime.now(UTC) - timedelta(seconds=60))
        answer = await fleet.rank(region="south")
        assert [p.appliance_id for p in answer.pathways] == ["north-1"]
        assert [(s.appliance_id, s.code) for s in answer.skipped] == [
            ("south-1", "H"),
            ("west-1", "H"),
        ]
        assert answer.skipped[1].why == "clock is -60 s off"


async def test_nobody_speaks_for_another(fleet: Fleet) -> None:
    await fleet.everyone_reports()
    control, north = fleet.control, fleet.control.appliances["north-1"]
    said = report("north-1", time.time(), site="north", sequence=9)
    as_other = report("south-1", time.time(), site="south", sequence=9)
    rank = json.dumps({"package_id": P}).encode()
    cases: list[tuple[str, str, Any, dict[str, Any], str]] = [
        ("PUT", "/v1/reports/north-1", said, {}, "not_signed_in"),
        ("PUT", "/v1/reports/south-1", said, {"by": north}, "not_allowed"),
        ("PUT", "/v1/reports/north-1", as_other, {"by": north}, "not_allowed"),
        ("PUT", "/v1/reports/control", said, {"by": control.control}, "not_allowed"),
        ("PUT", "/v1/reports/north-9", said, {"by": control.stranger}, "token_invalid"),
        ("PUT", "/v1/reports/north-1", said, {"by": north, "audience": "x"}, "token_invalid"),
        ("GET", "/v1/plans/south-1", None, {"by": north}, "not_allowed"),
        ("GET", "/v1/notices/south-1", None, {"by": north}, "not_allowed"),
        ("GET", "/v1/roster", None, {"by": north}, "not_allowed"),
        ("POST", "/v1/rank", rank, {"by": north}, "not_allowed"),
        ("POST", "/v1/rank", rank, {"by": control.steering}, "not_allowed"),
    ]
    for method, path, body, asks, code in cases:
        status, raw, _ = await fleet.ask(method, path, body, **asks)
        assert (status, json.loads(raw)["code"]) == (401 if not asks else 403, code), path
    impostor = Identity("north-1", "appliance", control.stranger.key)
    status, raw, _ = await fleet.ask("PUT", "/v1/reports/north-1", said, by=impostor)
    assert (status, json.loads(raw)["code"]) == (403, "token_invalid")


async def test_a_new_appliance_joins_when_the_ring_names_it(tmp_path: Path, fleet: Fleet) -> None:
    stranger = fleet.control.stranger
    said = report("north-9", time.time(), site="north")
    assert (await fleet.ask("PUT", "/v1/reports/north-9", said, by=stranger))[0] == 403
    control = fleet.control
    control.trust(control.control, stranger, data=tmp_path)
    assert (await fleet.ask("PUT", "/v1/reports/north-9", said, by=stranger))[0] == 200
    # … and one that it no longer names is out.
    assert await fleet.report("north-1") == 403
    (tmp_path / "secrets" / "trust.json").write_text("{")
    assert (await fleet.ask("PUT", "/v1/reports/north-9", said, by=stranger))[0] == 200


async def test_bodies_are_bounded_and_parsed(fleet: Fleet) -> None:
    north = fleet.control.appliances["north-1"]
    large = report("north-1", time.time(), site="north").model_dump_json().encode()
    large += b" " * (MAX_REPORT_BYTES + 1 - len(large))
    for body, status, code in [
        (large, 413, "body_too_large"),
        (b"{", 400, "bad_request"),
        (b"{}", 422, "invalid_field"),
    ]:
        got, raw, _ = await fleet.ask("PUT", "/v1/reports/north-1", body, by=north)
        assert (got, json.loads(raw)["code"]) == (status, code)
    assert len(large) == MAX_REPORT_BYTES + 1
    assert (await fleet.ask("PUT", "/v1/reports/north-1", large[:-1], by=north))[0] == 200
    nowhere = report("north-1", time.time(), site="moon", sequence=2)
    status, raw, _ = await fleet.ask("PUT", "/v1/reports/north-1", nowhere, by=north)
    assert (status, "moon" in json.loads(raw)["detail"]) == (422, True)


async def test_the_answer_to_a_report_says_which_holdings_are_known(fleet: Fleet) -> None:
    by = fleet.control.appliances["north-1"]

    async def known(sequence: int, boot_id: str = "boot-1") -> Any:
        said = report("north-1", time.time(), site="north", sequence=sequence, boot_id=boot_id)
        answer = json.loads((await fleet.ask("PUT", "/v1/reports/north-1", said, by=by))[1])
        assert answer.pop("within_s") == SteeringSettings().report_interval_s
        return answer

    assert await known(1) == {"holdings_sequence": None}
    assert await fleet.hold("north-1", P, sequence=4) == 204
    assert await known(2) == {"holdings_sequence": 4}
    gap = holdings(6, (P, "v-avc-360", 1.0))
    status, raw, _ = await fleet.ask("PUT", "/v1/holdings/north-1", gap, by=by)
    assert (status, json.loads(raw)["code"]) == (409, "holdings_gap")
    assert await known(0, "boot-2") == {"holdings_sequence": None}


async def test_plans_change_with_packages_and_peers_only(fleet: Fleet) -> None:
    assert (await fleet.plan("north-1"))[0] == 404  # before its first report
    await fleet.everyone_reports()
    await fleet.until_packages(3)
    status, plan, tag = await fleet.plan("north-1")
    assert status == 200 and plan is not None
    assert tag == f'"{plan.version}"'
    # 80 % of 1,000,000 bytes is room for two of 300,000; the site's two have all three.
    _, sibling, _ = await fleet.plan("north-2")
    assert sibling is not None
    assert [len(one.items) for one in (plan, sibling)] == [2, 2]
    both = {item.package_id for one in (plan, sibling) for item in one.items}
    assert both == {package_id(1), package_id(2), package_id(3)}
    assert [peer.appliance_id for peer in plan.peers] == ["north-2", "west-1", "south-1"]
    await fleet.report("north-2", 2, load=0.8)
    assert (await fleet.plan("north-1", tag))[0] == 304
    assert (await fleet.plan("north-1", f'"other", W/{tag}'))[0] == 304
    await fleet.report("north-2", 3, state="out")
    status, fewer, new_tag = await fleet.plan("north-1", tag)
    assert status == 200 and fewer is not None and new_tag != tag
    assert [peer.appliance_id for peer in fewer.peers] == ["west-1", "south-1"]
    fleet.control.packages = (package(4, 150_000), *fleet.control.packages)
    await fleet.until_packages(4)
    status, newer, _ = await fleet.plan("north-1", new_tag)
    assert newer is not None
    _, sibling, _ = await fleet.plan("north-2")
    assert sibling is not None
    assert package_id(4) in {item.package_id for one in (newer, sibling) for item in one.items}


async def test_plans_go_on_without_the_control_plane_also_over_a_restart(
    tmp_path: Path, control: ControlPlane
) -> None:
    async with running(tmp_path, control) as fleet:
        await fleet.until_packages(3)
    await control.stop()
    async with running(tmp_path, control) as fleet:
        await fleet.everyone_reports()
        _, plan, _ = await fleet.plan("south-1")
        assert plan is not None
        assert len(plan.items) == 2


async def test_a_drain_reaches_the_waiting_appliance(fleet: Fleet) -> None:
    await fleet.everyone_reports()
    now = await fleet.notices("north-1", 0)
    assert not now.draining
    waiting = [
        asyncio.create_task(fleet.notices(name, now.version)) for name in ("north-1", "south-1")
    ]
    assert (await fleet.notices("west-1", now.version, wait_s=0)).version == now.version
    body = json.dumps({"draining": True}).encode()
    began = time.monotonic()
    await fleet.ask("PUT", "/v1/drains/north-1", body, by=fleet.control.control)
    north, south = await asyncio.gather(*waiting)
    assert time.monotonic() - began < 8  # they would have waited for 10
    assert (north.draining, south.draining) == (True, False)
    assert north.version == south.version == now.version + 1
    assert "north-1" not in [p.appliance_id for p in (await fleet.rank(region="north")).pathways]
    body = json.dumps({"draining": False}).encode()
    await fleet.ask("PUT", "/v1/drains/north-1", body, by=fleet.control.control)
    assert not (await fleet.notices("north-1", north.version)).draining
    status, raw, _ = await fleet.ask("PUT", "/v1/drains/nobody", body, by=fleet.control.control)
    assert (status, json.loads(raw)["code"]) == (404, "unknown_appliance")


async def test_a_tombstone_outlives_a_restart_and_leaves_plans_and_rankings(
    tmp_path: Path, control: ControlPlane
) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    async with running(tmp_path, control) as fleet:
        await fleet.everyone_reports()
        path, body = f"/v1/tombstones/{package_id(3)}", json.dumps({"until": until.isoformat()})
        assert (await fleet.ask("PUT", path, body.encode(), by=control.control))[0] == 204
        revoke = json.dumps({"session_id": session_id(), "until": until.isoformat()}).encode()
        assert (await fleet.ask("POST", "/v1/revocations", revoke, by=control.control))[0] == 204
        version = (await fleet.notices("north-1", 0)).version
    async with running(tmp_path, control) as fleet:
        await fleet.everyone_reports()
        await fleet.until_packages(3)
        notices = await fleet.notices("north-1", 0)
        assert notices.version == version
        assert [purge.package_id for purge in notices.purges] == [package_id(3)]
        assert notices.revoked_sessions == (session_id(),)
        _, plan, _ = await fleet.plan("north-1")
        assert plan is not None
        assert [item.package_id for item in plan.items] == [package_id(2), package_id(1)]
        body = json.dumps({"package_id": package_id(3)}).encode()
        status, raw, _ = await fleet.ask("POST", "/v1/rank", body, by=control.control)
        assert (status, json.loads(raw)["code"]) == (410, "purged")


async def test_a_purge_is_a_job_from_order_to_end(tmp_path: Path, control: ControlPlane) -> None:
    async with running(tmp_path, control, report_timeout_s=1.0) as fleet:

        async def ask(method: str, path: str, body: Any = None) -> tuple[int, Any]:
            sent = None if body is None else json.dumps(body).encode()
            status, raw, _ = await fleet.ask(method, path, sent, by=control.control)
            return status, json.loads(raw)

        names = ("north-1", "south-1")
        for name in names:
            await fleet.report(name)
        before = (await fleet.notices("north-1", 0)).version
        waiting = asyncio.create_task(fleet.notices("north-1", before))
        status, ordered = await ask("POST", "/v1/purges", {"pattern": "titles/*/v-avc-720/*"})
        assert (status, ordered["state"]) == (201, "pending")
        assert {one["appliance_id"] for one in ordered["appliances"]} == set(names)
        (order,) = (await waiting).orders
        assert order.pattern == "titles/*/v-avc-720/*"
        for sequence, name in enumerate(names, 2):
            told = [{"serial": order.serial, "files": 4}]
            said = {"notices_version": order.serial, "purged_serial": order.serial, "purged": told}
            await fleet.report(name, sequence, **said)
        async with asyncio.timeout(5):  # the fleet is known a moment after the start
            while (seen := await ask("GET", f"/v1/purges/{ordered['job_id']}"))[1]["state"] != (  # noqa: ASYNC110
                "complete"
            ):
                await asyncio.sleep(0.01)
        assert (seen[1]["obeyed"], seen[1]["awaited"], seen[1]["files"]) == (2, 0, 8)
        _, listed = await ask("GET", "/v1/purges")
        assert [job["job_id"] for job in listed["purges"]] == [ordered["job_id"]]
        cancel = f"/v1/purges/{ordered['job_id']}/cancel"
        assert (await ask("POST", cancel))[1]["state"] == "complete"
        unknown = "/v1/purges/job_00000000000000000000000000"
        assert (await ask("GET", unknown))[1]["code"] == "unknown_purge"
        assert (await ask("POST", "/v1/purges", {"title_id": "x"}))[1]["code"] == "invalid_field"
        by = control.appliances["north-1"]
        status, raw, _ = await fleet.ask("GET", "/v1/purges", by=by)
        assert (status, json.loads(raw)["code"]) == (403, "not_allowed")


async def test_regions_and_documents(fleet: Fleet) -> None:
    body = json.dumps({"package_id": P, "region": "moon"}).encode()
    status, raw, _ = await fleet.ask("POST", "/v1/rank", body, by=fleet.control.control)
    assert (status, json.loads(raw)["code"]) == (422, "unknown_region")
    assert (await fleet.rank()).pathways == ()  # nobody has reported
    status, raw, _ = await fleet.ask("GET", "/openapi.json")
    document = json.loads(raw)
    assert {"/v1/rank", "/steer/{token}", "/v1/plans/{appliance}"} <= document["paths"].keys()
    status, raw, headers = await fleet.ask("GET", "/metrics")
    assert headers["Content-Type"].startswith("text/plain")
    assert b'nearcast_steering_ranks_total{outcome="empty"} 1.0' in raw
    assert b"nearcast_steering_appliances_alive 0.0" in raw
    assert (await fleet.ask("GET", "/healthz"))[0] == 200


async def test_the_program_starts_answers_and_stops(tmp_path: Path, control: ControlPlane) -> None:
    argv = [sys.executable, "-m", "steering", "--data", str(tmp_path)]
    argv += ["--set", "listen=127.0.0.1:0", "--set", f"control_plane_url={control.url}"]
    log = tmp_path / "log"
    with log.open("wb") as file:
        daemon = Daemon("steering", argv, log=file)
        urls = await daemon.start()
        async with ClientSession() as session:
            fleet = Fleet(control, session, urls["http"])
            await fleet.everyone_reports()
            assert len((await fleet.rank(region="west")).pathways) == 3
        await daemon.stop()
    assert daemon.process is not None
    assert daemon.process.returncode == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["event"] for line in lines if line["event"] in ("ready", "stopped")] == [
        "ready",
        "stopped",
    ]


async def test_a_restart_with_redis_ranks_at_once_and_goes_on_without_it(
    tmp_path: Path, control: ControlPlane
) -> None:
    with redis_server() as url:
        async with running(tmp_path, control, state=url) as fleet:
            await fleet.everyone_reports()
            assert await fleet.hold("north-2", P) == 204
            before = await fleet.rank(region="north")
        async with running(tmp_path, control, state=url) as fleet:
            assert await fleet.rank(region="north") == before
    async with running(tmp_path, control, state=url, report_interval_s=0.01) as fleet:
        await fleet.everyone_reports()
        assert (await fleet.rank(region="north")).pathways[0].site == "north"
        assert json.loads((await fleet.ask("GET", "/readyz"))[1])["state_away"]

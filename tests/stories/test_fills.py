"""Plans on real appliances: their hours, their sources, and what viewers took."""

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from media.fills import FillStatus, PinRequest
from media.fleet import Demand, PackageRef, Peer, Plan, PlanItem, Report, ReportAnswer
from media.homes import tier_home_of
from media.keys import Identity
from runtime.service import serve_http
from tests.appliance.conftest import Standing
from tests.packages import MadePackage, make_keys
from tests.steering_service import ControlPlane, Fleet, running

OFTEN = {
    "report_interval_s": "0.1", "plan_poll_s": "0.1", "demand_interval_s": "0.2",
    "budget_bytes": "100000000", "early_fills": "0",
}  # fmt: skip


def shut_window() -> str:
    """Hours in UTC that begin in a long time."""
    hour = time.gmtime().tm_hour
    return f"{(hour + 6) % 24:02d}:00-{(hour + 8) % 24:02d}:00"


def ref(package: MadePackage, number: int) -> PackageRef:
    return PackageRef(
        title_id=package.title_id,
        package_id=package.package_id,
        inventory_sha256=package.inventory_sha256,
        total_bytes=sum(map(len, package.files.values())),
        published_at=datetime.fromtimestamp(1_700_000_000 + number, UTC),
    )


async def state(standing: Standing) -> dict[str, Any]:
    assert standing.daemon is not None
    url = f"{standing.daemon.urls['admin']}/v1/state"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return dict(await answer.json())


async def until(so: Callable[[dict[str, Any]], bool], standing: Standing) -> dict[str, Any]:
    """Its state, when it is so."""
    async with asyncio.timeout(20):
        while not so(told := await state(standing)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return told


async def fetch(url: str) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.read()


@asynccontextmanager
async def appliance(
    data: Path, keys: dict[str, Identity], name: str, host: str, steering: str, **settings: str
) -> AsyncIterator[Standing]:
    standing = Standing(data, keys, name)
    standing.settings = {
        **OFTEN, "listen": f"{host}:0", "admin_listen": f"{host}:0", "steering_url": steering,
        **settings,
    }  # fmt: skip
    await standing.start()
    try:
        yield standing
    finally:
        await standing.stop()


async def fills_of(fleet: Fleet) -> FillStatus:
    _, raw, _ = await fleet.ask("GET", "/v1/fills", by=fleet.control.control)
    return FillStatus.model_validate_json(raw)


async def test_a_plan_waits_for_its_hours_but_viewers_and_the_urgent_do_not(
    tmp_path: Path,
) -> None:
    """And what viewers took arrives at steering, and a restart costs the store nothing."""
    control = ControlPlane(tmp_path)
    await control.start()
    keys = {"control": control.control, **control.appliances}
    maker = Standing(tmp_path, keys)
    patient, rushed = maker.package(), maker.package()
    control.packages = (ref(patient, 1), ref(rushed, 0))
    try:
        async with (
            running(tmp_path, control, fill_window=shut_window(), live_copies=1) as fleet,
            appliance(tmp_path, keys, "north-1", "127.0.1.1", fleet.url) as north,
        ):
            await fleet.until_packages(2)
            await until(lambda told: told["report"]["plan_state"] == "waiting", north)
            assert not north.cached(patient) and not north.cached(rushed)
            path = f"/v1/fills/{rushed.package_id}"
            await fleet.ask("POST", path, PinRequest(), by=control.control)
            told = await until(lambda told: rushed.package_id in told["complete_packages"], north)
            told = await until(lambda told: told["report"]["plan_state"] == "waiting", north)
            assert not north.cached(patient)
            size = ref(patient, 0).total_bytes
            assert told["report"]["plan_missing_bytes"] == size
            assert told["report"]["counters"]["fill_bytes_store"] == sum(
                map(len, rushed.files.values())
            )

            took = 0
            for package in (patient, rushed):  # a miss, then hits
                for _ in range(3):
                    status, body = await fetch(north.url(package, "v-avc-720/2.m4s"))
                    assert (status, body) == (200, package.files["v-avc-720/2.m4s"])
                    took += len(body)
            status, body = await fetch(north.url(patient, "hls/master.m3u8"))
            assert status == 200
            async with asyncio.timeout(20):
                while (told_bytes := await demanded(fleet)) < took:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert told_bytes == took
            assert len(north.cached(patient)) == 4  # inventory, list, segment, playlist: no more

            async with asyncio.timeout(20):  # what was just told may have made a new plan
                while not (fills := await fills_of(fleet)).appliances[0].is_current:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            (mine,) = fills.appliances
            assert (mine.state, mine.window_open) == ("waiting", False)
            assert {one.package_id: one.live for one in fills.packages} == {
                rushed.package_id: True,
                patient.package_id: False,
            }

            await north.stop()
            shutil.rmtree(tmp_path / "store")
            await north.start()
            told = await until(lambda told: rushed.package_id in told["complete_packages"], north)
            told = await until(
                lambda told: 0 < told["report"]["plan_missing_bytes"] < size, north
            )  # the lists are here: it is known what is missing
            assert told["report"]["counters"]["fill_bytes_store"] == 0
            assert told["report"]["counters"]["fill_failures"] == 0
    finally:
        await control.stop()


async def demanded(fleet: Fleet) -> int:
    """Bytes of the north, as steering counts them."""
    _, raw, _ = await fleet.ask("GET", "/metrics")
    wanted = 'nearcast_steering_demand_bytes_total{region="north"} '
    lines = [line for line in raw.decode().splitlines() if line.startswith(wanted)]
    return int(float(lines[0].removeprefix(wanted))) if lines else 0


@dataclass
class Planner:
    """Gives the plans that a test makes, and takes what appliances say; some of it gets lost."""

    plans: dict[str, Plan]
    reports: dict[str, Report]
    demands: list[Demand]
    lose: int = 0
    url: str = ""

    @classmethod
    @asynccontextmanager
    async def serving(cls) -> AsyncIterator["Planner"]:
        self = cls({}, {}, [])
        app = web.Application()
        app.router.add_get("/v1/plans/{name}", self.give)
        app.router.add_put("/v1/{kind}/{name}", self.take)
        runner, self.url = await serve_http(app, "127.0.0.1:0")
        try:
            yield self
        finally:
            await runner.cleanup()

    async def give(self, request: web.Request) -> web.Response:
        plan = self.plans.get(request.match_info["name"])
        return (
            web.Response(status=404) if plan is None else web.Response(text=plan.model_dump_json())
        )

    async def take(self, request: web.Request) -> web.Response:
        raw = await request.read()
        if request.match_info["kind"] == "demand":
            if self.lose:
                self.lose -= 1
                return web.Response(status=503)
            self.demands.append(Demand.model_validate_json(raw))
        if request.match_info["kind"] != "reports":
            return web.Response(status=204)
        self.reports[request.match_info["name"]] = Report.model_validate_json(raw)
        return web.Response(text=ReportAnswer().model_dump_json())


async def test_sources_are_asked_in_their_order_and_the_store_once_for_all(tmp_path: Path) -> None:
    """Three at three sites: the second fills from the store; the third asks, before all others, the
    first, who has nothing, and then the second."""
    names = {"north-1": "127.0.1.1", "south-1": "127.0.2.1", "west-1": "127.0.3.1"}
    keys = make_keys(tmp_path, *names)
    async with Planner.serving() as planner:
        async with (
            appliance(tmp_path, keys, "north-1", "127.0.1.1", planner.url) as north,
            appliance(tmp_path, keys, "south-1", "127.0.2.1", planner.url, site="south") as south,
            appliance(tmp_path, keys, "west-1", "127.0.3.1", planner.url, site="west") as west,
        ):
            package = west.package()
            item = PlanItem(
                title_id=package.title_id,
                package_id=package.package_id,
                inventory_sha256=package.inventory_sha256,
                bytes=sum(map(len, package.files.values())),
            )
            planner.plans["south-1"] = Plan(appliance_id="south-1", version="1", items=(item,))
            await until(lambda told: told["report"]["plan_state"] == "filled", south)
            peers = tuple(
                Peer(appliance_id=one.name, url=one.daemon.urls["data"], site=site)
                for one, site in ((south, "south"), (north, "north"))
                if one.daemon is not None
            )
            rushed = item.model_copy(update={"sources": ("north-1", "south-1")})
            planner.plans["west-1"] = Plan(
                appliance_id="west-1", version="1", items=(rushed,), peers=peers
            )
            told = await until(lambda told: told["report"]["plan_state"] == "filled", west)
            counters = told["report"]["counters"]
            assert (counters["fill_bytes_store"], counters["fill_bytes_tier"]) == (0, item.bytes)
            from_store = [
                (await state(one))["report"]["counters"]["fill_bytes_store"]
                for one in (north, south, west)
            ]
            assert from_store == [0, item.bytes, 0]
        # Each file was asked for once of each, of the first before the second.
        asked = [*north.log(), *south.log()]
        assert {line["scope"] for line in asked} == {"fill"}
        statuses: dict[object, list[object]] = {}
        for line in asked:
            statuses.setdefault(line["path"], []).append(line["status"])
        assert len(statuses) == len(package.files)
        assert all(seen == [504, 200] for seen in statuses.values())
        first = {line["path"]: line["ts"] for line in north.log()}
        assert all(str(first[line["path"]]) <= str(line["ts"]) for line in south.log())
        assert planner.demands == []  # peers are no viewers


async def test_a_region_asks_the_store_once_through_its_tier(tmp_path: Path) -> None:
    """Four appliances at two sites of a region, and viewers at all of them at once, of several
    packages whose homes are here and there: the store gives each file once, and its home has it."""
    sites = {"north-1": "north", "north-2": "north", "west-1": "west", "west-2": "west"}
    hosts = {name: f"127.0.4.{number}" for number, name in enumerate(sites, 1)}
    keys = make_keys(tmp_path, *sites)
    async with Planner.serving() as planner, contextlib.AsyncExitStack() as stack:
        fleet = {
            name: await stack.enter_async_context(
                appliance(tmp_path, keys, name, hosts[name], planner.url, site=site)
            )
            for name, site in sites.items()
        }
        urls = {name: one.daemon.urls["data"] for name, one in fleet.items() if one.daemon}
        for name, site in sites.items():
            peers = tuple(
                Peer(appliance_id=other, url=urls[other], site=at, tier=at != site)
                for other, at in sites.items()
                if other != name
            )
            planner.plans[name] = Plan(appliance_id=name, version="1", items=(), peers=peers)
        for one in fleet.values():
            await until(lambda told: told["report"]["plan_version"] == "1", one)
        packages = [fleet["north-1"].package() for _ in range(6)]
        path = "v-avc-720/3.m4s"
        asked = [
            fetch(f"{urls[name]}/{package.token(keys['control'])}/{package.base}{path}")
            for package in packages
            for name in fleet
        ]
        for number, (status, body) in enumerate(await asyncio.gather(*asked)):
            assert (status, body) == (200, packages[number // 4].files[path])
        counters = [(await state(one))["report"]["counters"] for one in fleet.values()]
        wanted = ("inventory.json", "v-avc-720/files.json", path)
        once = sum(len(package.files[name]) for package in packages for name in wanted)
        assert sum(each["fill_bytes_store"] for each in counters) == once
        assert sum(each["fill_bytes_tier"] for each in counters) == once  # for the other site
        members = {at: {n: 10**9 for n in sites if sites[n] == at} for at in ("north", "west")}
        homes = {tier_home_of(package.package_id, members) for package in packages}
        from_store = {
            name for name, each in zip(fleet, counters, strict=True) if each["fill_bytes_store"]
        }
        assert from_store == homes


async def test_what_does_not_arrive_is_told_with_the_next_words(tmp_path: Path) -> None:
    keys = make_keys(tmp_path, "north-1")
    async with Planner.serving() as planner:
        async with appliance(tmp_path, keys, "north-1", "127.0.1.1", planner.url) as north:
            package, planner.lose = north.package(), 2
            took = 0
            async with asyncio.timeout(20):
                while len(planner.demands) < 3:
                    took += len((await fetch(north.url(package, "v-avc-720/1.m4s")))[1])
                    await asyncio.sleep(0.1)
                while planner.demands[-1].served[0].bytes < took:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        assert planner.lose == 0
        figures = [demand.served[0] for demand in planner.demands]
        assert figures[-1].bytes == took
        # Each continues where the last one that was taken ended, the first at nothing.
        assert [one.told for one in figures] == [0, *(one.bytes for one in figures[:-1])]
        sequences = [demand.sequence for demand in planner.demands]
        assert sequences == sorted(sequences) and sequences[0] == 3  # two got lost

"""`nearcast bench steer`: how fast steering decides and answers, and how evenly.

The decisions are measured in this process, on a fleet on paper; the answers over HTTP, beside an
aiohttp handler that decides nothing.
"""

import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import aiohttp

from lab import load, machine
from lab.bench import Bar, Effort, Reading, Row, alone, alternate, chosen, medians, row_of
from lab.load import Load
from lab.machine import family, pinned
from lab.peers.process import free_port, serving
from lab.sides import Side
from lab.spread import Load as SiteLoad
from lab.spread import crowded, moved, package
from lab.world import make_keys
from media.fleet import Held, Holdings, Report
from media.ids import id_from
from media.keys import Identity
from media.places import Atlas, Region, Route, Site
from media.rank import Asked, Limits, rank
from media.token import sign_machine_token
from runtime.errors import Problem
from runtime.supervise import Daemon
from steering.roster import Fleet, RosterBook

_APPLIANCES, _SITES, _REGIONS, _PREFIXES, _PACKAGES = 1000, 300, 20, 100_000, 1000
_RANKINGS = 20_000
_SESSIONS = 500
_SEEDS = (1, 2, 3)

Case = Callable[[str, Effort, Callable[[str], None]], Awaitable[list[Row]]]


async def bench_steer(
    against: str, cases: Sequence[str], effort: Effort, tell: Callable[[str], None]
) -> list[Row]:
    """The rows of the cases (all, if none is named). Raises Problem for an unknown one."""
    wanted = chosen(cases, CASES)
    rows: list[Row] = []
    for name, measure in wanted.items():
        tell(name)
        rows += await measure(name, effort, tell)
    return rows


# Decisions.


@dataclass
class World:
    """A large fleet, as steering knows it."""

    atlas: Atlas
    roster: RosterBook
    now_s: float
    dice: random.Random
    reports: int = 0

    def go_on(self) -> None:
        """A millisecond later. Appliances report every five seconds, so every fifth time one
        does."""
        self.now_s += 0.001
        if round(self.now_s * 1000) % 5 == 0:
            n, sequence = self.reports % _APPLIANCES, 2 + self.reports // _APPLIANCES
            load = self.dice.uniform(0, 0.7)
            self.reports += 1
            self.roster.hear(_report(f"a{n}", f"s{n % _SITES}", self.now_s, load, sequence),
                             self.now_s)  # fmt: skip


def make_world(seed: int = 1) -> World:
    """A thousand appliances in three hundred sites, which serve a hundred thousand networks; each
    holds a tenth of the catalog."""
    dice = random.Random(seed)
    regions = [
        Region(id=f"r{n}", name=f"R{n}", latitude=dice.uniform(-60, 60),
               longitude=dice.uniform(-180, 180))
        for n in range(_REGIONS)
    ]  # fmt: skip
    sites = [
        Site(id=f"s{n}", region=f"r{n % _REGIONS}",
             fallbacks=tuple(f"s{(n + step * _REGIONS) % _SITES}" for step in (1, 2)))
        for n in range(_SITES)
    ]  # fmt: skip
    routes = (
        Route(network=f"{10 + (n >> 16)}.{n >> 8 & 255}.{n & 255}.0/24", site=f"s{n % _SITES}",
              path_length=n % 5)
        for n in range(_PREFIXES)
    )  # fmt: skip
    atlas = Atlas(regions, sites, routes=routes)
    roster = RosterBook(atlas, report_timeout_s=15, forget_s=3600, session_bps=5_000_000)
    now_s = time.time()
    for n in range(_APPLIANCES):
        roster.hear(_report(f"a{n}", f"s{n % _SITES}", now_s, dice.uniform(0, 0.7)), now_s)
        held = tuple(
            Held(package_id=package(k), rendition_id="v-avc-720", fraction=1.0)
            for k in dice.sample(range(_PACKAGES), _PACKAGES // 10)
        )
        roster.take(f"a{n}", Holdings(boot_id="boot", sequence=1, snapshot=True, held=held))
    return World(atlas, roster, now_s, dice)


async def _rank(name: str, effort: Effort, tell: Callable[[str], None]) -> list[Row]:
    """From an address to pathways with reasons: what `POST /v1/rank` decides. A thousand a second,
    while the fleet reports; what its reports cost is not counted."""
    world = make_world()
    dice = random.Random(2)
    limits = Limits()
    # One viewer in ten is of no network that is known: a region is all there is.
    clients = [
        f"{10 + (n >> 16)}.{n >> 8 & 255}.{n & 255}.7" if n % 10 else None
        for n in (dice.randrange(_PREFIXES) for _ in range(_RANKINGS))
    ]
    packages = [package(dice.randrange(_PACKAGES)) for _ in range(_RANKINGS)]

    def once(number: int) -> None:
        client = clients[number]
        region = None if client else f"r{number % _REGIONS}"
        place = world.atlas.place(client, region)
        asked = Asked(packages[number], place, 3, session_id=f"ses_{number}")
        fleet = Fleet(world.roster, asked.package_id, world.now_s, limits)
        answer = rank(asked, fleet, world.atlas)
        assert len(answer.pathways) == 3

    for number in range(_RANKINGS // 4):
        world.go_on()
        once(number)
    p50s, p99s = [], []
    for _ in range(effort.pairs):
        took_us = []
        for number in range(_RANKINGS):
            world.go_on()
            began = time.perf_counter_ns()
            once(number)
            took_us.append((time.perf_counter_ns() - began) / 1000)
        took_us.sort()
        p50s.append(took_us[len(took_us) // 2])
        p99s.append(took_us[len(took_us) * 99 // 100])
    row = alone(name, "µs, p99", round(median(p99s), 1), Bar(200, "less", "ours"))
    return [replace(row, notes={"p50_us": round(median(p50s), 1), "p99_us": sorted(p99s)})]


async def _spread(name: str, effort: Effort, tell: Callable[[str], None]) -> list[Row]:
    """A busy site of 20 appliances, titles by Zipf's law; three seeds, the worst one judged."""
    runs = [crowded(SiteLoad(seed=seed)) for seed in _SEEDS]
    hottest = round(max(run.hottest for run in runs), 3)
    at_home = round(min(run.at_home for run in runs), 3)
    return [
        alone(f"{name}-hottest", "of the mean load", hottest, Bar(1.3, "less", "ours")),
        alone(f"{name}-home", "at first two homes", at_home, Bar(0.85, "more", "ours")),
    ]


async def _moved(name: str, effort: Effort, tell: Callable[[str], None]) -> list[Row]:
    """One of the 20 leaves."""
    worst = round(max(moved(SiteLoad(seed=seed)) for seed in _SEEDS), 3)
    return [alone(name, "of its fair share", worst, Bar(1.5, "less", "ours"))]


# Answers.


class _Server:
    """One side over HTTP."""

    tls_base = ""

    def __init__(self, name: str, base: str, targets: Sequence[str], pid: int) -> None:
        self.name = name
        self.base = base
        self._targets = targets
        self._pid = pid

    def target(self, path: str, session: int = 0) -> str:
        return self._targets[session]

    def pids(self) -> list[int]:
        return family(self._pid)


async def _http(name: str, effort: Effort, tell: Callable[[str], None]) -> list[Row]:
    """Steering manifests of many sessions, as hls.js asks for them."""
    with (
        machine.split() as (server_core, load_core),
        tempfile.TemporaryDirectory(prefix="nearcast-bench-") as folder,
    ):
        async with (
            _steering(Path(folder), server_core) as (ours, targets, size),
            _bare(Path(folder), server_core, targets, size) as peer,
        ):
            given = Load(targets, 32, effort.seconds)

            async def read(side: Side) -> Reading:
                return await load.reading(side, given, load_core)

            for side in (ours, peer):
                await load.run(side, Load(targets, 32, 1), load_core)
            readings = await alternate(effort.pairs, lambda: read(ours), lambda: read(peer))
    pairs = [(ours.requests_per_s, peer.requests_per_s) for ours, peer in readings]
    notes = {
        "ours": medians([ours for ours, _ in readings]),
        "peer": medians([peer for _, peer in readings]),
        "bytes": size,
    }
    return [replace(row_of(name, "requests/s", pairs, "bare aiohttp", Bar(0.6)), notes=notes)]


@asynccontextmanager
async def _steering(data: Path, core: int) -> AsyncIterator[tuple[_Server, list[str], int]]:
    """Steering of one process with three sites of three appliances each, the addresses of many
    sessions, and how many bytes an answer has."""
    places = {f"{site}-{n}": site for site in ("north", "south", "west") for n in range(3)}
    keys = make_keys(data, *places)
    argv = [sys.executable, "-m", "steering", f"--data={data}", "--log-level=error"]
    argv += ["--set=listen=127.0.0.1:0", "--set=control_plane_url=http://127.0.0.1:9"]
    with (data / "steering.log").open("ab") as log:
        daemon = Daemon("steering", pinned(core, argv), log=log)
        try:
            url = (await daemon.start())["http"]
            async with aiohttp.ClientSession() as session:
                await report_all(session, url, places, keys)
                targets = [await _session(session, url, n, keys["control"]) for n in
                           range(_SESSIONS)]  # fmt: skip
                async with session.get(url + targets[0]) as answer:
                    size = len(await answer.read())
            assert daemon.pid is not None
            async with asyncio.TaskGroup() as group:
                task = group.create_task(keep_reporting(url, places, keys), name="reports")
                yield _Server("nearcast", url, targets, daemon.pid), targets, size
                task.cancel()
        finally:
            await daemon.stop()


async def keep_reporting(url: str, places: dict[str, str], keys: dict[str, Identity]) -> None:
    """The fleet stays alive."""
    sequence = 1
    async with aiohttp.ClientSession() as session:
        while True:
            await asyncio.sleep(5)
            sequence += 1
            await report_all(session, url, places, keys, sequence)


async def report_all(
    session: aiohttp.ClientSession,
    url: str,
    places: dict[str, str],
    keys: dict[str, Identity],
    sequence: int = 1,
) -> None:
    """Each appliance, by its site, has reported to the steering service at `url`."""
    for appliance_id, site in places.items():
        report = _report(appliance_id, site, time.time(), 0.2, sequence)
        await _send(session, "PUT", f"{url}/v1/reports/{appliance_id}",
                    report.model_dump_json(), keys[appliance_id])  # fmt: skip


async def _session(session: aiohttp.ClientSession, url: str, number: int, control: Identity) -> str:
    """The path by which a session asks, as its player would."""
    asked = {
        "package_id": package(number % 50),
        "client": f"127.0.{1 + number % 3}.{1 + number % 200}",
        "session_id": id_from("ses", 1_700_000_000_000, number),
    }
    answer = json.loads(await _send(session, "POST", f"{url}/v1/rank", json.dumps(asked), control))
    here = answer["pathways"][0]["appliance_id"]
    path = answer["steering_url"].removeprefix(url)
    return f"{path}?told={here}&_HLS_pathway=%22{here}%22&_HLS_throughput=8200000"


async def _send(
    session: aiohttp.ClientSession, method: str, url: str, body: str, by: Identity
) -> bytes:
    token = sign_machine_token(by, "steering", int(time.time()))
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    async with session.request(method, url, data=body, headers=headers) as answer:
        if answer.status >= 400:
            raise Problem("unavailable", f"steering answers {answer.status}: not measured.")
        return await answer.read()


@asynccontextmanager
async def _bare(
    folder: Path, core: int, targets: Sequence[str], size: int
) -> AsyncIterator[_Server]:
    port = free_port()
    argv = pinned(core, [sys.executable, "-m", "lab.peers.bare", str(port), str(size)])
    async with serving("aiohttp", argv, port, folder / "bare.log") as process:
        yield _Server("bare aiohttp", f"http://127.0.0.1:{port}", targets, process.pid)


def _report(appliance_id: str, site: str, now_s: float, load: float, sequence: int = 1) -> Report:
    return Report(
        appliance_id=appliance_id,
        site=site,
        url=f"http://{appliance_id}.example:8090",
        boot_id="boot",
        sequence=sequence,
        clock=datetime.fromtimestamp(now_s, UTC),
        state="serving",
        load=load,
        capacity_bps=1_000_000_000,
        budget_bytes=0,
        used_bytes=0,
    )


CASES: dict[str, Case] = {"rank": _rank, "http": _http, "spread": _spread, "moved": _moved}

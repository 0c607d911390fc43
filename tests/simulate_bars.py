"""The simulator's bars, for `make accept`: what plans are worth, and how quick all of it is.

Times are CPU seconds of one process, so that what else the machine does counts for nothing.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

import numpy as np

from lab.simulate.clairvoyant import static_ceiling
from lab.simulate.ledger import Outcome
from lab.simulate.run import Run, play
from lab.simulate.scenario import Scenario, read
from lab.simulate.several import Case, play_all
from lab.simulate.variants import VARIANTS
from lab.simulate.world import World
from media.fleet import PackageRef, RenditionRef
from media.places import Atlas, Region, Site
from steering.home_book import HomeBook
from steering.planning import Box, plan_fleet
from steering.popularity import Evidence

SEEDS = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Seen:
    """A promise, and how it went."""

    promise: str
    seen: str
    ok: bool
    command: str = ""


def bars() -> Iterator[Seen]:
    """One after the other: the quick ones first."""
    yield speed()
    yield planning()
    yield cohorts()
    yield planet()


def changed(scenario: Scenario, **tables: dict[str, Any]) -> Scenario:
    """With these keys of its tables."""
    told = scenario.model_dump()
    return Scenario.model_validate(
        told | {name: told[name] | keys for name, keys in tables.items()}
    )


def speed() -> Seen:
    """Every segment is asked for by itself, and disks are so small that files leave all the time.
    From nobody watching on to 7,000 who watch at once."""
    scenario = changed(
        read("national"),
        clock={"warmup_days": 0, "days": 1, "part_s": 4, "cohorts": False},
        net={"sites": 50, "disk_share": 0.0002},
        viewing={"sessions_per_day": 1_000_000, "night": 1.0},
    )
    rates, told = [], []
    for name in ("plan", "lru"):
        run = Run(scenario, 1, VARIANTS[name])
        began = time.process_time()
        for tick in range(300):
            run.tick(tick)
        rates.append(run.ledger.requests.sum() / (time.process_time() - began))
        evictions = sum(box.evictions for box in run.fleet.boxes)
        told.append(
            f"{name} {rates[-1]:,.0f}/s"
            f" ({run.ledger.requests.sum():,} requests, {evictions:,} evictions)"
        )
    return Seen(
        "simulator, 100 appliances, nothing put together: ≥ 50,000 requests/s on one core",
        ", ".join(told),
        min(rates) >= 50_000,
    )


def planning() -> Seen:
    """The shipped planning of a whole fleet, from nothing, and again."""
    dice = np.random.Generator(np.random.PCG64(1))
    titles, sites, regions = 10_000, 300, 30
    scenario = read("national")
    rates = np.array([*scenario.films.rung_mbps, *scenario.films.audio_mbps]) * 1e6 / 8
    kinds = [f"v-avc-{number}" for number in range(9)] + [f"a-aac-{n}" for n in range(3)]
    sizes = (dice.uniform(1200, 8400, titles)[:, None] * rates).astype(int)
    packages = [
        PackageRef.model_construct(
            title_id=f"ttl_{number:026d}",
            package_id=f"pkg_{number:026d}",
            inventory_sha256="0" * 64,
            total_bytes=sum(own),
            published_at=datetime(2026, 1, 1, tzinfo=UTC),
            renditions=tuple(
                RenditionRef(rendition_id=kind, bytes=size)
                for kind, size in zip(kinds, own, strict=True)
            ),
        )
        for number, own in enumerate(sizes.tolist())
    ]
    rows = [(number, kind) for number in range(titles) for kind in kinds]
    sent = dice.exponential(1e12, (regions, titles * 12)) / np.repeat(np.arange(titles) + 1, 12)
    evidence = Evidence(
        bytes=sizes.reshape(-1).astype(np.float64),
        package=np.repeat(np.arange(titles), 12),
        kind=np.tile(np.arange(12), titles),
        sent=sent,
        days=np.full(titles, 4.0),
        expected=np.full(titles, np.nan),
    )
    atlas = Atlas(
        [Region(id=f"r{n}", name=f"{n}", latitude=0, longitude=n) for n in range(regions)],
        [Site(id=f"s{n}", region=f"r{n % regions}") for n in range(sites)],
    )
    budget = int(sizes.sum() * 0.05)
    boxes = [Box(f"a{n}", f"s{n // 2}", budget, 10**10, {}) for n in range(2 * sites)]
    took, before, homes = [], {}, HomeBook()
    for _ in range(2):
        began = time.process_time()
        before = plan_fleet(
            packages, evidence, rows, boxes, atlas, {}, before, homes, share=0.9, nightly_share=0.05
        )
        took.append(time.process_time() - began)
    return Seen(
        "planning 10,000 titles × 12 renditions × 300 sites: ≤ 30 s",
        f"600 appliances: {took[0]:.1f} s, and {took[1]:.1f} s the second time",
        max(took) <= 30,
    )


def cohorts() -> Seen:
    """A hundredth of the planet: ten sites, a hundred appliances, the same viewers."""
    together = changed(
        read("planet"),
        net={"sites": 10, "regions": 2, "zones_h": (0, 6)},
        viewing={"sessions_per_day": 1000},
    )
    apart = changed(together, clock={"cohorts": False})
    worst, told = 0.0, []
    for name in ("plan", "lru"):
        one, other = (play(world, 1, VARIANTS[name]) for world in (together, apart))
        for key in ("served_bytes", "hit", "peak_hit", "peak_any_hit", "into_sites_bytes"):
            off = abs(getattr(one, key) / getattr(other, key) - 1)
            worst = max(worst, off)
        told.append(f"{name} {one.peak_hit:.4f} and {other.peak_hit:.4f} at the peak")
    return Seen(
        "in cohorts and one by one, 1/100 of the planet: within 1 %",
        f"{worst:.2%} apart at most: {', '.join(told)}",
        worst <= 0.01,
    )


def planet() -> Seen:
    """In a process of its own, so that its memory can be told."""
    argv = ["nearcast", "simulate", "planet", "--variant", "plan", "--json"]
    with tempfile.TemporaryFile() as out:
        command = subprocess.Popen([sys.executable, "-m", *argv], stdout=out)
        _, status, used = os.wait4(command.pid, 0)
        command.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        said = out.read()
    took_s, gigabytes = used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e9
    requests = 0
    if command.returncode == 0:
        requests = json.loads(said)["rows"][0]["runs"][0]["requests"]
    return Seen(
        "planet, 1,000 sites, 10,000 appliances, ≥ 100 million requests: ≤ 10 minutes, ≤ 8 GB",
        f"{requests:,} requests, {took_s:.0f} s, {gigabytes:.1f} GB",
        requests >= 100_000_000 and took_s <= 600 and gigabytes <= 8,
        " ".join(argv),
    )


def national(seeds: Sequence[int] = SEEDS) -> Iterator[Seen]:
    """Medians of the seeds."""
    small = read("national")
    large = changed(small, net={"disk_share": 0.4})
    names = ("plan", "lru", "lru-tiers", "clairvoyant", "clairvoyant-free")
    cases = [Case(small, VARIANTS[name], seed) for seed in seeds for name in names]
    cases += [
        Case(large, VARIANTS[name], seed)
        for seed in seeds
        for name in ("plan", "clairvoyant", "clairvoyant-free")
    ]
    outcomes = play_all(cases)
    found = {
        (case.scenario is large, case.variant.name, case.seed): outcome
        for case, outcome in zip(cases, outcomes, strict=True)
    }

    def of(name: str, key: str, *, at_40: bool = False) -> float:
        return median(float(getattr(found[at_40, name, seed], key)) for seed in seeds)

    def ratio(key: str, one: str, other: str, *, at_40: bool = False) -> float:
        def read_off(outcome: Outcome) -> float:
            return float(getattr(outcome, key))

        return median(
            read_off(found[at_40, one, seed]) / read_off(found[at_40, other, seed])
            for seed in seeds
        )

    hit = ratio("peak_hit", "plan", "clairvoyant")
    yield Seen(
        "national: peak hit ≥ 0.95 × clairvoyant's, same disks and nights",
        f"{hit:.3f}: plan {of('plan', 'peak_hit'):.3f},"
        f" clairvoyant {of('clairvoyant', 'peak_hit'):.3f},"
        f" without bound on nights {of('clairvoyant-free', 'peak_hit'):.3f}",
        hit >= 0.95,
    )
    origin, tiers = (ratio("peak_origin_bytes", "plan", name) for name in ("lru", "lru-tiers"))
    yield Seen(
        "national: peak origin bytes ≤ 0.6 × LRU alone",
        f"{origin:.3f}; against LRU with tiers {tiers:.3f}",
        origin <= 0.6,
    )
    into = ratio("into_sites_bytes", "plan", "lru")
    filled = of("plan", "fill_bytes") / of("plan", "into_sites_bytes")
    yield Seen(
        "national: bytes into the sites ≤ 1.0 × LRU alone",
        f"{into:.3f}; {filled:.0%} of them fills",
        into <= 1.0,
    )
    churn = of("plan", "churn")
    yield Seen("national: churn of a stable day ≤ 5 %", f"{churn:.2%}", churn <= 0.05)
    own, anywhere = (of("plan", key, at_40=True) for key in ("peak_hit", "peak_any_hit"))
    ceiling = median(static_ceiling(World(large, seed), 0.4) for seed in seeds)
    yield Seen(
        "disks of 40 %: ≥ 95 % of peak-hour bytes from the edge",
        f"{anywhere:.1%} from any appliance, {own:.1%} from the viewer's own site, where no static"
        f" placement by who knows the charts has more than {ceiling:.1%}",
        anywhere >= 0.95,
    )
    at_40 = ratio("peak_hit", "plan", "clairvoyant", at_40=True)
    any_40 = ratio("peak_any_hit", "plan", "clairvoyant", at_40=True)
    yield Seen(
        "disks of 40 %: ≥ 0.97 × clairvoyant's",
        f"{any_40:.3f} from any appliance, {at_40:.3f} from the own site; clairvoyant"
        f" {of('clairvoyant', 'peak_hit', at_40=True):.3f}, without bound on nights"
        f" {of('clairvoyant-free', 'peak_hit', at_40=True):.3f}",
        any_40 >= 0.97,
    )

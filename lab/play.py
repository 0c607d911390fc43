"""`nearcast bench play`: a crowd of virtual players watches a film of a CDN of its own.

They come from all regions at random moments (a Poisson process), each with its own connections, and
play to the end by their own clocks, which run faster than ours: who plays twice as fast asks twice
as often, and a second of ours in which nothing comes is two of theirs. The crowd is one process;
what it costs is told, because it shares the machine with what it measures.
"""

import asyncio
import random
import resource
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lab.bench import Bar, Row, alone
from lab.player import Open, Played, VirtualPlayer
from lab.rig import PLACES, REGIONS, standing
from media.api import NewSession, Session
from media.inventory import Package
from runtime.console import signed_in

_PLAY_S = 40.0  # as long a film takes where nobody says otherwise
_SITES = {name: site for name, site, _ in PLACES}
_FILES_A_PLAYER = 8  # sockets that are open or closing


@dataclass(frozen=True)
class Crowd:
    """How many come within `over_s` seconds; each loads `buffer_s` ahead, by a clock that runs
    `speed` times as fast as ours; None: so that a film takes 40 s, but no slower than ours."""

    players: int
    over_s: float
    speed: float | None
    buffer_s: float
    seed: int


@dataclass(frozen=True)
class Seen:
    """What they saw, what it cost to play them all, and what the appliances asked of the store
    meanwhile, by their own account."""

    played: Sequence[Played]
    speed: float
    cpu_s: float
    took_s: float
    store_bytes: int


async def bench_play(
    crowd: Crowd, film: Path | None, data: Path, film_s: float, tell: Callable[[str], None]
) -> list[Row]:
    """The rows; the CDN stands in `data` meanwhile. A film of `film_s` seconds is made if there is
    none. Raises Problem when the CDN does not stand."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (min(hard, max(soft, _FILES_A_PLAYER * crowd.players)), hard)
    )
    async with standing(data, film, film_s, tell, cuttable=False) as rig, signed_in(data) as api:
        assert rig.title is not None
        title_id = rig.title.title_id

        def opens(region: str) -> Open:
            async def open_session() -> Session:
                return await api.start_session(NewSession(title_id=title_id, region=region))

            return open_session

        tell(f"{crowd.players} players …")
        before = await rig.counters()
        began, used = time.monotonic(), _cpu_s()
        speed = crowd.speed or max(1.0, (rig.title.duration_s or 0.0) / _PLAY_S)
        played = await _watched(crowd, speed, opens)
        took_s, cpu_s = time.monotonic() - began, _cpu_s() - used
        after = await rig.counters()
    store_bytes = sum(
        after[name].fill_bytes_store - before[name].fill_bytes_store for name in before
    )
    return rows_of(Seen(played, speed, cpu_s, took_s, store_bytes))


async def _watched(crowd: Crowd, speed: float, opens: Callable[[str], Open]) -> list[Played]:
    """All of them, when the last has seen the end."""
    dice = random.Random(crowd.seed)
    moments = sorted(dice.uniform(0, crowd.over_s) for _ in range(crowd.players))
    packages: dict[str, Package] = {}
    players = []
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for at_s in moments:
            await asyncio.sleep(max(0.0, at_s - (time.monotonic() - began)))
            region = dice.choice(REGIONS)
            player = VirtualPlayer(
                region,
                opens(region),
                buffer_s=crowd.buffer_s,
                speed=speed,
                packages=packages,
            )
            players.append(player)
            group.create_task(player.play(), name="viewer")
    return [player.played for player in players]


def rows_of(seen: Seen) -> list[Row]:
    """What is told, and what of it is judged. Pure."""
    played, speed = seen.played, seen.speed
    errors = Counter(one.error.partition(":")[0] for one in played if one.error)
    startups_ms = sorted(1000 * one.startup_s / speed for one in played if one.startup_s)
    stalls_s = [stall for one in played for stall in one.stalls_s]
    play_s = sum(one.position_s for one in played)
    video_s = sum(seconds for one in played for seconds in one.rungs_s.values())
    bits = sum(rate * seconds for one in played for rate, seconds in one.rungs_s.items())
    most = sum(one.top_bps * sum(one.rungs_s.values()) for one in played)
    requests, bad = sum(one.requests for one in played), sum(one.failed_requests for one in played)
    by_appliance = sum((one.bytes_from for one in played), Counter[str]())
    by_site = Counter[str]()
    at_home = 0
    for one in played:
        for name, size in one.bytes_from.items():
            by_site[_SITES[name]] += size
            at_home += size if _SITES[name] == one.region else 0
    total = by_site.total()
    cost = seen.cpu_s / max(1e-9, play_s)
    none = Bar(None, of="ours")
    return [
        alone("players", "players", len(played), none),
        _noted(
            alone("failed", "of players", _share(errors.total(), len(played)), _at_most(0)),
            errors=dict(errors),
        ),
        alone("startup-p50", "ms", round(_percentile(startups_ms, 0.5), 1), none),
        alone("startup-p99", "ms", round(_percentile(startups_ms, 0.99), 1), none),
        _noted(
            alone("rebuffer", "of play time", _share(sum(stalls_s), play_s), _at_most(0.01)),
            stalls=len(stalls_s),
            players=sum(bool(one.stalls_s) for one in played),
            longest_s=round(max(stalls_s, default=0.0), 2),
        ),
        _noted(
            alone("bitrate", "kb/s of video", round(bits / max(1e-9, video_s) / 1000), none),
            seconds_by_kbps={
                str(round(rate / 1000)): round(sum(one.rungs_s.get(rate, 0.0) for one in played))
                for rate in sorted({rate for one in played for rate in one.rungs_s})
            },
        ),
        alone("bitrate-top", "of the top rung", _share(bits, most), none),
        alone("requests", "requests/s", round(requests / seen.took_s, 1), none),
        _noted(
            alone("errors", "of requests", _share(bad, requests), _at_most(0.001)),
            requests=requests,
            failed=bad,
            unsteered=sum(one.unsteered for one in played),
        ),
        alone("wrong-bytes", "bytes", sum(one.wrong_bytes for one in played), _at_most(0)),
        alone("store-bytes", "bytes", seen.store_bytes, _at_most(0)),
        _noted(
            alone("site-spread", "busiest ÷ mean", _spread(by_site), none),
            bytes_by_site=dict(sorted(by_site.items())),
            bytes_by_appliance=dict(sorted(by_appliance.items())),
        ),
        alone("own-site", "of bytes", _share(at_home, total), none),
        _noted(
            alone("player-cost", "ms CPU/s played", round(1000 * cost, 3), none),
            players_per_core=round(1 / cost) if cost else None,
            cpu_s=round(seen.cpu_s, 2),
            took_s=round(seen.took_s, 2),
            speed=speed,
        ),
    ]


def _at_most(value: float) -> Bar:
    return Bar(value, "less", "ours")


def _noted(row: Row, **notes: object) -> Row:
    return replace(row, notes=notes)


def _share(part: float, whole: float) -> float:
    return round(part / whole, 5) if whole else 0.0


def _spread(sizes: Counter[str]) -> float:
    """1.0: all the same. Sites that gave nothing count."""
    sites = len(set(_SITES.values()))
    return round(max(sizes.values(), default=0) * sites / max(1, sizes.total()), 3)


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

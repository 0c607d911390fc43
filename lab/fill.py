"""`nearcast bench fill`: files that nobody holds yet, from one origin that is the same for both.

Ours fills from it as from an S3 store, signatures and all, which a plain nginx does not ask for;
the peer fills from it as a proxy. The origin runs on the core of the load.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from lab import load, machine
from lab.bench import Bar, Effort, Reading, Row, alone, alternate, chosen, medians, row_of
from lab.client import fetch
from lab.herd import Herd, stampede
from lab.load import Load
from lab.ours import APPLIANCE, Ours, appliance
from lab.peers import require
from lab.peers.nginx import Origin, caching_nginx, origin
from lab.peers.varnish import varnish
from lab.sides import Side
from lab.site import APPLIANCES, acquainted, site, site_herd
from lab.stand import RENDITION
from lab.world import MadePackage, make_keys, write_package
from runtime.errors import Problem

_RunCase = Callable[[str, "FillStand"], Awaitable[list[Row]]]
_COLD_BYTES, _CONTENTS = 1024**2, 16
_MOST_PER_S = 2_000  # cold files that a side may want in a second; their names cost no disk
_MOST_NAMES = 90_000  # of a file list, with some to spare
_CONNECTIONS = 32
_HERD_BYTES, _HERD_CLIENTS = 4 * 1024**2, 500
_BUDGET_BYTES = 16 * 1024**3  # of both caches: neither is to evict meanwhile
_WARM_BYTES_PER_S = 1600 * 1024**2
_QUIET_S = 1.0  # fills that wrk has left behind end in their own time, not in the other's


@dataclass
class FillStand:
    """An origin and two caches with nothing in them."""

    folder: Path
    settings: dict[str, str]  # of our appliances
    package: MadePackage
    origin: Origin
    ours: Ours
    peer: Side
    effort: Effort
    server_core: int
    load_core: int

    def path(self, kind: str, number: int) -> str:
        """The path of a cold file, which is asked for once on each side."""
        return f"{RENDITION}/{kind}-{number}.m4s"


async def bench_fill(
    against: str, cases: Sequence[str], effort: Effort, tell: Callable[[str], None]
) -> list[Row]:
    """The rows of the cases (all, if none is named). Raises Problem for an unknown one, for a
    program that is missing, and when a side sends anything but what was asked for."""
    wanted = chosen(cases, CASES)
    if _MOST_PER_S * effort.seconds * effort.pairs > _MOST_NAMES:
        raise Problem("bad_request", "So many cold files fit into no package: ask for less.")
    require(against)
    rows: list[Row] = []
    tell("both sides")
    async with _standing(against, effort) as stand:
        for name, measure in wanted.items():
            tell(name)
            rows += await measure(name, stand)
    return rows


@asynccontextmanager
async def _standing(against: str, effort: Effort) -> AsyncIterator[FillStand]:
    with (
        machine.split() as (server_core, load_core),
        tempfile.TemporaryDirectory(prefix="nearcast-bench-") as name,
        _credentials(),
    ):
        folder = Path(name)
        store = folder / "objects"
        keys = make_keys(folder, APPLIANCE)
        package = write_package(store, {RENDITION: _files(effort)})
        async with origin(folder / "origin", load_core, store) as source:
            settings = {
                "store": f"s3://bucket?endpoint=http://127.0.0.1:{source.port}",
                "budget_bytes": str(_BUDGET_BYTES),
            }
            peer: AbstractAsyncContextManager[Side] = (
                caching_nginx(folder / "nginx", server_core, package, source.port, _BUDGET_BYTES)
                if against == "nginx"
                else varnish(
                    folder / "varnish", server_core, package, store, origin_port=source.port
                )
            )
            async with (
                appliance(folder, server_core, package, keys, settings=settings) as ours,
                peer as other,
            ):
                stand = FillStand(
                    folder, settings, package, source, ours, other, effort, server_core, load_core
                )
                for side in (ours, other):
                    await _verify(stand, side)
                yield stand


async def _verify(stand: FillStand, side: Side) -> None:
    """The side has brought files of both kinds, and holds the lists of the package from then on.
    Raises Problem when a byte is wrong."""
    for path in (stand.path("first", 0), stand.path("first", 1)):
        answer = await fetch(side.base, side.target(path))
        if answer.status != 200 or answer.body != stand.package.files[path]:
            raise Problem(
                "unavailable", f"{side.name} brings {path} wrongly ({answer.status}): not measured."
            )


async def _cold(name: str, stand: FillStand) -> list[Row]:
    """Distinct files of 1 MB, each asked for once."""
    count = _MOST_PER_S * stand.effort.seconds
    rounds = {stand.ours.name: 0, stand.peer.name: 0}

    async def read(side: Side) -> Reading:
        first = rounds[side.name] * count
        rounds[side.name] += 1
        paths = [stand.path("cold", number) for number in range(first, first + count)]
        targets = [side.target(path) for path in paths]
        given = Load(targets, _CONNECTIONS, stand.effort.seconds, once=True)
        await asyncio.to_thread(machine.warm_memory, _WARM_BYTES_PER_S * stand.effort.seconds)
        reading = await load.reading(side, given, stand.load_core)
        await asyncio.sleep(_QUIET_S)
        return reading

    readings = await alternate(
        stand.effort.pairs, lambda: read(stand.ours), lambda: read(stand.peer)
    )
    pairs = [(ours.requests_per_s, peer.requests_per_s) for ours, peer in readings]
    notes = {
        "connections": _CONNECTIONS,
        "ours": medians([ours for ours, _ in readings]),
        "peer": medians([peer for _, peer in readings]),
    }
    return [replace(row_of(name, "requests/s", pairs, stand.peer.name, Bar(0.8)), notes=notes)]


async def _herd(name: str, stand: FillStand) -> list[Row]:
    """500 clients ask for a cold 4 MB file at once; a file of its own for each reading."""
    number = 0
    asked: dict[str, list[int]] = {stand.ours.name: [], stand.peer.name: []}

    async def read(side: Side) -> Herd:
        nonlocal number
        path = stand.path("herd", number)
        number += 1
        herd = await stampede(side, side.target(path), stand.package.files[path], _HERD_CLIENTS)
        asked[side.name].append(stand.origin.asked(f"{stand.package.base}{path}"))
        return herd

    herds = await alternate(stand.effort.pairs, lambda: read(stand.ours), lambda: read(stand.peer))
    peer = stand.peer.name
    upstream = [
        (float(ours), float(other))
        for ours, other in zip(asked[stand.ours.name], asked[peer], strict=True)
    ]
    right = [(float(ours.right), float(other.right)) for ours, other in herds]
    times = [(ours.first_byte_ms, other.first_byte_ms) for ours, other in herds]
    return [
        _worst(f"{name}-upstream", "store requests", upstream, peer, Bar(1, "less", "ours")),
        _worst(f"{name}-right", "right bodies", right, peer, Bar(_HERD_CLIENTS, "more", "ours")),
        row_of(f"{name}-first-byte", "ms, median", times, peer, Bar(1.0, "less")),
    ]


async def _site(name: str, stand: FillStand) -> list[Row]:
    """The herd spread over three appliances of one site, which know each other."""
    cores = stand.server_core, stand.load_core
    keys = make_keys(stand.folder / "site", *APPLIANCES)
    upstream, right = [], []
    async with site(stand.folder / "site", cores, stand.package, keys, stand.settings) as members:
        await acquainted(members)
        for number in range(stand.effort.pairs):
            path = stand.path("site", number)
            data = stand.package.files[path]
            right.append(await site_herd(members, path, data, _HERD_CLIENTS))
            upstream.append(stand.origin.asked(f"{stand.package.base}{path}"))
    return [
        alone(f"{name}-upstream", "store requests", max(upstream), Bar(1, "less", "ours")),
        alone(f"{name}-right", "right bodies", min(right), Bar(_HERD_CLIENTS, "more", "ours")),
    ]


CASES: dict[str, _RunCase] = {"cold": _cold, "herd": _herd, "site": _site}


def _worst(case: str, unit: str, pairs: list[tuple[float, float]], peer: str, bar: Bar) -> Row:
    """A promise about every single herd: the worst one of ours is judged."""
    row = row_of(case, unit, pairs, peer, bar)
    worst = (max if bar.better == "less" else min)(ours for ours, _ in pairs)
    assert bar.value is not None
    kept = worst <= bar.value if bar.better == "less" else worst >= bar.value
    return replace(row, ours=worst, ok=kept)


def _files(effort: Effort) -> dict[str, bytes]:
    """Names of cold files, enough for every reading; a few contents behind them."""
    contents = [os.urandom(_COLD_BYTES) for _ in range(_CONTENTS)]
    count = _MOST_PER_S * effort.seconds * effort.pairs
    files = {f"cold-{n}.m4s": contents[n % _CONTENTS] for n in range(count)}
    herd = [os.urandom(_HERD_BYTES) for _ in range(2)]
    files |= {f"herd-{n}.m4s": herd[n % 2] for n in range(2 * effort.pairs)}
    files |= {f"site-{n}.m4s": herd[n % 2] for n in range(effort.pairs)}
    return files | {"first-0.m4s": contents[0], "first-1.m4s": herd[0]}


@contextmanager
def _credentials() -> Iterator[None]:
    """Names and keys for boto3 in our children's environment: any will do, the origin asks for
    none. A proxy of the machine is not to stand between."""
    given = {
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

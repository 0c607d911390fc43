"""Hot hits while others read what the page cache has lost: the disk must not be waited for by those
who do not need it.

A side of its own each, with big files beside small ones; nginx reads by a pool of threads. While 64
connections read the big files, a thread of ours drops their pages from the page cache again and
again, and wrk measures the small ones.
"""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

from lab import load
from lab.bench import Bar, Reading, Row, alternate, medians, row_of, skipped
from lab.load import Found, Load
from lab.ours import APPLIANCE, appliance
from lab.peers.nginx import nginx
from lab.sides import Side
from lab.stand import RENDITION, Stand, held, verify
from lab.world import make_keys, make_package

_COLD_FILES, _COLD_BYTES, _COLD_CONNECTIONS = 64, 4 * 1024**2, 64
_HOT_FILES, _HOT_BYTES, _HOT_CONNECTIONS = 32, 64 * 1024, 32
_UNIT, _BAR = "ms, p99", Bar(1.2, "less")
_DROP_EVERY_S = 0.002
_LEAD_S = 0.5


async def cold_pages(name: str, stand: Stand) -> list[Row]:
    """p99 of hot hits beside cold readers, ours and nginx with `aio threads`."""
    if stand.peer.name != "nginx":
        return [skipped(name, _UNIT, stand.peer.name, _BAR, "it keeps its objects in memory")]
    folder = stand.folder / "cold"
    sizes = {f"hot-{n}.m4s": _HOT_BYTES for n in range(_HOT_FILES)}
    sizes |= {f"cold-{n}.m4s": _COLD_BYTES for n in range(_COLD_FILES)}
    keys, store = make_keys(folder, APPLIANCE), folder / "store"
    package = make_package(store, sizes, (RENDITION,))
    core = stand.server_core
    async with (
        appliance(folder, core, package, keys) as ours,
        nginx(folder / "nginx", core, package, store) as peer,
    ):
        places: dict[str, Path] = {
            ours.name: folder / "appliances" / APPLIANCE / "cache",
            peer.name: package.folder,
        }
        for side in (ours, peer):
            await verify(side, package)
        await held(ours, package)
        for place in places.values():
            with _dropping(place) as files:
                if not await asyncio.to_thread(_can_drop, files):
                    why = "this file system keeps its pages in memory"
                    return [skipped(name, _UNIT, peer.name, _BAR, why)]
        cold_rates: dict[str, list[float]] = {ours.name: [], peer.name: []}

        async def read(side: Side) -> Reading:
            hot = [side.target(f"{RENDITION}/hot-{n}.m4s") for n in range(_HOT_FILES)]
            cold = [side.target(f"{RENDITION}/cold-{n}.m4s") for n in range(_COLD_FILES)]
            seconds = stand.effort.seconds
            with _dropping(places[side.name]):
                beside = asyncio.create_task(
                    load.run(side, Load(cold, _COLD_CONNECTIONS, seconds + 1), stand.load_core),
                    name="cold readers",
                )
                await asyncio.sleep(_LEAD_S)
                reading = await stand.read(side, Load(hot, _HOT_CONNECTIONS, seconds))
                found: Found = await beside
            cold_rates[side.name].append(found.bytes / found.duration_s / 1e6)
            return reading

        readings = await alternate(stand.effort.pairs, lambda: read(ours), lambda: read(peer))
    row = row_of(
        name, _UNIT, [(one.p99_ms, other.p99_ms) for one, other in readings], peer.name, _BAR
    )
    notes = {
        "ours": medians([one for one, _ in readings]),
        "peer": medians([other for _, other in readings]),
        "cold_mb_per_s": round(median(cold_rates[ours.name])),
        "peer_cold_mb_per_s": round(median(cold_rates[peer.name])),
    }
    return [replace(row, notes=notes)]


@contextmanager
def _dropping(place: Path) -> Iterator[list[int]]:
    """A thread drops the pages of the folder's big files while the block lasts; gives their
    descriptors."""
    files = _open_all(place)
    ending = threading.Event()

    def drop() -> None:
        for file in files:
            os.fdatasync(file)  # pages that are not on the disk yet cannot be dropped
        while not ending.wait(_DROP_EVERY_S):
            for file in files:
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)

    thread = threading.Thread(target=drop, name="drop-pages")
    thread.start()
    try:
        yield files
    finally:
        ending.set()
        thread.join()
        for file in files:
            os.close(file)


def _open_all(place: Path) -> list[int]:
    """Descriptors of the big files. Ours move to another place once the disk has them."""
    while True:
        files: list[int] = []
        try:
            for path in sorted(place.rglob("cold-*")):
                files.append(os.open(path, os.O_RDONLY))
        except FileNotFoundError:
            for file in files:
                os.close(file)
        else:
            return files


def _can_drop(files: list[int]) -> bool:
    """Within a while, the first page of each file is gone."""
    page = bytearray(4096)
    for _ in range(500):
        left = 0
        for file in files:
            try:
                left += os.preadv(file, [page], 0, os.RWF_NOWAIT) > 0
            except BlockingIOError:
                pass
        if not left:
            return True
        threading.Event().wait(0.01)
    return False

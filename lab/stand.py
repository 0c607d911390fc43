"""What `bench serve` measures on: a package, an appliance and a peer that both hold it in memory,
and the proof, before anything is measured, that both send the right bytes."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lab import load, machine
from lab.bench import Effort, Reading, alternate
from lab.certificate import make_certificate
from lab.client import ask, connect
from lab.load import Load
from lab.ours import APPLIANCE, Ours, appliance
from lab.peers.nginx import WAYS, nginx
from lab.peers.varnish import varnish
from lab.sides import Side
from lab.world import MadePackage, make_keys, make_package
from runtime.errors import Problem

RENDITION = "v-avc-720"

# Name, bytes and number of the files. Several of each, so that no single file is all there is.
_FILES = (("1k", 1024, 16), ("64k", 64 * 1024, 32), ("1m", 1024**2, 16), ("4m", 4 * 1024**2, 8))
# Segments of 4 s as a ladder has them, audio at 128 kb/s first: players dwell on the upper rungs.
_LADDER_BPS = (128_000, 400_000, 800_000, 1_600_000, 3_200_000, 5_800_000, 5_800_000)
_SEGMENT_S = 4
_LADDER_SEGMENTS = 6
_HELD_S = 10.0


@dataclass
class Stand:
    """Both sides, up and warm; `peers` is one program by the ways it is set up."""

    folder: Path
    package: MadePackage
    effort: Effort
    server_core: int
    load_core: int
    ours: Ours
    peers: dict[str, Side]

    def paths(self, kind: str) -> list[str]:
        """The files of a kind: a size, or `abr`."""
        start = f"{RENDITION}/{kind}-"
        return [path for path in self.package.files if path.startswith(start)]

    async def read(self, side: Side, given: Load) -> Reading:
        """One reading of a side."""
        return await load.reading(side, given, self.load_core)

    @property
    def peer(self) -> Side:
        """The peer, in the first of its ways."""
        return next(iter(self.peers.values()))

    async def pairs(
        self, load_of: Callable[[Side], Load], worth: Callable[[Reading], float]
    ) -> tuple[str, list[tuple[Reading, Reading]]]:
        """Readings in alternating pairs, ours and the peer's, in that of its ways which was worth
        more in a reading that does not count. Returns the way, too."""
        ours = load_of(self.ours)
        loads = {way: load_of(side) for way, side in self.peers.items()}
        await self.read(self.ours, ours)
        tried = {way: worth(await self.read(self.peers[way], loads[way])) for way in loads}
        way = max(tried, key=tried.__getitem__)
        return way, await alternate(
            self.effort.pairs,
            lambda: self.read(self.ours, ours),
            lambda: self.read(self.peers[way], loads[way]),
        )


@asynccontextmanager
async def standing(against: str, effort: Effort) -> AsyncIterator[Stand]:
    """A stand against nginx or varnish; both sides have sent every file of it rightly. Raises
    Problem."""
    with (
        machine.split() as (server_core, load_core),
        tempfile.TemporaryDirectory(prefix="nearcast-bench-") as name,
    ):
        folder = Path(name)
        store = folder / "store"
        keys = make_keys(folder, APPLIANCE)
        package = make_package(store, _sizes(), (RENDITION,))
        certificate = make_certificate(folder / "bench.pem")
        async with appliance(folder, server_core, package, keys, certificate=certificate) as ours:
            suite = await ciphersuite(ours)
            async with AsyncExitStack() as up:
                peers: dict[str, Side] = {}
                if against == "nginx":
                    for way in WAYS:
                        place = folder / f"nginx-{len(peers)}"
                        peers[way] = await up.enter_async_context(
                            nginx(
                                place, server_core, package, store,
                                certificate=certificate, ciphersuite=suite, way=way,
                            )
                        )  # fmt: skip
                else:
                    peers[""] = await up.enter_async_context(
                        varnish(folder / against, server_core, package, store)
                    )
                stand = Stand(folder, package, effort, server_core, load_core, ours, peers)
                for side in (ours, *peers.values()):
                    await verify(side, package)
                await held(ours, package)
                yield stand


async def verify(side: Side, package: MadePackage) -> None:
    """The side has sent every file of the package, ranges of some, and one over TLS, and each byte
    was right. Raises Problem `unavailable` otherwise: wrong work is not measured."""
    reader, writer = await connect(side.base)
    try:
        for path, data in package.files.items():
            answer = await ask(reader, writer, side.target(path))
            if answer.status != 200 or answer.body != data:
                raise _wrong(side, path, answer.status)
            if len(data) > 100:
                answer = await ask(reader, writer, side.target(path), span="10-99")
                if answer.status != 206 or answer.body != data[10:100]:
                    raise _wrong(side, f"a range of {path}", answer.status)
    except (OSError, EOFError) as error:
        raise Problem("unavailable", f"{side.name} breaks a connection: {error}") from None
    finally:
        writer.close()
    if side.tls_base:
        path = f"{RENDITION}/64k-0.m4s"
        reader, writer = await connect(side.tls_base)
        try:
            answer = await ask(reader, writer, side.target(path))
        finally:
            writer.close()
        if answer.body != package.files[path]:
            raise _wrong(side, f"{path} over TLS", answer.status)


async def held(side: Side, package: MadePackage) -> None:
    """Every file is a hit by now: what was filled a moment ago has landed. Raises Problem."""
    deadline = time.monotonic() + _HELD_S
    reader, writer = await connect(side.base)
    try:
        for path in package.files:
            while True:
                answer = await ask(reader, writer, side.target(path), method="HEAD")
                if "hit" in answer.fields.get("cache-status", ""):
                    break
                if time.monotonic() > deadline:
                    raise Problem("unavailable", f"{side.name} does not keep {path}.")
                await asyncio.sleep(0.05)
    finally:
        writer.close()


async def ciphersuite(side: Side) -> str:
    """What the side agrees on with OpenSSL's client, as nginx wants it named; empty without TLS."""
    if not side.tls_base:
        return ""
    _, writer = await connect(side.tls_base)
    try:
        cipher = writer.get_extra_info("cipher")
        return str(cipher[0]) if cipher and cipher[1] == "TLSv1.3" else ""
    finally:
        writer.close()


def _sizes() -> dict[str, int]:
    sizes = {f"{kind}-{n}.m4s": size for kind, size, count in _FILES for n in range(count)}
    for rung, bps in enumerate(_LADDER_BPS):
        for number in range(_LADDER_SEGMENTS):
            sizes[f"abr-{rung}-{number}.m4s"] = bps * _SEGMENT_S // 8 + 1000 * number
    return sizes


def _wrong(side: Side, what: str, status: int) -> Problem:
    return Problem("unavailable", f"{side.name} sends {what} wrongly ({status}): not measured.")

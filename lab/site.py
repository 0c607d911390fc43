"""A site of three appliances that all want the same cold file at once: the store is asked once.

They are real appliances that report to a real steering, and have their peers from its plans; there
is nothing in the plans to hold, so that whatever comes, comes because it was asked for.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp

from lab.herd import stampede
from lab.machine import pinned
from lab.ours import Ours, appliance
from lab.world import MadePackage
from media.keys import Identity
from runtime.errors import Problem
from runtime.supervise import Daemon

APPLIANCES = ("north-1", "north-2", "north-3")
_PEERS_KNOWN_S = 20.0
_TRY_AGAIN_S = 0.1


@asynccontextmanager
async def site(
    folder: Path,
    cores: tuple[int, int],
    package: MadePackage,
    keys: dict[str, Identity],
    settings: Mapping[str, str],
) -> AsyncIterator[list[Ours]]:
    """Three appliances of one site on the first core, steering on the second. Raises Problem."""
    server_core, load_core = cores
    argv = [sys.executable, "-m", "steering", f"--data={folder}", "--log-level=error"]
    argv += ["--set=listen=127.0.0.1:0", "--set=report_interval_s=1"]
    argv += ["--set=control_plane_url=http://127.0.0.1:9"]  # no packages, so nothing is planned
    with (folder / "steering.log").open("ab") as log:
        steering = Daemon("steering", pinned(load_core, argv), log=log)
        try:
            urls = await steering.start()
            async with AsyncExitStack() as stack:
                made = []
                for number, name in enumerate(APPLIANCES, start=1):
                    own = {
                        **settings,
                        "listen": f"127.0.1.{number}:0",
                        "steering_url": urls["http"],
                        "report_interval_s": "1",
                        "plan_poll_s": "1",
                    }
                    entered = appliance(folder, server_core, package, keys, name=name, settings=own)
                    made.append(await stack.enter_async_context(entered))
                yield made
        finally:
            await steering.stop()


async def acquainted(members: list[Ours]) -> None:
    """Each appliance has all others as peers. Raises Problem when it never comes to that."""
    try:
        async with asyncio.timeout(_PEERS_KNOWN_S), aiohttp.ClientSession() as session:
            for member in members:
                while True:
                    async with session.get(f"{member.admin}/v1/state") as answer:
                        if len((await answer.json())["peers"]) == len(members) - 1:
                            break
                    await asyncio.sleep(_TRY_AGAIN_S)
    except TimeoutError:
        raise Problem("unavailable", "The appliances have not heard of each other.") from None


async def site_herd(members: list[Ours], path: str, data: bytes, clients: int) -> int:
    """Clients, spread over the appliances, ask for a file at once; how many got the right one."""
    shares = [clients // len(members) + (n < clients % len(members)) for n in range(len(members))]
    herds = await asyncio.gather(
        *(
            stampede(member, member.target(path), data, share)
            for member, share in zip(members, shares, strict=True)
        )
    )
    return sum(herd.right for herd in herds)

"""A site of three appliances that all want the same cold file at once: the store is asked once.

They are real appliances that report to a real steering, and have their peers from its plans; there
is nothing in the plans to hold, so that whatever comes, comes because it was asked for.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from lab.client import fetch
from lab.herd import stampede
from lab.machine import pinned
from lab.ours import Ours, appliance
from lab.peers.nginx import Origin
from lab.world import MadePackage
from media.keys import Identity
from runtime.errors import Problem
from runtime.supervise import Daemon

APPLIANCES = ("north-1", "north-2", "north-3")
_PEERS_KNOWN_S = 20.0
_TRY_AGAIN_S = 0.5


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


async def acquainted(
    members: list[Ours], origin: Origin, package: MadePackage, paths: list[str]
) -> None:
    """Each appliance fills from the others by now. Seen by what they do: a file that one of them
    holds is brought to the next without the store. Each try takes one of the cold `paths`. Raises
    Problem when it never comes to that."""
    deadline = time.monotonic() + _PEERS_KNOWN_S
    spare = iter(paths)
    for number, asker in enumerate(members):
        holder = members[number - 1]
        while True:
            path = next(spare, None)
            if path is None or time.monotonic() > deadline:
                raise Problem("unavailable", f"{APPLIANCES[number]} has heard of no peers.")
            for member in (holder, asker):
                await fetch(member.base, member.target(path))
            if origin.asked(f"{package.base}{path}") == 1:
                break
            await asyncio.sleep(_TRY_AGAIN_S)


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

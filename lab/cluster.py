"""A Dask cluster on this machine: a scheduler, and workers that have a core each."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from runtime.child import die_with_parent
from runtime.errors import Problem

_WAIT_S = 30.0


@asynccontextmanager
async def cluster(folder: Path, workers: int) -> AsyncIterator[str]:
    """The scheduler's address; that many workers are there, each pinned to a core. Raises Problem
    `unavailable`."""
    from distributed import Client

    folder.mkdir()
    cores = sorted(os.sched_getaffinity(0))
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{sock.getsockname()[1]}"
    host = ["--host", "127.0.0.1", "--no-dashboard"]
    async with AsyncExitStack() as stack:
        port = address.rpartition(":")[2]
        await stack.enter_async_context(
            _running(["distributed.cli.dask_scheduler", *host, "--port", port, "--no-show"], cores)
        )
        for number in range(workers):
            argv = ["distributed.cli.dask_worker", address, *host, "--no-nanny", "--nthreads", "1"]
            argv += ["--local-directory", str(folder)]
            core = [cores[number % len(cores)]]
            await stack.enter_async_context(_running(argv, core))
        try:
            async with Client(address, asynchronous=True, timeout=f"{_WAIT_S}s") as client:
                await client.wait_for_workers(workers, timeout=_WAIT_S)
        except (OSError, TimeoutError) as error:
            raise Problem("unavailable", f"The cluster did not come up: {error}.") from None
        yield address


@asynccontextmanager
async def _running(argv: list[str], cores: list[int]) -> AsyncIterator[None]:
    parent = os.getpid()

    def prepare() -> None:
        die_with_parent(parent)
        os.sched_setaffinity(0, cores)

    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *argv,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        preexec_fn=prepare,
    )
    try:
        yield
    finally:
        process.kill()
        await process.wait()

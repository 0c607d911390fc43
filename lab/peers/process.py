"""Servers of others as children of the bench."""

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from runtime.child import die_with_parent
from runtime.errors import Problem

_READY_S = 10.0


@asynccontextmanager
async def serving(
    name: str, argv: list[str], port: int, log: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A server of others as our child: it answers on the loopback port, and ends with the block.
    Raises Problem `unavailable` with its last words."""
    parent = os.getpid()
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=lambda: die_with_parent(parent),
        )
    try:
        await _answers(name, process, port, log)
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(_READY_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """So many of them, each another: one that was let go may be given again at once."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


async def _answers(name: str, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    """Such a server says nothing when it is ready, so it is asked until it takes a connection."""
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline and process.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
    words = " ".join(log.read_text().split())[-300:]
    raise Problem("unavailable", f"{name} does not start: {words}")

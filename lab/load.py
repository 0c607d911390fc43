"""The load: wrk on a core of its own, and what it found, in numbers.

wrk asks again as soon as it is answered, so its rate is what the server can do with so many
connections, and its latencies are those under that load.
"""

import asyncio
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.bench import Reading
from lab.machine import cpu_s, pinned
from lab.sides import Side
from runtime.errors import Problem
from runtime.programs import installed

_SCRIPT = Path(__file__).with_name("load.lua")
_LATE_S = 20.0  # wrk ends by itself after its seconds; a server that hangs must not hold us


@dataclass(frozen=True)
class Load:
    """What is asked: targets in turn over so many connections, for so long. `once`: each target a
    single time, and then no more."""

    targets: Sequence[str]
    connections: int
    seconds: int
    tls: bool = False
    once: bool = False


@dataclass(frozen=True)
class Found:
    """What wrk reports. `requests` had answers; times in seconds. `list_s` is the time in which a
    `once` list was gone through, 0 when it was not."""

    requests: int
    bytes: int
    duration_s: float
    list_s: float
    p50_ms: float
    p99_ms: float
    status_errors: int
    socket_errors: int

    @property
    def lasted_s(self) -> float:
        """Seconds in which something was asked: wrk waits for its time even when a list is done."""
        return self.list_s or self.duration_s


def parse(output: str) -> Found:
    """What the script's last line says. Raises ValueError when there is none."""
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if not lines:
        raise ValueError(f"wrk said nothing: {output[-300:]}")
    said = json.loads(lines[-1])
    return Found(
        requests=said["requests"],
        bytes=said["bytes"],
        duration_s=said["duration_us"] / 1e6,
        list_s=said["list_us"] / 1e6,
        p50_ms=said["p50_us"] / 1000,
        p99_ms=said["p99_us"] / 1000,
        status_errors=said["status_errors"],
        socket_errors=said["socket_errors"],
    )


async def run(side: Side, load: Load, core: int) -> Found:
    """One run of wrk. Raises Problem `unavailable` when an answer was an error: what was served
    then is not the work that was to be measured."""
    base = side.tls_base if load.tls else side.base
    with tempfile.NamedTemporaryFile("w", prefix="nearcast-targets-") as file:
        environment = dict(os.environ)
        if len(load.targets) > 1:
            file.write("\n".join(load.targets) + "\n")
            file.flush()
            environment["NEARCAST_TARGETS"] = file.name
            if load.once:
                environment["NEARCAST_ONCE"] = "1"
        argv = [
            installed("wrk", "wrk"), "-t1", f"-c{load.connections}", f"-d{load.seconds}s",
            "--timeout=10s", f"-s{_SCRIPT}", f"{base}{load.targets[0].partition(' ')[0]}",
        ]  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            *pinned(core, argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
        )
        try:
            async with asyncio.timeout(load.seconds + _LATE_S):
                output, _ = await process.communicate()
        except TimeoutError:
            raise Problem("unavailable", f"{side.name} hangs under load.") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    try:
        found = parse(output.decode("utf-8", "replace"))
    except ValueError as error:
        raise Problem("unavailable", str(error)) from None
    if found.status_errors or found.socket_errors or not found.requests:
        raise Problem(
            "unavailable",
            f"{side.name} gave {found.requests} answers, {found.status_errors} of them errors,"
            f" and {found.socket_errors} connections failed: that is not measured.",
        )
    return found


async def reading(side: Side, load: Load, core: int) -> Reading:
    """One run, with what the server's processes used for it."""
    pids = side.pids()
    before = cpu_s(pids)
    found = await run(side, load, core)
    used_s = cpu_s(pids) - before
    return Reading(
        requests_per_s=found.requests / found.lasted_s,
        p50_ms=found.p50_ms,
        p99_ms=found.p99_ms,
        cpu_s_per_gb=used_s / (found.bytes / 1e9),
        busy=used_s / found.lasted_s,
    )

"""Ten thousand viewers who do nothing: what they cost in memory, and that others are served."""

import asyncio
import resource
import socket
from contextlib import ExitStack
from dataclasses import replace
from urllib.parse import urlsplit

from lab.bench import Bar, Row, row_of
from lab.load import Load
from lab.machine import resident_bytes
from lab.ours import Ours
from lab.sides import Side
from lab.stand import Stand
from runtime.errors import Problem

_IDLE = 10_000
_PER_ADDRESS = 1_000  # half of what an appliance grants one address
_SAMPLE_EVERY = 100
_TIMEOUT_S = 10.0
_SPARE_FILES = 1_000
_MB = 1e6


async def idle(name: str, stand: Stand) -> list[Row]:
    """Memory of the worker (of all processes of the peer) with 10,000 idle connections, each of
    which has been answered once; then hits beside them, and the idle ones are asked again."""
    _allow_files(_IDLE + _SPARE_FILES)
    path = stand.paths("64k")[0]
    memory, rates = [], []
    for side in (stand.ours, stand.peer):
        with ExitStack() as stack:
            lines = await asyncio.to_thread(_open, stack, side, path)
            memory.append(_memory(side) / _MB)
            given = Load([side.target(path)], 32, stand.effort.seconds)
            rates.append((await stand.read(side, given)).requests_per_s)
            await asyncio.to_thread(_ask_again, lines[::_SAMPLE_EVERY], side, path)
    bar = Bar(100, "less", "ours")
    row = row_of(name, "MB resident", [(memory[0], memory[1])], stand.peer.name, bar)
    told = {
        "idle_connections": _IDLE,
        "hits_per_s_beside": round(rates[0]),
        "peer_hits_per_s_beside": round(rates[1]),
    }
    return [replace(row, notes=told)]


def _open(stack: ExitStack, side: Side, path: str) -> list[socket.socket]:
    """The connections, from ten addresses of loopback; each has asked once, by HEAD."""
    where = urlsplit(side.base)
    assert where.hostname is not None and where.port is not None
    lines = []
    for number in range(_IDLE):
        local = (f"127.0.9.{1 + number // _PER_ADDRESS}", 0)
        line = socket.create_connection((where.hostname, where.port), _TIMEOUT_S, local)
        stack.callback(line.close)
        lines.append(line)
    _ask_again(lines, side, path)
    return lines


def _ask_again(lines: list[socket.socket], side: Side, path: str) -> None:
    """Each connection is answered. Raises Problem when one is not."""
    request = f"HEAD {side.target(path)} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
    for line in lines:
        try:
            line.sendall(request)
            head = line.recv(4096)
        except OSError as error:
            raise Problem("unavailable", f"{side.name} drops the idle: {error}.") from None
        if b" 200 " not in head[:16]:
            raise Problem("unavailable", f"{side.name} does not serve who was idle.")


def _memory(side: Side) -> int:
    if isinstance(side, Ours):
        return resident_bytes(side.worker())
    return sum(resident_bytes(pid) for pid in side.pids())


def _allow_files(count: int) -> None:
    """So many descriptors for us. Raises Problem when the machine does not grant them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        if hard < count:
            raise Problem("bad_settings", f"{count} open files are needed: ulimit -n {count}.")
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))

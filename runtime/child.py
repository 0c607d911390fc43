"""Programs that we run: one argv, its own process group, bounds, and an end that is certain.

The child gets SIGKILL when our process dies, leads its own group so that its children go with
it, and inherits resource limits. A failure carries the command in a form that a shell takes.
"""

import asyncio
import ctypes
import os
import resource
import shlex
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_STDERR_TAIL_BYTES = 8192
_MAX_LINE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """What a child may use. Memory is address space, and file the largest single one."""

    timeout_s: float = 3600.0
    memory_bytes: int = 8 * 1024**3
    file_bytes: int = 1 << 40


class ChildFailed(Exception):
    """The program ended with another code than 0, or was ended by a limit."""

    def __init__(self, argv: Sequence[str], code: int | None, stderr: str) -> None:
        self.argv = list(argv)
        self.code = code
        self.stderr = stderr
        last = stderr.strip().splitlines()[-1:] or ["no message"]
        super().__init__(f"{Path(argv[0]).name} failed ({code}): {last[0]}")

    @property
    def command(self) -> str:
        """The command, to paste into a shell."""
        return shlex.join(self.argv)


class ChildTimeout(ChildFailed):
    """The program took longer than its limit, and was ended."""


async def run_child(
    argv: Sequence[str],
    *,
    limits: Limits = Limits(),
    cwd: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    max_output_bytes: int = 16 * 1024 * 1024,
) -> bytes:
    """Runs the program to its end and returns its standard output (nothing when `on_line` gets
    its lines instead). Raises ChildFailed. Cancelling ends the program's whole group first."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
        start_new_session=True,
        preexec_fn=_prepare(limits, os.getpid()),
        limit=_MAX_LINE_BYTES,
    )
    assert process.stdout is not None and process.stderr is not None
    tail = bytearray()
    errors = asyncio.create_task(_keep_tail(process.stderr, tail), name="child-stderr")
    output = b""
    try:
        async with asyncio.timeout(limits.timeout_s):
            if on_line is None:
                output = await _read_all(process.stdout, max_output_bytes)
                if len(output) > max_output_bytes:
                    raise ChildFailed(argv, None, f"printed more than {max_output_bytes} bytes")
            else:
                while line := await _read_line(process.stdout, argv):
                    on_line(line.decode("utf-8", "replace").rstrip())
            code = await process.wait()
            await errors
    except TimeoutError:
        raise ChildTimeout(argv, None, f"ended after {limits.timeout_s:.0f} s") from None
    finally:
        _end_group(process)
        errors.cancel()
        await process.wait()
    if code != 0:
        raise ChildFailed(argv, code, tail.decode("utf-8", "replace"))
    return output


def die_with_parent(parent_pid: int) -> None:
    """The calling process gets SIGKILL when the thread that started it ends (prctl(2))."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:  # it ended before we asked
        os._exit(1)


def _prepare(limits: Limits, parent_pid: int) -> Callable[[], None]:
    def in_child() -> None:
        die_with_parent(parent_pid)
        _limit(resource.RLIMIT_AS, limits.memory_bytes)
        _limit(resource.RLIMIT_FSIZE, limits.file_bytes)
        _limit(resource.RLIMIT_CORE, 0)

    return in_child


def _limit(kind: int, most: int) -> None:
    """So much at most, and never more than we may use: a hard limit can only be lowered."""
    _, hard = resource.getrlimit(kind)
    allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (allowed, allowed))


async def _read_line(stream: asyncio.StreamReader, argv: Sequence[str]) -> bytes:
    """The next line, nothing at the end."""
    try:
        return await stream.readline()
    except ValueError:
        words = f"printed a line of more than {_MAX_LINE_BYTES} bytes"
        raise ChildFailed(argv, None, words) from None


async def _read_all(stream: asyncio.StreamReader, max_bytes: int) -> bytes:
    """All that comes, or as soon as it is too much, more than `max_bytes`."""
    held = bytearray()
    while len(held) <= max_bytes and (piece := await stream.read(65536)):
        held += piece
    return bytes(held)


async def _keep_tail(stream: asyncio.StreamReader, tail: bytearray) -> None:
    while piece := await stream.read(4096):
        tail += piece
        del tail[:-_STDERR_TAIL_BYTES]


def _end_group(process: asyncio.subprocess.Process) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass

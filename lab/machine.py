"""The machine under a bench: what it is, which core a program runs on, and what processes use."""

import mmap
import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runtime.programs import installed


def describe() -> dict[str, Any]:
    """What figures depend on; no name of the host and no path of it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 1024**3, 1),
        "kernel": platform.release().partition("-")[0],
        "architecture": platform.machine(),
        "python": platform.python_version(),
    }


@contextmanager
def split() -> Iterator[tuple[int, int]]:
    """The core of the server and the one of the load: different ones where there are two. What the
    bench does by itself is load, too, so meanwhile we run on that one."""
    allowed = os.sched_getaffinity(0)
    server, load = min(allowed), max(allowed)
    os.sched_setaffinity(0, {load})
    try:
        yield server, load
    finally:
        os.sched_setaffinity(0, allowed)


def pinned(core: int, argv: Iterable[str]) -> list[str]:
    """The command, bound to a core with all its children. Raises Problem `missing_program`."""
    return [installed("taskset", "util-linux"), "-c", str(core), *argv]


def family(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for parent in found:
        try:
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text()
        except OSError:  # it has ended
            continue
        found += [int(child) for child in children.split()]
    return found


def cpu_s(pids: Iterable[int]) -> float:
    """Seconds of CPU that all threads of the processes have used; ended ones count nothing.

    By the scheduler's own count in ns (schedstat): /proc/PID/stat counts hundredths of a second,
    too coarse for a server that uses a tenth of its core for a second.
    """
    used_ns = 0
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                used_ns += int(thread.read_text().split()[0])
            except (OSError, IndexError):  # it has ended
                continue
    return used_ns / 1e9


def resident_bytes(pid: int) -> int:
    """Memory of a process, shared pages divided by their sharers (Pss, proc(5))."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def warm_memory(size: int) -> None:
    """The machine has had so much memory in its hands a moment ago, or a quarter of what is free.
    A virtual machine gives free memory back to its host, and what is then wanted anew costs a
    millisecond a megabyte: the first to fill a cache would pay for it."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    with mmap.mmap(-1, min(size, free // 4)) as memory:
        for start in range(0, len(memory), mmap.PAGESIZE):
            memory[start] = 1


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

"""Half an hour of churn on one appliance: memory and descriptors stay flat. `make soak`.

Clients ask for more than the cache holds, so files come and go all the time. Every ten seconds the
resident memory and the open descriptors of parent, keeper and workers are noted; the second half of
the time must not be above the first by more than noise. Writes docs/soak.md.
"""

import asyncio
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.appliance.churn import BUDGET_BYTES, SIZES, Churn
from tests.appliance.conftest import Standing, children_of
from tests.packages import make_keys, make_package

PAGE = Path(__file__).parent.parent / "docs" / "soak.md"
SECONDS = float(os.environ.get("NEARCAST_SOAK_S", "1800"))
EVERY_S = 10.0
CLIENTS = 24
MOST_GROWTH = 1.05  # of the medians of both halves
MOST_MORE_FILES = 10


@dataclass
class Process:
    """What was seen of one process."""

    name: str
    pid: int
    resident_mb: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    def look(self) -> None:
        """Notes one reading."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        self.resident_mb.append(int(line.split()[1]) / 1024)
        self.descriptors.append(len(list(Path(f"/proc/{self.pid}/fd").iterdir())))

    def is_flat(self) -> bool:
        """The second half is no larger than the first, the first minute left out."""
        start = min(6, len(self.resident_mb) // 4)
        memory, files = self.resident_mb[start:], self.descriptors[start:]
        half = len(memory) // 2
        return (
            median(memory[half:]) <= MOST_GROWTH * median(memory[:half])
            and median(files[half:]) <= median(files[:half]) + MOST_MORE_FILES
        )


async def soak(folder: Path) -> tuple[list[Process], Churn]:
    """The processes as they were seen, and what the clients had."""
    standing = Standing(folder, make_keys(folder, "north-1"))
    standing.settings = {"budget_bytes": str(BUDGET_BYTES), "workers": "2"}
    package = make_package(standing.store, SIZES)
    await standing.start()
    assert standing.daemon is not None and standing.daemon.pid is not None
    parts = children_of(standing.daemon.pid)
    names = ["parent", "keeper", *(f"worker {number}" for number in range(len(parts) - 1))]
    processes = [
        Process(name, pid) for name, pid in zip(names, [standing.daemon.pid, *parts], strict=True)
    ]
    churn = Churn(standing, package, 1)
    until = time.monotonic() + SECONDS
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(churn.client()) for _ in range(CLIENTS)]
        while time.monotonic() < until:
            await asyncio.sleep(min(EVERY_S, SECONDS / 20))
            for process in processes:
                process.look()
        for task in tasks:
            task.cancel()
    await standing.stop()
    return processes, churn


def page(processes: list[Process], churn: Churn) -> str:
    """The figures, as a page."""
    lines = [
        "# Soak",
        "",
        f"Written by `make soak`: {SECONDS / 60:.0f} minutes, {CLIENTS} clients, "
        f"{churn.seen['right']:,} right answers, {churn.seen['refused']:,} refused, none wrong; "
        f"files of {sum(SIZES.values()) / 1e6:.0f} MB in a cache of {BUDGET_BYTES / 1e6:.0f} MB.",
        "",
        "| process | resident MB: at 1 minute, in the middle, at the end | most | descriptors |",
        "|---|---|---|---|",
    ]
    for one in processes:
        memory = one.resident_mb
        early, middle, end = memory[min(6, len(memory) - 1)], memory[len(memory) // 2], memory[-1]
        lines.append(
            f"| {one.name} | {early:.1f}, {middle:.1f}, {end:.1f} | {max(memory):.1f} "
            f"| {min(one.descriptors)}–{max(one.descriptors)} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    """0 when nothing grows."""
    with tempfile.TemporaryDirectory() as folder:
        processes, churn = asyncio.run(soak(Path(folder)))
    PAGE.write_text(page(processes, churn))
    print(PAGE.read_text())
    growing = [process.name for process in processes if not process.is_flat()]
    if growing:
        print(f"growing: {', '.join(growing)}")
    return 1 if growing else 0


if __name__ == "__main__":
    sys.exit(main())

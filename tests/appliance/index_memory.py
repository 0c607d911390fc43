"""How much memory a keeper's index takes, and how quick it is. By hand:

python -m tests.appliance.index_memory [files] [policy]
"""

import resource
import sys
import time
from pathlib import Path

from appliance.evict import Ration, make_policy
from appliance.holdings import Ledger
from appliance.index import Index

_FILES_OF_A_RENDITION = 300  # half an hour in 6 s segments
_RENDITIONS = 10


def resident_bytes() -> int:
    """Of this process, now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def keys(first: int, end: int) -> list[str]:
    """Keys like those of real packages, with these numbers."""
    return [
        f"pkg_{n // (_FILES_OF_A_RENDITION * _RENDITIONS):026d}"
        f"/v-avc-{n // _FILES_OF_A_RENDITION % _RENDITIONS}"
        f"/{n % _FILES_OF_A_RENDITION}.m4s"
        for n in range(first, end)
    ]


def measure(files: int, policy: str) -> None:
    """Prints what `files` files cost."""
    before = resident_bytes()
    index, ledger = Index(), Ledger("boot")
    ration = Ration(index, make_policy(policy, "all", index, files * 1_000_000))  # type: ignore[arg-type]
    spent_s, batch = 0.0, 10_000
    for first in range(0, files, batch):
        names = keys(first, min(files, first + batch))
        began = time.perf_counter()
        for name in names:
            slot = index.add(name, 1_000_000, 0)
            ration.insert(slot)
            ledger.change(name, True)
        spent_s += time.perf_counter() - began
    grown = resident_bytes() - before
    print(f"{files} files, {policy}: {grown / 1e6:.0f} MB, {grown / files:.0f} bytes each,")
    print(f"  resident in all {resident_bytes() / 1e6:.0f} MB")
    print(f"  insert {spent_s / files * 1e6:.2f} µs (index, policy and ledger)")
    some = [name for at in range(0, files, files // 100) for name in keys(at, at + files // 200)]
    began = time.perf_counter()
    for name in some:
        ration.touch(index.find(name))
    print(f"  touch {(time.perf_counter() - began) / len(some) * 1e6:.2f} µs")
    began = time.perf_counter()
    gone = ration.victims(files * 1_000_000, min(files, 200_000))
    for slot in gone:
        index.drop(slot)
    print(f"  evict {(time.perf_counter() - began) / len(gone) * 1e6:.2f} µs")


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    measure(count, sys.argv[2] if len(sys.argv) > 2 else "lru")

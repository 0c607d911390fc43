"""Load that never rests: clients that ask for more than the cache holds, and check every byte."""

import asyncio
import os
import random
from collections import Counter
from contextlib import suppress
from pathlib import Path

import aiohttp

from tests.appliance.conftest import Standing
from tests.packages import MadePackage

KIB = 1024
SIZES = {f"{number}.m4s": size * KIB for number, size in enumerate([1, 40, 200, 700] * 25)}
BUDGET_BYTES = 8 * 1024 * KIB  # a third of the package


class Churn:
    """Clients of one appliance. `seen` counts what became of their requests: `right`, `refused`
    (an error with its code), `broken` (cut off or not connected). A wrong byte is an AssertionError
    that ends all."""

    def __init__(self, standing: Standing, package: MadePackage, seed: int) -> None:
        self.seen: Counter[str] = Counter()
        self.most_on_disk = 0
        self._standing = standing
        self._package = package
        self._dice = random.Random(seed)
        assert standing.daemon is not None
        self._url = standing.daemon.urls["data"]

    async def client(self) -> None:
        """Asks for one file after the other, for ever; sometimes for a part, or leaves early."""
        token = self._package.token(self._standing.keys["control"])
        base = f"{self._url}/{token}/{self._package.base}v-avc-720/"
        async with aiohttp.ClientSession() as session:
            while True:
                name = self._dice.choice(tuple(SIZES))
                data = self._package.files[f"v-avc-720/{name}"]
                headers, wanted, status = {}, data, 200
                if self._dice.random() < 0.3:
                    start = self._dice.randrange(len(data))
                    end = self._dice.randrange(start, len(data))
                    headers = {"Range": f"bytes={start}-{end}"}
                    wanted, status = data[start : end + 1], 206
                try:
                    async with session.get(base + name, headers=headers) as answer:
                        if answer.status == status:
                            if self._dice.random() < 0.05:
                                assert wanted.startswith(await answer.content.read(1000))
                                answer.close()
                                continue
                            assert await answer.read() == wanted, f"{name} {headers}"
                            self.seen["right"] += 1
                        else:
                            assert answer.status in (502, 503, 507), answer.status
                            await answer.read()
                            self.seen["refused"] += 1
                            await asyncio.sleep(0.05)  # Retry-After says a second
                except (aiohttp.ClientError, ConnectionError, TimeoutError):
                    self.seen["broken"] += 1
                    await asyncio.sleep(0.01)

    async def back_within(self, limit_s: float) -> float:
        """Seconds until a file that is not held comes whole. Raises TimeoutError."""
        loop = asyncio.get_running_loop()
        began, right = loop.time(), self.seen["right"]
        async with asyncio.timeout(limit_s):
            while self.seen["right"] < right + 20:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        return loop.time() - began

    async def watch_disk(self, cache: Path) -> None:
        """Keeps the most bytes that ever stood in the folder. Files come and go while one looks, so
        the smaller of two looks counts."""
        while True:
            looks = min(bytes_below(cache), bytes_below(cache))
            self.most_on_disk = max(self.most_on_disk, looks)
            await asyncio.sleep(0.02)


def bytes_below(folder: Path) -> int:
    """Bytes of all files below the folder, each counted once though it may be renamed meanwhile."""
    sizes: dict[int, int] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                status = Path(parent, name).stat()
                sizes[status.st_ino] = status.st_size
    return sum(sizes.values())

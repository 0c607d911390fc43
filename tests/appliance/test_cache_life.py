"""A cache's life at random: whatever happens to it, its books are right."""

import asyncio
import contextlib
import random
from collections import Counter
from pathlib import Path

import pytest

from appliance.board import Board
from appliance.cache import Cache
from appliance.evict import Admission, PolicyName
from appliance.folders import Folders, FolderShare
from appliance.scrub import Scrubber
from appliance.shelf import Found
from appliance.upkeep import Upkeep
from media.inventory import sha256_of
from runtime.errors import Problem

KB = 1_000
BUDGETS = (300 * KB, 500 * KB)
KEYS = [
    f"pkg_{package}/{path}"
    for package in "abcd"
    for path in ("inventory.json", *(f"v-avc-{r}/{n}.m4s" for r in (360, 720) for n in range(8)))
]


def content(key: str) -> bytes:
    """Of 1 to 40 kB."""
    return random.Random(key).randbytes(random.Random(key).randrange(KB, 40 * KB))


VERBS = {"put": 30, "burst": 5, "touch": 20, "remove": 3, "purge": 1, "pin": 3, "sync": 4}
VERBS |= {"find": 2, "fail": 1, "revive": 2}
ENDS = {"kill": 1, "cut": 1, "stop": 1, "scan": 2}


class Life:
    """One machine, its disks, and the keeper that runs on it now."""

    def __init__(self, folder: Path, seed: int, policy: PolicyName, admission: Admission) -> None:
        self.folder = folder
        self.dice = random.Random(seed)
        self.policy, self.admission = policy, admission
        self.boots = 0
        self.told: Counter[str] = Counter()
        self.alone = asyncio.Lock()  # one task looks after a folder that fails or is scanned
        self.start()

    def start(self) -> None:
        """Another keeper."""
        shares = [FolderShare(self.folder / f"{n}", size) for n, size in enumerate(BUDGETS)]
        folders = Folders(shares, f"boot-{self.boots}")
        board = Board(self.folder / "board")
        self.cache = Cache(folders, board, self.policy, self.admission)
        self.cache.changed = self.tell
        self.cache.wanted = lambda key: key.startswith("pkg_a/v-avc-360")
        self.upkeep = Upkeep(self.cache, Scrubber(self.cache, 0))
        self.told.clear()
        self.cache.open()

    def tell(self, key: str, held: bool) -> None:
        self.told[key] += 1 if held else -1
        assert self.told[key] in (0, 1), key

    async def put(self, key: str) -> None:
        data = content(key)
        if self.cache.holds(key, len(data)):
            return
        with contextlib.suppress(Problem):
            landing = await self.cache.begin(key, len(data))
            try:
                if self.dice.random() < 0.9:
                    self.cache.write(landing, data, 0)
                    await self.cache.commit(landing, sha256_of(data))
            finally:
                self.cache.abandon(landing)

    async def step(self, verbs: dict[str, int]) -> None:  # noqa: PLR0912
        """Something happens, each with its weight."""
        dice, cache = self.dice, self.cache
        key = dice.choice(KEYS)
        match dice.choices(list(verbs), list(verbs.values()))[0]:
            case "put":
                await self.put(key)
            case "burst":
                await asyncio.gather(*(self.put(k) for k in set(dice.choices(KEYS, k=12))))
            case "touch":
                cache.touch(key)
            case "remove":
                cache.remove(dice.choices(KEYS, k=3))
            case "purge":
                package = key.partition("/")[0]
                cache.remove([k for k in cache if k.startswith(f"{package}/")])
            case "pin":
                package = dice.choice("abcd")
                cache.wanted = lambda k: k.startswith(f"pkg_{package}/v-avc-360")
                cache.pin_wanted()
            case "sync":
                await self.upkeep.sync(settle=dice.random() < 0.5)
            case "find":
                async with self.alone:
                    await self.upkeep.find_all()
            case "scan" if dice.choice(cache.stocks).scanning:
                stock = next(s for s in cache.stocks if s.scanning)
                seen = [file for files in stock.shelf.walk(20) for file in files]
                await self.put(key)
                cache.remove([dice.choice(KEYS)])
                cache.adopt(stock, [f for f in seen if isinstance(f, Found)][:10])
            case "fail":
                async with self.alone:
                    cache.take_out(dice.choice(cache.stocks), "a test")
                    await self.upkeep.forget()
            case "revive":
                async with self.alone:
                    await self.upkeep.revive()
            case "kill" | "cut" | "stop" as end:
                await cache.close()
                if end == "stop":
                    await self.upkeep.close()
                if end == "cut":
                    self.boots += 1
                    for path in self.folder.glob("*/.new/*/**/*"):
                        if path.is_file() and dice.random() < 0.5:
                            path.write_bytes(b"lost")
                self.start()

    async def check(self) -> None:
        """What is counted is what is there, and every byte that can be served is right."""
        cache = self.cache
        await cache.close()
        held = set(cache)
        assert held == {key for key, count in self.told.items() if count}
        for key in held:
            assert cache.path(key).read_bytes() == content(key)
        for key in KEYS:
            for path in cache.folders.paths(key, cache._board.folders_out):
                if Path(path).exists():
                    assert Path(path).read_bytes() == content(key)
        for number, stock in enumerate(cache.stocks):
            if not stock.in_service:
                continue
            own = [key for key in held if cache.stock_of(cache.find(key)) is stock]
            assert stock.ration.used_bytes == sum(len(content(key)) for key in own)
            assert stock.ration.pinned_bytes <= stock.ration.used_bytes
            assert stock.landing_bytes == stock.waiting_bytes == 0
            top = self.folder / f"{number}"
            tops = [top, top / ".new" / f"boot-{self.boots}"]
            there = [p for t in tops for p in t.glob("pkg_*/**/*") if p.is_file()]
            on_disk = sum(path.stat().st_size for path in there)
            used = stock.used_bytes(cache._board.epoch)
            assert on_disk <= used <= stock.budget_bytes
            if not stock.scanning:
                assert on_disk == used and len(there) == len(own)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("policy", "admission"), [("lru", "second_hit"), ("sieve", "all"), ("s3fifo", "all")]
)
async def test_the_books_are_right(
    tmp_path: Path, seed: int, policy: PolicyName, admission: Admission
) -> None:
    life = Life(tmp_path, seed, policy, admission)
    for number in range(250):
        await life.step(VERBS | ENDS)
        if number % 5 == 0:
            await life.check()
    await life.upkeep.revive()
    await life.upkeep.find_all()
    await life.check()
    assert life.cache.trouble == ""


@pytest.mark.parametrize("seed", range(3))
async def test_they_are_when_much_happens_at_once(tmp_path: Path, seed: int) -> None:
    life = Life(tmp_path, seed, ("lru", "sieve", "s3fifo")[seed], "all")

    async def lane() -> None:
        for _ in range(40):
            await life.step(VERBS)
            await asyncio.sleep(0)

    for boot in range(4):
        await asyncio.gather(*(lane() for _ in range(5)))
        await life.check()
        life.boots += boot % 2
        life.start()

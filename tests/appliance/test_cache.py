"""The cache on real folders: room made ahead, folders that fail, and what workers hear."""

import asyncio
import errno
import os
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from appliance.board import Board, Word
from appliance.cache import Cache
from appliance.folders import Folders, FolderShare
from appliance.scrub import Scrubber
from appliance.stock import Stock
from appliance.upkeep import Upkeep
from media.inventory import sha256_of
from runtime.errors import Problem

MB = 1_000_000


def make_cache(tmp_path: Path, *budgets: int, boot_id: str = "boot") -> Cache:
    shares = [FolderShare(tmp_path / f"disk{n}", size) for n, size in enumerate(budgets)]
    cache = Cache(Folders(shares, boot_id), Board(tmp_path / "board"))
    cache.open()
    return cache


def upkeep_of(cache: Cache) -> Upkeep:
    return Upkeep(cache, Scrubber(cache, 0))


async def put(cache: Cache, key: str, data: bytes) -> Path:
    """The file is held."""
    landing = await cache.begin(key, len(data))
    try:
        cache.write(landing, data, 0)
        await cache.commit(landing, sha256_of(data))
    finally:
        cache.abandon(landing)
    return cache.path(key)


async def put_all(cache: Cache, names: Iterable[object], data: bytes) -> None:
    for name in names:
        await put(cache, f"pkg_x/v/{name}", data)


def read(cache: Cache, key: str) -> bytes | None:
    """As a worker does it."""
    for path in cache.folders.paths(key, cache._board.folders_out):
        if Path(path).exists():
            return Path(path).read_bytes()
    return None


def files_below(folder: Path) -> set[str]:
    """The keys that stand there, wherever they stand."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {path.removeprefix(".new/boot/") for path in found if not path.startswith(".held")}


def stock_of(cache: Cache, key: str) -> Stock:
    return cache.stocks[cache.folders.places(key)[0]]


async def test_room_is_made_ahead_of_need(tmp_path: Path) -> None:
    """A fill at a full cache finds room at once: nobody waits for a worker that is slow."""
    cache = make_cache(tmp_path, 100 * MB)
    row = Board(tmp_path / "board").row(0)
    row[Word.ALIVE] = 1
    await put_all(cache, range(100), bytes(MB))
    await cache.close()
    slack = cache.stocks[0].slack_bytes
    assert slack == 2 * MB and cache.evictions == 3  # half of the slack was used up
    assert cache.used_bytes == 100 * MB  # what left counts until the worker has let go
    row[Word.ACKED] = cache._board.epoch
    assert cache.used_bytes == 97 * MB
    async with asyncio.timeout(1):
        await put_all(cache, ["a", "b"], bytes(MB))  # within the slack
    assert cache.used_bytes <= cache.budget_bytes
    await cache.close()
    assert files_below(tmp_path / "disk0") == set(cache)


async def test_workers_hear_which_inodes_are_gone(tmp_path: Path) -> None:
    cache, worker = make_cache(tmp_path, 100 * MB), Board(tmp_path / "board")
    paths = [await put(cache, f"pkg_x/v/{number}", b"x") for number in range(3)]
    inodes = [path.stat().st_ino for path in paths]
    await upkeep_of(cache).sync()  # the names move, the inodes stay
    cursor = worker.announced
    epoch = cache.remove(["pkg_x/v/0", "pkg_x/v/2", "pkg_x/v/none"])
    assert worker.since(cursor) == [inodes[0], inodes[2]] and worker.epoch == epoch
    cache.remove(["pkg_x/v/1"])
    assert worker.since(cursor + 2) == [inodes[1]]
    assert len(cache) == 0 and not (tmp_path / "disk0" / "pkg_x").exists()
    assert cache.used_bytes == 0


async def test_each_file_comes_and_goes_once(tmp_path: Path) -> None:
    """What the ledger counts: a file that comes again before it has gone counts once."""
    cache = make_cache(tmp_path, 5 * MB, 5 * MB)
    held: list[str] = []
    cache.changed = lambda key, now: held.append(key) if now else held.remove(key)
    for _ in range(3):
        await put_all(cache, range(12), bytes(MB))
        assert sorted(held) == sorted(cache)
    again = [key for key in cache if cache.path(key).is_relative_to(tmp_path / "disk0")]
    cache.take_out(cache.stocks[0], "a test")
    for key in again:
        await put(cache, key, bytes(100))
    await upkeep_of(cache).forget()
    assert sorted(held) == sorted(cache) and len(held) == len(set(held))
    cache.remove(list(cache))
    assert held == []


async def test_files_are_found_wherever_they_fit(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, 10 * MB, 30 * MB)
    cache.wanted = lambda key: True
    await put_all(cache, range(36), bytes(MB))  # the small folder is full of pinned files first
    assert cache.pinned_bytes == 36 * MB and cache.used_bytes <= cache.budget_bytes
    assert all(read(cache, key) == bytes(MB) for key in cache)
    for stock in cache.stocks:
        assert stock.used_bytes(0) <= stock.budget_bytes
    with pytest.raises(Problem) as problem:
        await put(cache, "pkg_x/v/more", bytes(11 * MB))
    assert problem.value.code == "cache_full"


async def test_nothing_leaves_for_what_finds_no_room_anyway(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, 50 * MB)
    await put_all(cache, range(5), bytes(MB))
    landing = await cache.begin("pkg_x/v/large", 40 * MB)
    with pytest.raises(Problem) as problem:
        await cache.begin("pkg_x/v/more", 11 * MB)
    assert problem.value.code == "cache_full" and problem.value.retry_after_s == 2
    assert len(cache) == 5 and cache.evictions == 0
    cache.abandon(landing)
    assert cache.used_bytes == 5 * MB


@pytest.mark.parametrize("when", ["land", "write", "place", "sync"])
@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS])
async def test_a_folder_that_fails_is_left_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, number: int
) -> None:
    cache = make_cache(tmp_path, 50 * MB, 50 * MB)
    upkeep, lost = upkeep_of(cache), []
    await put_all(cache, range(20), b"before")
    await upkeep.sync()
    await put_all(cache, range(20, 30), b"before")
    cache.changed = lambda key, held: None if held else lost.append(key)
    victim = stock_of(cache, "pkg_x/v/new")
    if when == "sync":
        victim = next(stock for stock in cache.stocks if stock.fresh)
    on_it = {key for key in cache if stock_of(cache, key) is victim}
    assert 0 < len(on_it) < 30

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as broken:
        if when == "write":
            broken.setattr(os, "pwrite", fail)
        else:
            broken.setattr(victim.shelf, when, fail)
        if when == "sync":
            await upkeep.sync()
        elif when == "land":
            await put(cache, "pkg_x/v/new", b"new")  # its second choice takes it
        else:
            with pytest.raises(Problem) as problem:
                await put(cache, "pkg_x/v/new", b"new")
            assert problem.value.code == "disk_full"
        assert not victim.in_service and f"/{victim.shelf.folder.name}: " in cache.trouble
        assert not cache.out and cache.budget_bytes == 50 * MB
        assert cache._board.folders_out == 1 << victim.shelf.number
    assert not any(key in cache for key in on_it)
    assert all(read(cache, key) is None for key in on_it)
    assert all(read(cache, key) for key in cache)
    await upkeep.forget()
    assert sorted(lost) == sorted(on_it)
    path = await put(cache, "pkg_x/v/new", b"new")  # goes elsewhere
    assert len(cache) == 31 - len(on_it)
    assert not path.is_relative_to(victim.shelf.folder)
    back: list[Stock] = []
    cache.returned = lambda: back.append(victim)
    await upkeep.revive()
    assert back == [victim]  # files that were purged meanwhile may be on it
    assert victim.in_service and cache.trouble == "" and cache._board.folders_out == 0
    assert len(cache) == 31 and all(read(cache, key) == b"before" for key in on_it)
    assert cache.used_bytes == 30 * 6 + 3


async def test_what_a_failing_disk_lost_is_not_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the same boot, and yet what was new cannot be trusted."""
    cache = make_cache(tmp_path, 50 * MB)
    upkeep = upkeep_of(cache)
    whole = await put(cache, "pkg_x/v/whole", b"right")
    lost = await put(cache, "pkg_x/v/lost", b"right")
    with monkeypatch.context() as broken:

        def fail() -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        broken.setattr(cache.stocks[0].shelf, "sync", fail)
        await upkeep.sync()
    lost.write_bytes(b"wrong")
    await upkeep.revive()
    assert list(cache) == ["pkg_x/v/whole"] and not whole.exists()
    assert read(cache, "pkg_x/v/whole") == b"right" and read(cache, "pkg_x/v/lost") is None


async def test_a_failed_folder_comes_back_by_itself(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, 50 * MB, 50 * MB)
    await put_all(cache, range(20), b"x")
    upkeep = Upkeep(cache, Scrubber(cache, 0), retry_s=0.02)
    task = asyncio.create_task(upkeep.run())
    try:
        async with asyncio.timeout(5):
            for _ in range(3):
                for stock in cache.stocks:
                    cache.take_out(stock, "a test")
                assert cache.out and list(cache) == []
                while cache.trouble or cache.finding or len(cache) < 20:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        assert cache.used_bytes == 20 and len(cache) == 20
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_folder_that_is_gone_is_no_end(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, 50 * MB)
    upkeep = upkeep_of(cache)
    await put(cache, "pkg_x/v/1", b"x")
    landing = await cache.begin("pkg_x/v/2", 1)
    (tmp_path / "disk0").rename(tmp_path / "unplugged")
    (tmp_path / "disk0").write_bytes(b"")
    with pytest.raises(Problem):
        await put(cache, "pkg_x/v/3", b"x")
    assert cache.out and cache.used_bytes == 0 and cache.budget_bytes == 0
    with pytest.raises(Problem) as problem:
        cache.check_fits(1)
    assert problem.value.code == "disk_full"
    await upkeep.revive()
    assert cache.out
    (tmp_path / "disk0").unlink()
    (tmp_path / "unplugged").rename(tmp_path / "disk0")
    await upkeep.revive()
    assert not cache.out and read(cache, "pkg_x/v/1") == b"x"
    with pytest.raises(Problem):  # its place is gone, and no folder is blamed for it
        await cache.commit(landing, sha256_of(b"x"))
    cache.abandon(landing)
    assert not cache.out and cache.used_bytes == 1


async def test_a_disk_that_stays_full_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eviction makes room twice; then somebody else takes all of it. Which and why is said in a
    line, whatever the folder's name."""
    deep = tmp_path / ("deep" * 30)
    deep.mkdir()
    cache = make_cache(deep, 50 * MB)
    await put_all(cache, range(20), bytes(MB))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", full)
        for turn in range(3):
            assert not cache.out and cache.evictions == turn
            with pytest.raises(Problem):
                await put(cache, "pkg_x/v/new", bytes(MB))
    assert cache.out and cache.trouble.endswith("deep/disk0: its disk is full")
    assert len(cache.trouble) <= 100


async def test_too_few_descriptors_are_no_fault_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make_cache(tmp_path, 50 * MB)

    def none_left(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(cache.stocks[0].shelf, "land", none_left)
    for _ in range(5):
        with pytest.raises(Problem):
            await put(cache, "pkg_x/v/1", b"x")
    assert not cache.out and cache.used_bytes == 0


async def test_a_file_that_leaves_and_comes_at_once_is_there(tmp_path: Path) -> None:
    """It is being unlinked in a thread when it is asked for again."""
    cache = make_cache(tmp_path, 100 * MB)
    for turn in range(5):
        await put_all(cache, [f"{turn}-{n}" for n in range(98)], bytes(MB))
        sweeping = set(cache._leaving)
        while cache._tasks and not sweeping:
            await asyncio.sleep(0)
            sweeping = set(cache._leaving)
        assert cache.used_bytes >= (len(cache) + len(cache._leaving)) * MB
        for key in sweeping:
            assert not cache.holds(key, MB)
            await put(cache, key, bytes(MB))
        await cache.close()
        assert files_below(tmp_path / "disk0") == set(cache)
        assert cache.used_bytes == len(cache) * MB <= cache.budget_bytes


async def test_a_file_that_was_found_and_left_while_it_came_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make_cache(tmp_path, 100 * MB)
    landing = await cache.begin("pkg_x/v/0", MB)
    cache.write(landing, bytes(MB), 0)
    await put(cache, landing.key, bytes(MB))
    stock, goes_on = cache.stocks[0], threading.Event()
    unlink = stock.shelf.unlink

    def slow(key: str, *, fresh: bool) -> int | None:
        assert goes_on.wait(10)
        return unlink(key, fresh=fresh)

    monkeypatch.setattr(stock.shelf, "unlink", slow)
    slots = stock.ration.victims(MB, 1)
    leaving = asyncio.create_task(cache._unlink_off_loop(stock, slots))
    commit = asyncio.create_task(cache.commit(landing, sha256_of(bytes(MB))))
    await asyncio.sleep(0)
    goes_on.set()
    await asyncio.gather(leaving, commit)
    assert read(cache, landing.key) == bytes(MB) and landing.key in cache
    assert files_below(tmp_path / "disk0") == set(cache)


async def test_many_fills_at_a_full_cache_all_get_room_in_turn(tmp_path: Path) -> None:
    """Room is used up faster than workers let go: fills wait for it, and what they may write is
    never more than the budget."""
    cache = make_cache(tmp_path, 30 * MB)
    board = Board(tmp_path / "board")
    row = board.row(0)
    row[Word.ALIVE], most = 1, 0

    async def acknowledge() -> None:
        while True:
            row[Word.ACKED] = board.epoch
            await asyncio.sleep(0.02)

    async def fill(lane: int) -> None:
        nonlocal most
        for number in range(20):
            await put(cache, f"pkg_x/v/{lane}-{number}", bytes(MB))
            most = max(most, cache.used_bytes)

    worker = asyncio.create_task(acknowledge())
    try:
        await asyncio.gather(*(fill(lane) for lane in range(8)))
    finally:
        worker.cancel()
    await cache.close()
    assert 25 * MB < most <= cache.budget_bytes
    assert files_below(tmp_path / "disk0") == set(cache)

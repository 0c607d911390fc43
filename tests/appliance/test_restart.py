"""What a cache finds again: after a stop, after a kill, and after a power cut."""

import asyncio
import fcntl
import os
import sys
import threading
from pathlib import Path

import pytest

from appliance.shelf import DIGEST_ATTRIBUTE, machine_boot_id
from runtime.errors import Problem
from tests.appliance.test_cache import MB, files_below, make_cache, put, put_all, read, upkeep_of


async def test_a_stop_leaves_everything_in_its_place(tmp_path: Path) -> None:
    first = make_cache(tmp_path, 50 * MB, 50 * MB)
    await put_all(first, range(30), bytes(MB))
    await upkeep_of(first).close()
    assert not any(files_below(tmp_path / f"disk{n}" / ".new") for n in (0, 1))
    held, used = sorted(first), first.used_bytes
    again = make_cache(tmp_path, 50 * MB, 50 * MB, boot_id="another")
    assert again.used_bytes == used and len(again) == 0  # known before they are found
    assert all(read(again, key) for key in held)  # and served
    assert again.finding and not first.finding
    await upkeep_of(again).find_all()
    assert sorted(again) == held and again.used_bytes == used and not again.finding


async def test_a_killed_keeper_s_files_are_all_there(tmp_path: Path) -> None:
    first = make_cache(tmp_path, 50 * MB)
    await put_all(first, range(10), bytes(MB))
    await upkeep_of(first).sync()
    await put_all(first, range(10, 20), bytes(MB))
    await first.begin("pkg_x/v/half", MB)
    again = make_cache(tmp_path, 50 * MB)
    upkeep = upkeep_of(again)
    assert 20 * MB <= again.used_bytes <= 22 * MB
    assert all(read(again, f"pkg_x/v/{n}") == bytes(MB) for n in range(20))
    await upkeep.find_all()
    assert len(again) == 20 and again.used_bytes == 20 * MB
    await upkeep.sync()  # they are new still
    assert files_below(tmp_path / "disk0" / ".new") == set()
    assert files_below(tmp_path / "disk0") == set(again)


async def test_a_file_has_its_final_name_only_after_a_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that comes while the disk is being synced waits for the next time."""
    cache = make_cache(tmp_path, 50 * MB)
    upkeep, stock = upkeep_of(cache), cache.stocks[0]
    began, goes_on = threading.Event(), threading.Event()
    sync = stock.shelf.sync

    def slow() -> None:
        began.set()
        assert goes_on.wait(10)
        sync()

    monkeypatch.setattr(stock.shelf, "sync", slow)
    for name in ("kept", "evicted", "replaced"):
        await put(cache, f"pkg_x/v/{name}", b"early")
    task = asyncio.create_task(upkeep.sync())
    await asyncio.to_thread(began.wait)
    assert not (tmp_path / "disk0" / "pkg_x").exists()
    cache.remove(["pkg_x/v/evicted", "pkg_x/v/replaced"])
    await put(cache, "pkg_x/v/replaced", b"late")
    await put(cache, "pkg_x/v/late", b"late")
    goes_on.set()
    await task
    assert [path.name for path in (tmp_path / "disk0" / "pkg_x" / "v").iterdir()] == ["kept"]
    assert read(cache, "pkg_x/v/late") == read(cache, "pkg_x/v/replaced") == b"late"
    await upkeep.sync()
    assert not files_below(tmp_path / "disk0" / ".new") and len(cache) == 3


async def test_where_a_worker_was_told_a_file_is_it_stays_a_while(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, 50 * MB)
    upkeep = upkeep_of(cache)
    told = [await put(cache, "pkg_x/v/1", b"x")]
    for _ in range(3):
        await upkeep.sync(settle=False)
        assert told[-1].exists()
        told.append(await put(cache, f"pkg_x/v/{len(told) + 1}", b"x"))
    assert [path.exists() for path in told] == [False, False, True, True]
    assert all(read(cache, key) == b"x" for key in cache)
    cache.remove([f"pkg_x/v/{len(told) - 1}"])  # synced, and not settled
    await upkeep.close()
    assert files_below(tmp_path / "disk0") == set(cache) and len(cache) == 3


async def test_a_sync_that_is_broken_off_is_made_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make_cache(tmp_path, 50 * MB)
    upkeep, began, goes_on = upkeep_of(cache), threading.Event(), threading.Event()

    def slow() -> None:
        began.set()
        assert goes_on.wait(10)

    await put(cache, "pkg_x/v/1", b"x")
    with monkeypatch.context() as hanging:
        hanging.setattr(cache.stocks[0].shelf, "sync", slow)
        task = asyncio.create_task(upkeep.sync())
        await asyncio.to_thread(began.wait)
        task.cancel()
        goes_on.set()
        await asyncio.gather(task, return_exceptions=True)
    await upkeep.close()
    assert (tmp_path / "disk0" / "pkg_x" / "v" / "1").exists()


def lose(path: Path, how: str) -> None:
    """What a power cut may leave of a file that was not synced."""
    match how:
        case "zeros":
            path.write_bytes(bytes(path.stat().st_size))
        case "short":
            os.truncate(path, 100)
        case "garbage":
            with path.open("r+b") as file:
                file.seek(500)
                (byte,) = file.read(1)
                file.seek(500)
                file.write(bytes([byte ^ 1]))
        case "no digest":
            os.removexattr(path, DIGEST_ATTRIBUTE)
        case "gone":
            path.unlink()


async def test_a_power_cut_leaves_no_wrong_file(tmp_path: Path) -> None:
    """Files that were synced are served at once, later ones when they were verified."""
    before = make_cache(tmp_path, 50 * MB)
    data = os.urandom(1_000)
    old = [f"pkg_x/v/old{n}" for n in range(5)]
    for key in old:
        await put(before, key, data)
    await upkeep_of(before).sync()
    hows = ("zeros", "short", "garbage", "no digest", "gone")
    lost = [f"pkg_x/{how}/{n}" for how in hows for n in range(3)]
    whole = [f"pkg_y/v/{n}" for n in range(5)]
    for key in (*lost, *whole):
        await put(before, key, data)
    for key in lost:
        lose(before.path(key), key.split("/")[1])
    after = make_cache(tmp_path, 50 * MB, boot_id="the machine has started again")
    for key in (*lost, *whole):
        assert read(after, key) is None and not after.holds(key, 1_000)
    assert all(read(after, key) == data for key in old)
    await upkeep_of(after).find_all()
    assert sorted(after) == sorted(old + whole)
    assert all(read(after, key) == data for key in (*old, *whole))
    assert files_below(tmp_path / "disk0") == {*old, *whole}
    assert after.used_bytes == 10_000


async def test_the_budget_holds_before_all_is_found(tmp_path: Path) -> None:
    """A full cache restarts and is asked for more at once."""

    def on_disk() -> int:
        return sum(p.stat().st_size for p in (tmp_path / "disk0").rglob("*") if p.is_file())

    first = make_cache(tmp_path, 20 * MB)
    await put_all(first, range(20), bytes(MB))
    await first.close()
    again = make_cache(tmp_path, 20 * MB)
    upkeep = upkeep_of(again)
    assert again.used_bytes >= 19 * MB
    with pytest.raises(Problem) as problem:
        for number in range(5):
            await put(again, f"pkg_new/{number}", bytes(MB))
    assert problem.value.code == "cache_full"
    assert on_disk() <= 20 * MB + 1_000  # the promise
    before = again.used_bytes
    assert again.holds("pkg_x/v/19", MB)  # found because it was asked for
    assert again.used_bytes == before  # and it counted already
    await upkeep.find_all()
    await put_all(again, range(100, 110), bytes(MB))
    await again.close()
    assert again.used_bytes <= 20 * MB and on_disk() <= 20 * MB + 1_000
    assert files_below(tmp_path / "disk0") == set(again)


async def test_what_was_used_last_is_evicted_last(tmp_path: Path) -> None:
    first = make_cache(tmp_path, 50 * MB)
    for package in "abcd":
        await put(first, f"pkg_{package}/v/1", bytes(MB))
    await upkeep_of(first).close()
    for age, package in enumerate("cadb"):
        os.utime(tmp_path / "disk0" / f"pkg_{package}", ns=(0, (100 - age) * 10**9))
    again = make_cache(tmp_path, 50 * MB)
    again.touch("pkg_b/v/1")  # before it is found: noted for the next start
    await upkeep_of(again).find_all()
    left = []
    again.changed = lambda key, held: left.append(key)
    again.evict(again.stocks[0], 3 * MB)
    assert left == ["pkg_d/v/1", "pkg_a/v/1", "pkg_c/v/1"]


async def test_what_leaves_while_it_is_found_stays_away(tmp_path: Path) -> None:
    """The scan has seen the files, and they are removed before the keeper hears of it."""
    first = make_cache(tmp_path, 50 * MB)
    await put_all(first, range(10), b"x")
    await upkeep_of(first).close()
    again = make_cache(tmp_path, 50 * MB)
    stock = again.stocks[0]
    seen = [file for files in stock.shelf.walk(500) for file in files]
    assert len(seen) == 10 and again.holds("pkg_x/v/1", 1)
    again.remove(["pkg_x/v/1"])
    again.adopt(stock, seen)
    again.found_all(stock)
    assert files_below(tmp_path / "disk0") == set(again)
    assert len(again) == 9 and again.used_bytes == 9


async def test_all_is_found_while_other_packages_come_and_go(tmp_path: Path) -> None:
    """The scan reads a folder out of which the keeper evicts."""
    cache = make_cache(tmp_path, 50 * MB)
    for package in range(20):
        await put(cache, f"pkg_{package}/v/1", b"x")
    shelf, done = cache.stocks[0].shelf, threading.Event()

    def come_and_go() -> None:
        while not done.is_set():
            for number in range(20):
                shelf.path(f"pkg_gone-{number}", fresh=True).mkdir(exist_ok=True)
            for number in range(20):
                shelf.path(f"pkg_gone-{number}", fresh=True).rmdir()

    busy = asyncio.create_task(asyncio.to_thread(come_and_go))
    try:
        for _ in range(200):
            seen = await shelf.off_loop(lambda: [len(files) for files in shelf.walk(500)])
            assert seen == [20]
    finally:
        done.set()
        await busy


async def test_syncs_at_once_settle_each_its_own(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, 50 * MB)
    upkeep = upkeep_of(cache)

    async def fill_and_sync(number: int) -> None:
        await put(cache, f"pkg_x/v/{number}", b"x")
        await upkeep.sync()

    await asyncio.gather(*map(fill_and_sync, range(20)))
    assert len(cache) == 20 and not cache.stocks[0].fresh
    assert files_below(tmp_path / "disk0") == set(cache)


def test_the_machine_has_a_boot_id() -> None:
    assert len(machine_boot_id()) == 36


def test_packages_lie_apart_where_the_file_system_can(tmp_path: Path) -> None:
    make_cache(tmp_path, 50 * MB)
    for top in (tmp_path / "disk0", tmp_path / "disk0" / ".new" / "boot"):
        descriptor = os.open(top, os.O_RDONLY)
        try:
            raw = fcntl.ioctl(descriptor, 0x80086601, bytes(8))  # FS_IOC_GETFLAGS
        except OSError:
            continue  # one that has no such flag: the cache is open all the same
        finally:
            os.close(descriptor)
        assert int.from_bytes(raw, sys.byteorder) & 0x00020000  # FS_TOPDIR_FL

"""Scrubbing finds what changed on the disk, and leaves the page cache as it was."""

import asyncio
import ctypes
import mmap
import os
from pathlib import Path

import pytest

from appliance.scrub import Scrubber
from tests.appliance.test_cache import MB, make_cache, put, upkeep_of


def resident_pages(path: Path) -> int:
    """How much of a file stands in memory (mincore(2))."""
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    pages = (len(mapped) + mmap.PAGESIZE - 1) // mmap.PAGESIZE
    flags, first = (ctypes.c_ubyte * pages)(), ctypes.c_char.from_buffer(mapped)
    asked = ctypes.CDLL(None).mincore(
        ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(len(mapped)), flags
    )
    del first
    mapped.close()
    assert asked == 0
    return sum(flag & 1 for flag in flags)


def drop_pages(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


@pytest.mark.parametrize("where", [0, 2_999_999, None])
async def test_a_file_that_changed_is_let_go(tmp_path: Path, where: int | None) -> None:
    cache = make_cache(tmp_path, 50 * MB)
    data, lost = os.urandom(3 * MB), []
    path = await put(cache, "pkg_x/v/1", data)
    await put(cache, "pkg_x/v/2", data)
    scrubber = Scrubber(cache, 0)
    assert await scrubber.check("pkg_x/v/1") and cache.scrubbed_bytes == 3 * MB
    cache.changed = lambda key, held: lost.append((key, held))
    if where is None:
        os.truncate(path, 0)
    else:
        with path.open("r+b") as file:
            file.seek(where)
            file.write(bytes([data[where] ^ 1]))
    assert not await scrubber.check("pkg_x/v/1")
    assert cache.corrupt_files == 1 and lost == [("pkg_x/v/1", False)]
    assert not path.exists() and await scrubber.check("pkg_x/v/2")


async def test_pages_that_were_not_in_memory_are_not_afterwards(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, 50 * MB)
    upkeep, scrubber = upkeep_of(cache), Scrubber(cache, 0)
    for name in ("cold", "hot"):
        await put(cache, f"pkg_x/v/{name}", os.urandom(5 * MB))
    await upkeep.sync()
    cold, hot = cache.path("pkg_x/v/cold"), cache.path("pkg_x/v/hot")
    drop_pages(cold)
    if resident_pages(cold) > 0:
        pytest.skip("this file system keeps its pages")
    assert await scrubber.check("pkg_x/v/cold") and await scrubber.check("pkg_x/v/hot")
    assert resident_pages(cold) == 0
    assert resident_pages(hot) == (5 * MB + mmap.PAGESIZE - 1) // mmap.PAGESIZE


async def test_a_file_replaced_meanwhile_is_not_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make_cache(tmp_path, 50 * MB)
    path = await put(cache, "pkg_x/v/1", b"first")
    path.write_bytes(b"wrong")
    scrubber = Scrubber(cache, 0)
    digest = scrubber._digest

    async def slow(descriptor: int) -> bytes:
        found = await digest(descriptor)
        await put(cache, "pkg_x/v/1", b"second")
        return found

    monkeypatch.setattr(scrubber, "_digest", slow)
    assert await scrubber.check("pkg_x/v/1")
    assert cache.path("pkg_x/v/1").read_bytes() == b"second" and cache.corrupt_files == 0


async def test_it_goes_through_everything_by_itself(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, 50 * MB)
    lost = asyncio.Event()
    for number in range(50):
        await put(cache, f"pkg_{number % 3}/v/{number}", b"right")
    cache.changed = lambda key, held: lost.set()
    cache.path("pkg_1/v/49").write_bytes(b"wrong")
    scrubber = Scrubber(cache, 1_000_000)
    task = asyncio.create_task(scrubber.run())
    async with asyncio.timeout(5):
        await lost.wait()
    task.cancel()
    assert "pkg_1/v/49" not in cache and len(cache) == 49
    await Scrubber(cache, 0).run()  # off: it ends

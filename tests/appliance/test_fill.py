"""Fills: single flight, sources that lie, stall and break, and a cache that keeps its budget."""

import asyncio
import errno
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Literal

import pytest

from appliance.board import Board, Word
from appliance.cache import Cache
from appliance.fill import Fill, Fills
from appliance.gate import FileWant
from appliance.sources import Missing, SourceFailed
from media.inventory import sha256_of
from runtime.errors import Problem

SMALL, LARGE = os.urandom(100_000), os.urandom(1_000_000)


def want_of(data: bytes, name: str = "1.m4s") -> FileWant:
    return FileWant("ttl_x", "pkg_x", "", f"v/{name}", sha256_of(data), len(data), len(data))


class Given:
    """A source with a script: pieces of bytes to send, or what to do between them."""

    kind: Literal["store"] = "store"

    def __init__(self, name: str, *script: bytes | BaseException | asyncio.Event) -> None:
        self.name = name
        self.script = script
        self.asked: list[int] = []

    async def stream(self, want: FileWant, offset: int) -> AsyncGenerator[bytes, None]:
        self.asked.append(offset)
        skip = offset
        for step in self.script:
            match step:
                case bytes():
                    piece, skip = step[skip:], max(0, skip - len(step))
                    if piece:
                        yield piece
                case asyncio.Event():
                    await step.wait()
                case _:
                    raise step


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    cache = Cache(tmp_path / "cache", 2_000_000, Board(tmp_path / "board"))
    cache.open()
    return cache


def fills_from(cache: Cache, *sources: Given, stall_s: float = 0.2) -> Fills:
    fills = Fills(cache, stall_s)
    fills.sources = sources  # type: ignore[assignment]
    return fills


async def test_many_wait_and_one_asks(cache: Cache) -> None:
    hold = asyncio.Event()
    source = Given("store", SMALL[:50_000], hold, SMALL[50_000:])
    fills = fills_from(cache, source, stall_s=5)
    flights = {id(fills.join(want_of(SMALL))) for _ in range(500)}
    assert len(flights) == 1 and len(fills) == 1
    waiters = [asyncio.create_task(fills.join(want_of(SMALL)).wait()) for _ in range(10)]
    hold.set()
    await asyncio.gather(*waiters)
    assert source.asked == [0]
    assert cache.path("pkg_x/v/1.m4s").read_bytes() == SMALL
    assert cache.used_bytes == len(SMALL) and len(fills) == 0


async def test_a_source_that_breaks_is_left_and_the_next_goes_on(cache: Cache) -> None:
    first = Given("peer", LARGE[:300_000], SourceFailed("reset"))
    second = Given("store", LARGE)
    fills = fills_from(cache, first, second)
    await fills.join(want_of(LARGE)).wait()
    assert (first.asked, second.asked) == ([0], [300_000])
    assert cache.path("pkg_x/v/1.m4s").read_bytes() == LARGE


async def test_a_source_that_stalls_is_left(cache: Cache) -> None:
    fills = fills_from(
        cache, Given("peer", LARGE[:1000], asyncio.Event()), Given("store", LARGE), stall_s=0.05
    )
    await fills.join(want_of(LARGE)).wait()
    assert cache.path("pkg_x/v/1.m4s").read_bytes() == LARGE


async def test_a_source_that_ends_early_or_has_nothing_is_left(cache: Cache) -> None:
    fills = fills_from(cache, Given("a", Missing()), Given("b", SMALL[:10]), Given("store", SMALL))
    await fills.join(want_of(SMALL)).wait()
    assert cache.path("pkg_x/v/1.m4s").read_bytes() == SMALL


async def test_wrong_bytes_of_a_small_file_are_replaced(cache: Cache) -> None:
    liar, store = Given("peer", bytes(len(SMALL))), Given("store", SMALL)
    fills = fills_from(cache, liar, store)
    await fills.join(want_of(SMALL)).wait()
    assert cache.path("pkg_x/v/1.m4s").read_bytes() == SMALL
    cache.remove(["pkg_x/v/1.m4s"])
    await fills.join(want_of(SMALL)).wait()
    assert liar.asked == [0]  # distrusted for this file


async def test_wrong_bytes_of_a_large_file_fail_the_flight(cache: Cache) -> None:
    fills = fills_from(cache, Given("peer", bytes(len(LARGE))), Given("store", LARGE))
    fill = fills.join(want_of(LARGE))
    with pytest.raises(Problem) as problem:
        await fill.wait()
    assert problem.value.code == "fill_failed"
    assert "pkg_x/v/1.m4s" not in cache and cache.used_bytes == 0
    assert list((cache.folder / ".fill").iterdir()) == []
    await fills.join(want_of(LARGE)).wait()  # the next flight asks the one that is left
    assert cache.path("pkg_x/v/1.m4s").read_bytes() == LARGE


async def test_too_many_bytes_are_never_kept(cache: Cache) -> None:
    fills = fills_from(cache, Given("store", SMALL, b"more"))
    with pytest.raises(Problem):
        await fills.join(want_of(SMALL)).wait()
    assert cache.used_bytes == 0 and list((cache.folder / ".fill").iterdir()) == []


async def test_the_store_away_is_said(cache: Cache) -> None:
    fills = fills_from(cache, Given("store", SourceFailed("no route")))
    with pytest.raises(Problem) as problem:
        await fills.join(want_of(SMALL)).wait()
    assert problem.value.code == "store_unavailable" and problem.value.status == 503


async def test_watchers_see_bytes_land(cache: Cache) -> None:
    hold = asyncio.Event()
    fills = fills_from(cache, Given("store", LARGE[:400_000], hold, LARGE[400_000:]), stall_s=5)
    fill, seen = fills.join(want_of(LARGE)), []

    def watch(fill: Fill) -> None:
        seen.append(fill.landed)
        if fill.landed == 400_000:
            assert fill.landing is not None
            assert fill.landing.path.read_bytes()[:400_000] == LARGE[:400_000]
            hold.set()

    fill.watchers.append(watch)
    await fill.wait()
    assert seen == [400_000, 1_000_000, 1_000_000]


async def test_the_budget_holds_and_the_oldest_leaves(cache: Cache) -> None:
    files = [os.urandom(600_000) for _ in range(4)]
    for number, data in enumerate(files):
        fills = fills_from(cache, Given("store", data))
        await fills.join(want_of(data, f"{number}.m4s")).wait()
        if number == 2:
            cache.touch("pkg_x/v/0.m4s")
        assert cache.used_bytes <= cache.budget_bytes
    assert sorted(cache) == ["pkg_x/v/0.m4s", "pkg_x/v/2.m4s", "pkg_x/v/3.m4s"]
    assert not cache.path("pkg_x/v/1.m4s").exists() and cache.evictions == 1


async def test_pinned_files_stay_and_a_full_cache_says_so(cache: Cache) -> None:
    data = os.urandom(1_500_000)
    await fills_from(cache, Given("store", data)).join(want_of(data), pinned=True).wait()
    with pytest.raises(Problem) as problem:
        await fills_from(cache, Given("store", LARGE)).join(want_of(LARGE, "2.m4s")).wait()
    assert problem.value.code == "cache_full" and "pkg_x/v/1.m4s" in cache


async def test_unlinked_bytes_count_until_workers_have_let_go(cache: Cache, tmp_path: Path) -> None:
    row = Board(tmp_path / "board").row(0)
    row[Word.ALIVE] = 1
    await fills_from(cache, Given("store", LARGE)).join(want_of(LARGE)).wait()
    epoch = cache.remove(["pkg_x/v/1.m4s"])
    assert cache.used_bytes == len(LARGE)
    row[Word.ACKED] = epoch
    assert cache.used_bytes == 0


async def test_a_full_disk_is_said_and_leaves_nothing(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(Problem) as problem:
        await fills_from(cache, Given("store", SMALL)).join(want_of(SMALL)).wait()
    assert problem.value.code == "disk_full" and not cache.disk_ok
    assert cache.used_bytes == 0 and list((cache.folder / ".fill").iterdir()) == []


async def test_a_restart_finds_everything_again(cache: Cache, tmp_path: Path) -> None:
    await fills_from(cache, Given("store", SMALL)).join(want_of(SMALL)).wait()
    (cache.folder / ".fill" / "9").write_bytes(b"half a file")
    again = Cache(cache.folder, 2_000_000, Board(tmp_path / "board"))
    again.open()
    assert list(again) == ["pkg_x/v/1.m4s"] and again.used_bytes == len(SMALL)
    assert list((cache.folder / ".fill").iterdir()) == []
    smaller = Cache(cache.folder, 50_000, Board(tmp_path / "board"))
    smaller.open()
    assert list(smaller) == [] and not cache.path("pkg_x/v/1.m4s").exists()

"""Fills: single flight, sources that lie, stall and break, and a cache that keeps its budget."""

import asyncio
import ctypes
import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

import appliance.shelf
from appliance.board import Board, Word
from appliance.cache import Cache
from appliance.fill import Fill, Fills, Home
from appliance.folders import Folders, FolderShare
from appliance.home import Asker
from appliance.scrub import Scrubber
from appliance.sources import Missing, SourceFailed
from appliance.upkeep import Upkeep
from appliance.want import FileWant
from media.http_get import Take
from media.inventory import sha256_of
from runtime.errors import Problem

SMALL, LARGE = os.urandom(100_000), os.urandom(1_000_000)


def want_of(data: bytes, name: str = "1.m4s") -> FileWant:
    return FileWant("ttl_x", "pkg_x", "", f"v/{name}", sha256_of(data), len(data), len(data))


Step = bytes | float | BaseException | asyncio.Event


class Given:
    """A source with a script: pieces of bytes to send, or what to do between them."""

    kind: Literal["store"] = "store"

    def __init__(self, name: str, *script: Step) -> None:
        self.name = name
        self.script = script
        self.scripts: list[tuple[Step, ...]] = []  # of later questions, if they are other ones
        self.asked: list[int] = []

    async def pour(self, want: FileWant, offset: int, take: Take) -> None:
        script = self.scripts.pop(0) if self.asked and self.scripts else self.script
        self.asked.append(offset)
        skip = offset
        for step in script:
            match step:
                case float():
                    await asyncio.sleep(step)
                case bytes():
                    piece, skip = step[skip:], max(0, skip - len(step))
                    if piece:
                        take(memoryview(piece))
                        await asyncio.sleep(0)
                case asyncio.Event():
                    await step.wait()
                case _:
                    raise step


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    cache = make_cache(tmp_path)
    cache.open()
    return cache


def make_cache(tmp_path: Path, budget_bytes: int = 2_000_000) -> Cache:
    share = FolderShare(tmp_path / "cache", budget_bytes)
    return Cache(Folders([share], "boot"), Board(tmp_path / "board"))


def landing_files(cache: Cache) -> list[Path]:
    return list((cache.stocks[0].shelf.folder / ".new").rglob(".*"))


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


async def test_a_source_that_trickles_is_left(cache: Cache) -> None:
    """It always sends something, and would take days."""
    drops = [step for at in range(100) for step in (LARGE[at : at + 1], 0.01)]
    peer = Given("peer", *drops)
    fills = fills_from(cache, peer, Given("store", LARGE), stall_s=0.1)
    async with asyncio.timeout(0.9):
        await fills.join(want_of(LARGE)).wait()
    assert cache.path("pkg_x/v/1.m4s").read_bytes() == LARGE


async def test_who_stands_in_a_queue_does_not_stall(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten files of a slow store, two at a time: the last waits for longer than a stall lasts."""
    monkeypatch.setattr("appliance.fill._ASKED_AT_ONCE", 2)
    slow = Given("store", SMALL[:60_000], 0.06, SMALL[60_000:])
    fills = fills_from(cache, slow, stall_s=0.15)
    wants = [want_of(SMALL, f"{number}.m4s") for number in range(10)]
    await asyncio.gather(*(fills.join(want).wait() for want in wants))
    assert slow.asked == [0] * 10


async def test_the_store_goes_on_where_it_broke_off(cache: Cache) -> None:
    store = Given("store", LARGE[:300_000], SourceFailed("reset"))
    store.scripts = [(LARGE,)]
    fills = fills_from(cache, store)
    await fills.join(want_of(LARGE)).wait()
    assert store.asked == [0, 300_000]


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
    assert landing_files(cache) == []
    await fills.join(want_of(LARGE)).wait()  # the next flight asks the one that is left
    assert cache.path("pkg_x/v/1.m4s").read_bytes() == LARGE


async def test_too_many_bytes_are_never_kept(cache: Cache) -> None:
    fills = fills_from(cache, Given("store", SMALL, b"more"))
    with pytest.raises(Problem):
        await fills.join(want_of(SMALL)).wait()
    assert cache.used_bytes == 0 and landing_files(cache) == []


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
            assert Path(fill.landing.path).read_bytes()[:400_000] == LARGE[:400_000]
            hold.set()

    fill.watchers.append(watch)
    await fill.wait()
    assert seen == [400_000, 1_000_000]  # the first that may leave, and the end


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


async def test_lists_do_not_leave_before_their_files(cache: Cache) -> None:
    """What is held can be served after a restart, store or no store."""
    files = {"inventory.json": b"i", "v-avc-720/files.json": b"f"}
    files |= {f"v-avc-720/{number}.m4s": os.urandom(600_000) for number in range(5)}
    for path, data in files.items():
        want = FileWant("ttl_x", "pkg_x", "", path, sha256_of(data), len(data), len(data))
        await fills_from(cache, Given("store", data)).join(want).wait()
    assert {"pkg_x/inventory.json", "pkg_x/v-avc-720/files.json"} < set(cache)
    cache.touch("pkg_x/v-avc-720/2.m4s")
    cache.abandon(await cache.begin("pkg_x/v-avc-720/5.m4s", 600_000))
    assert "pkg_x/v-avc-720/3.m4s" not in cache and "pkg_x/v-avc-720/2.m4s" in cache


async def test_pinned_files_stay_and_a_full_cache_says_so(cache: Cache) -> None:
    data = os.urandom(1_500_000)
    fills = fills_from(cache, Given("store", data))
    fills.wanted = lambda key: True
    await fills.join(want_of(data)).wait()
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


def refusing(number: int) -> Callable[..., int]:
    """fallocate(2) on a disk that answers with this error."""

    def fallocate(*_: object) -> int:
        ctypes.set_errno(number)
        return -1

    return fallocate


@pytest.mark.parametrize("late", [False, True])
async def test_a_full_disk_is_said_and_leaves_nothing(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    if late:
        monkeypatch.setattr(os, "pwrite", full)
    else:
        monkeypatch.setattr(appliance.shelf._libc, "fallocate", refusing(errno.ENOSPC))
    with pytest.raises(Problem) as problem:
        await fills_from(cache, Given("store", SMALL)).join(want_of(SMALL)).wait()
    assert problem.value.code == "disk_full" and not cache.disk_ok
    assert cache.used_bytes == 0 and landing_files(cache) == []


async def test_a_file_has_its_space_before_its_bytes(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is read of it that was not written. Where a disk cannot do so, or a signal comes
    between, it comes, too."""
    with (tmp_path / "probe").open("wb") as probe:
        if appliance.shelf._libc.fallocate(probe.fileno(), 0, 0, 4096) != 0:
            why = "this file system allocates nothing ahead: let TMPDIR be on ext4, XFS or tmpfs"
            if os.environ.get("CI") == "true":
                pytest.fail(why)
            pytest.skip(why)
    go_on = asyncio.Event()
    fill = fills_from(cache, Given("store", LARGE[:1000], go_on, LARGE[1000:])).join(want_of(LARGE))
    while fill.landed == 0:  # noqa: ASYNC110 (nobody is told of so few)
        await asyncio.sleep(0)
    (landing,) = landing_files(cache)
    status = landing.stat()
    assert status.st_size == 1000 and status.st_blocks * 512 >= len(LARGE)
    go_on.set()
    await fill.wait()
    for number in (errno.EOPNOTSUPP, errno.EINTR):
        monkeypatch.setattr(appliance.shelf._libc, "fallocate", refusing(number))
        want = want_of(LARGE, f"{number}.m4s")
        await fills_from(cache, Given("store", LARGE)).join(want).wait()
        assert cache.path(want.key).read_bytes() == LARGE


async def test_a_restart_finds_everything_again(cache: Cache, tmp_path: Path) -> None:
    await fills_from(cache, Given("store", SMALL)).join(want_of(SMALL)).wait()
    half = tmp_path / "cache" / ".new" / "boot" / "pkg_x" / "v" / ".9"
    half.parent.mkdir(parents=True, exist_ok=True)
    half.write_bytes(b"half a file")
    again = make_cache(tmp_path)
    again.open()
    await Upkeep(again, Scrubber(again, 0)).find_all()
    assert list(again) == ["pkg_x/v/1.m4s"] and again.used_bytes == len(SMALL)
    assert landing_files(cache) == []
    smaller = make_cache(tmp_path, 50_000)
    smaller.open()
    await Upkeep(smaller, Scrubber(smaller, 0)).find_all()
    assert list(smaller) == [] and not cache.path("pkg_x/v/1.m4s").exists()


async def test_a_liar_is_known_and_others_are_not_blamed(cache: Cache) -> None:
    """The peer's first bytes are wrong and it breaks off; the store goes on, then begins anew."""
    peer = Given("peer", bytes(50_000), SourceFailed("reset"))
    store = Given("store", SMALL)
    fills = fills_from(cache, peer, store)
    await fills.join(want_of(SMALL)).wait()
    assert (peer.asked, store.asked) == ([0], [50_000, 0])
    cache.remove(["pkg_x/v/1.m4s"])
    await fills.join(want_of(SMALL)).wait()
    assert peer.asked == [0]


async def test_a_damaged_object_does_not_close_the_store(cache: Cache) -> None:
    fills = fills_from(cache, Given("store", SMALL[:10]))
    for number in range(4):
        with pytest.raises(Problem):
            await fills.join(want_of(SMALL, f"{number}.m4s")).wait()
    fills.sources = [Given("store", SMALL)]  # type: ignore[list-item]
    await fills.join(want_of(SMALL, "whole.m4s")).wait()


async def test_a_store_left_alone_is_still_away(cache: Cache) -> None:
    store = Given("store", SourceFailed("no route"))
    fills = fills_from(cache, store)
    for number in range(6):
        with pytest.raises(Problem) as problem:
            await fills.join(want_of(SMALL, f"{number}.m4s")).wait()
        assert problem.value.code == "store_unavailable"
    assert len(store.asked) == 3  # then its breaker spares it


async def test_a_source_that_need_not_be_asked_keeps_its_probe(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    store = Given("store", SourceFailed("no route"))
    fills = fills_from(cache, store)
    for number in range(3):
        with pytest.raises(Problem):
            await fills.join(want_of(SMALL, f"{number}.m4s")).wait()
    now = 106.0
    store.script = (SMALL,)
    fills.sources = [Given("peer", SMALL), store]  # type: ignore[list-item]
    await fills.join(want_of(SMALL, "a.m4s")).wait()
    fills.sources = [Given("peer", Missing()), store]  # type: ignore[list-item]
    await fills.join(want_of(SMALL, "b.m4s")).wait()


async def test_a_package_that_is_purged_while_it_comes_is_not_kept(cache: Cache) -> None:
    hold = asyncio.Event()
    fills = fills_from(cache, Given("store", LARGE[:400_000], hold, LARGE[400_000:]), stall_s=5)
    flying = fills.join(want_of(LARGE))
    await asyncio.sleep(0.01)
    fills.purge({"pkg_x"})
    hold.set()
    for fill in (flying, fills.join(want_of(SMALL, "2.m4s"))):
        with pytest.raises(Problem) as problem:
            await fill.wait()
        assert problem.value.code == "purged"
    assert list(cache) == [] and cache.used_bytes == 0


async def test_the_plan_s_word_at_the_end_pins(cache: Cache) -> None:
    hold = asyncio.Event()
    fills = fills_from(cache, Given("store", SMALL[:10], hold, SMALL[10:]), stall_s=5)
    fills.wanted = lambda key: True
    fill = fills.join(want_of(SMALL))
    await asyncio.sleep(0.01)
    fills.wanted = lambda key: False  # another plan
    hold.set()
    await fill.wait()
    with pytest.raises(Problem):
        cache.check_fits(cache.budget_bytes + 1)
    cache.check_fits(cache.budget_bytes)


async def test_fills_that_make_room_at_once_take_nobody_s(cache: Cache, tmp_path: Path) -> None:
    """The first waits for workers to let go of what it evicted; a second finds that room."""
    for number in range(2):
        data = os.urandom(900_000)
        await fills_from(cache, Given("store", data)).join(want_of(data, f"{number}")).wait()
    board = Board(tmp_path / "board")
    board.row(0)[Word.ALIVE] = 1
    first = asyncio.create_task(cache.begin("a", 1_000_000))
    await asyncio.sleep(0)
    assert cache.evictions == 1
    board.row(0)[Word.ACKED] = board.epoch
    second = asyncio.create_task(cache.begin("b", 1_000_000))
    await asyncio.sleep(0)
    board.row(0)[Word.ACKED] = board.epoch
    landings = await asyncio.gather(first, second)
    assert cache.used_bytes == 2_000_000 and len(cache) == 0
    with pytest.raises(Problem):
        await cache.begin("c", 1)
    for landing in landings:
        cache.abandon(landing)
    assert cache.used_bytes == 0


async def test_a_worker_that_hangs_does_not_empty_the_cache(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.cache._LETTING_GO_S", 0.02)
    for number in range(2):
        data = os.urandom(900_000)
        await fills_from(cache, Given("store", data)).join(want_of(data, f"{number}")).wait()
    Board(tmp_path / "board").row(0)[Word.ALIVE] = 1  # and it acknowledges nothing
    for _ in range(5):
        with pytest.raises(Problem) as problem:
            await cache.begin("new", 900_000)
        assert problem.value.code == "cache_full"
    assert len(cache) == 1


async def test_what_cannot_fit_is_asked_of_nobody(cache: Cache) -> None:
    store = Given("store", LARGE)
    fills = fills_from(cache, store)
    fills.wanted = lambda key: True
    data = os.urandom(1_500_000)
    fills.sources = [Given("store", data), store]  # type: ignore[list-item]
    await fills.join(want_of(data)).wait()
    fills.sources = [store]  # type: ignore[list-item]
    with pytest.raises(Problem) as problem:
        await fills.join(want_of(LARGE, "2.m4s")).wait()
    assert problem.value.code == "cache_full" and store.asked == []


@pytest.mark.parametrize("damage", ["cut", "gone"])
async def test_a_file_that_is_damaged_on_disk_is_brought_again(cache: Cache, damage: str) -> None:
    fills = fills_from(cache, Given("store", SMALL))
    await fills.join(want_of(SMALL)).wait()
    path = cache.path("pkg_x/v/1.m4s")
    path.write_bytes(b"x") if damage == "cut" else path.unlink()
    await fills.join(want_of(SMALL)).wait()
    assert path.read_bytes() == SMALL and cache.used_bytes == len(SMALL)


async def test_no_two_keepers_name_a_landing_file_alike(cache: Cache, tmp_path: Path) -> None:
    first = await cache.begin("a", 1)
    cache.abandon(first)
    again = make_cache(tmp_path)
    again.open()
    second = await again.begin("b", 1)
    assert first.path != second.path
    again.abandon(second)


def as_home(source: Given) -> Callable[[FileWant, Asker], Home | None]:
    """It is the home of all files, but for who asks us as one."""
    return lambda want, asker: None if asker else Home(source, Asker.SITE)  # type: ignore[arg-type]


async def test_the_home_is_asked_first_and_only_for_ourselves(cache: Cache) -> None:
    home, store = Given("home", SMALL), Given("store", SMALL)
    fills = fills_from(cache, Given("home", Missing()), store)
    fills.home = as_home(home)
    await fills.join(want_of(SMALL)).wait()
    assert (home.asked, store.asked) == ([0], [])
    await fills.join(want_of(SMALL, "2.m4s"), Asker.SITE).wait()
    assert (home.asked, store.asked) == ([0], [0])


async def test_a_tier_is_waited_for_by_who_asks_the_home_of_a_site(cache: Cache) -> None:
    hold = asyncio.Event()
    tier, store = Given("tier", hold, SMALL), Given("store", SMALL)
    fills = fills_from(cache, store, stall_s=5)
    fills.home = lambda want, asker: (
        None if asker == Asker.TIER else Home(tier, Asker.TIER)  # type: ignore[arg-type]
    )
    sibling = fills.join(want_of(SMALL), Asker.SITE)
    with pytest.raises(Problem) as refused:  # another site, whose tier we are: we wait for nobody
        await fills.join(want_of(SMALL), Asker.TIER).wait()
    assert refused.value.code == "not_held"
    assert fills.join(want_of(SMALL)) is sibling
    hold.set()
    await sibling.wait()
    assert (tier.asked, store.asked) == ([0], [])
    await fills.join(want_of(SMALL, "2.m4s"), Asker.TIER).wait()
    assert store.asked == [0]


async def test_the_sources_of_a_package_come_before_its_home_in_their_order(cache: Cache) -> None:
    """One of them is home, too: as home it is asked again, for as such it brings the file."""
    first, second = Given("home", Missing()), Given("second", Missing())
    home, store = Given("home", SMALL), Given("store", SMALL)
    fills = fills_from(cache, Given("home", SMALL), Given("second", SMALL), store)
    fills.home = as_home(home)
    fills.first = lambda want: (first, second)  # type: ignore[assignment,return-value]
    await fills.join(want_of(SMALL)).wait()
    assert (first.asked, second.asked, home.asked, store.asked) == ([0], [0], [0], [])
    second.script = (SMALL,)
    await fills.join(want_of(SMALL, "2.m4s"), Asker.SITE).wait()
    assert (first.asked, second.asked, home.asked, store.asked) == ([0, 0], [0, 0], [0], [])


async def test_bytes_for_the_plan_are_counted_apart(cache: Cache) -> None:
    fills = fills_from(cache, Given("store", SMALL))
    mine = fills.join(want_of(SMALL), of_plan=True)
    assert fills.join(want_of(SMALL)) is mine and mine.awaited
    await mine.wait()
    await fills.join(want_of(SMALL, "2.m4s")).wait()
    assert fills.plan_bytes_by_kind == {"peer": 0, "tier": 0, "store": len(SMALL)}
    assert fills.bytes_by_kind == {"peer": 0, "tier": 0, "store": 2 * len(SMALL)}


async def test_two_that_think_the_other_is_home_do_not_wait_for_each_other(cache: Cache) -> None:
    hold = asyncio.Event()
    fills = fills_from(cache, Given("store", SMALL), stall_s=5)
    fills.home = as_home(Given("home", hold, SMALL))
    ours = fills.join(want_of(SMALL))
    with pytest.raises(Problem) as refused:  # it would wait for whom it may be waiting for
        await fills.join(want_of(SMALL), Asker.SITE).wait()
    assert refused.value.code == "not_held"
    hold.set()
    await ours.wait()
    assert fills.join(want_of(SMALL), Asker.SITE).held


async def test_a_home_that_fails_is_one_source_of_several(cache: Cache) -> None:
    home, store = Given("home", LARGE[:400_000], SourceFailed("reset")), Given("store", LARGE)
    fills = fills_from(cache, store)
    fills.home = as_home(home)
    await fills.join(want_of(LARGE)).wait()
    assert (home.asked, store.asked) == ([0], [400_000])


@pytest.mark.parametrize(("size", "first"), [(1_500_000, 10_000), (1_000_000, 1_000_000)])
async def test_workers_hear_what_is_news(cache: Cache, size: int, first: int) -> None:
    data = (LARGE * 3)[:size]
    pieces = [data[at : at + 10_000] for at in range(0, size, 10_000)]
    fills = fills_from(cache, Given("store", *pieces))
    fill = fills.join(want_of(data))
    heard: list[tuple[int, float]] = []
    fill.watchers.append(lambda told: heard.append((told.landed, time.monotonic())))
    began = time.monotonic()
    await fill.wait()
    assert heard[-1][0] == size
    assert heard[0][0] == first or heard[0][1] - began > 0.04  # the end is near, or is not
    assert len(heard) <= 14  # by amount, and a few by time on a slow machine


async def test_of_a_slow_source_workers_hear_every_piece(cache: Cache) -> None:
    gaps = [asyncio.Event() for _ in range(4)]
    pieces = [LARGE[at : at + 1000] for at in range(0, 4000, 1000)]
    script = [step for pair in zip(pieces, gaps, strict=True) for step in pair]
    fills = fills_from(cache, Given("store", *script, LARGE[4000:]), stall_s=5)
    fill = fills.join(want_of(LARGE))
    heard: asyncio.Queue[int] = asyncio.Queue()
    fill.watchers.append(lambda told: heard.put_nowait(told.landed))
    for at, gap in enumerate(gaps):
        assert await heard.get() == (at + 1) * 1000
        await asyncio.sleep(0.06)
        gap.set()
    await fill.wait()

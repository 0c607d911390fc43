"""Purges in the keeper: once per order, flights included, and said only when all have let go."""

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance import purge
from appliance.board import Board, Word
from appliance.cache import Cache
from appliance.fill import Fills
from appliance.folders import Folders, FolderShare
from appliance.purge import Purger, Selection
from appliance.scrub import Scrubber
from appliance.shelf import Shelf
from appliance.sources import StoreSource
from appliance.upkeep import Upkeep
from appliance.want import FileWant
from media.fleet import (
    MAX_PURGED,
    MAX_REPORT_BYTES,
    Counters,
    Notices,
    Purge,
    Purged,
    PurgeOrder,
    PurgeTarget,
    Report,
)
from media.inventory import sha256_of
from media.objects import open_store
from runtime.errors import Problem
from tests.appliance.inside import Valve
from tests.packages import MadePackage, make_package

SIZES = {"init.mp4": 10, "1.m4s": 100, "2.m4s": 600_000}
FAR = datetime(2100, 1, 1, tzinfo=UTC)


class House:
    """A keeper's parts, with one worker that acknowledges when the test says so."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.board = Board(folder / "board")
        self.row = self.board.row(0)
        self.row[Word.ALIVE] = 1
        folders = Folders([FolderShare(folder / "cache", 10_000_000)], "boot")
        self.cache = Cache(folders, self.board)
        self.cache.open()
        self.fills = Fills(self.cache, stall_s=5)
        self.fills.sources = [StoreSource(open_store(f"file://{folder / 'store'}"))]
        self.purger = Purger(self.cache, self.fills, self.board, folder / "purged.json")
        self.cache.returned = self.purger.again

    def package(self) -> MadePackage:
        return make_package(self.folder / "store", SIZES)

    async def hold(self, package: MadePackage, *paths: str) -> None:
        """These files of the package are held; all, when none is named."""
        for path in paths or ("inventory.json", *package.files):
            await self.fills.join(want(package, path)).wait()

    def held(self, package: MadePackage) -> set[str]:
        """What stands on the disk of it."""
        cache = self.folder / "cache"
        folders = [top / package.package_id for top in (cache, cache / ".new" / "boot")]
        files = [(top, path) for top in folders for path in top.rglob("*") if path.is_file()]
        return {path.relative_to(top).as_posix() for top, path in files}

    def let_go(self) -> None:
        self.row[Word.ACKED] = self.board.epoch

    def hear(self, *orders: PurgeOrder, tombs: tuple[str, ...] = ()) -> None:
        self.purger.hear(
            Notices(
                version=9,
                orders=orders,
                purges=tuple(Purge(package_id=package_id, until=FAR) for package_id in tombs),
            )
        )

    @asynccontextmanager
    async def obeying(self) -> AsyncIterator[None]:
        await Upkeep(self.cache, Scrubber(self.cache, 0)).find_all()
        task = asyncio.create_task(self.purger.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path)
    made.let_go()
    yield made
    await made.fills.close()


def want(package: MadePackage, path: str) -> FileWant:
    if path == "inventory.json":
        digest = package.inventory_sha256
        ids = (package.title_id, package.package_id, digest)
        return FileWant(*ids, path, digest, None, 1_000_000)
    data = package.files[path]
    ids = (package.title_id, package.package_id, package.inventory_sha256)
    return FileWant(*ids, path, sha256_of(data), len(data), len(data))


def hinder(monkeypatch: pytest.MonkeyPatch, number: int) -> list[str]:
    """The first segment cannot be unlinked for this reason. Returns the keys, one a try."""
    unlink, stuck = Shelf.unlink, list[str]()

    def try_to(shelf: Shelf, key: str, *, fresh: bool) -> int | None:
        if key.endswith("/1.m4s"):
            stuck.append(key)
            raise OSError(number, "a test")
        return unlink(shelf, key, fresh=fresh)

    monkeypatch.setattr(Shelf, "unlink", try_to)
    return stuck


async def until(happens: Callable[[], bool]) -> None:
    """It is so. (Words on the board and files ring no bell.)"""
    async with asyncio.timeout(5):
        while not happens():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def test_a_target_names_one_thing() -> None:
    package = "pkg_" + "0" * 26
    for fields in ({}, {"package_id": package, "pattern": "*"}, {"package_id": "pkg_1"}):
        with pytest.raises(ValueError, match=r"one of|pattern"):
            PurgeTarget.model_validate(fields)
    assert str(PurgeTarget(package_id=package)) == package


def test_selection_judges_by_package_title_and_pattern() -> None:
    title, package, other = "ttl_" + "0" * 26, "pkg_" + "0" * 26, "pkg_" + "1" * 26
    by_package = Selection([(3, PurgeTarget(package_id=package))])
    assert by_package.serial_of(None, package, "a") == 3
    assert by_package.serial_of(None, other, "a") is None and not by_package.needs_titles
    both = Selection([(3, PurgeTarget(title_id=title)), (4, PurgeTarget(pattern="*/b"))])
    assert [both.serial_of(title, package, "a"), both.serial_of("ttl_x", other, "b")] == [3, 4]
    assert both.serial_of("ttl_x", other, "a") is None
    assert both.serial_of(None, other, "a") == 3  # nobody knows whose it is: it goes


@pytest.mark.parametrize("kind", ["title", "package", "pattern"])
async def test_what_is_named_goes_and_the_rest_stays(house: House, kind: str) -> None:
    gone, kept = house.package(), house.package()
    await house.hold(gone)
    await house.hold(kept)
    everything = house.held(kept)
    order = {
        "title": PurgeOrder(serial=7, title_id=gone.title_id),
        "package": PurgeOrder(serial=7, package_id=gone.package_id),
        "pattern": PurgeOrder(serial=7, pattern=f"titles/{gone.title_id}/*.m4s"),
    }[kind]
    async with house.obeying():
        house.hear(order)
        await until(lambda: not any(path.endswith(".m4s") for path in house.held(gone)))
        await until(lambda: (house.let_go(), house.purger.serial == 7)[1])
    assert house.held(gone) == (
        {path for path in everything if not path.endswith(".m4s")} if kind == "pattern" else set()
    )
    assert house.held(kept) == everything
    files = 2 if kind == "pattern" else len(everything)
    assert [(done.serial, done.files) for done in house.purger.latest] == [(7, files)]
    await house.hold(gone)
    assert house.held(gone) == everything  # it is brought anew


async def test_an_order_is_obeyed_when_every_worker_has_let_go(house: House) -> None:
    package = house.package()
    await house.hold(package)
    async with house.obeying():
        house.hear(PurgeOrder(serial=7, package_id=package.package_id))
        await until(lambda: not house.held(package))
        other = house.board.row(1)
        other[Word.ALIVE] = 1  # another worker, which still has files at hand
        house.let_go()
        await asyncio.sleep(0.1)
        assert house.purger.serial == 0
        other[Word.ACKED] = house.board.epoch
        await until(lambda: (house.let_go(), house.purger.serial == 7)[1])


async def test_an_order_is_obeyed_once_also_after_restarts(house: House) -> None:
    package = house.package()
    order = PurgeOrder(serial=7, package_id=package.package_id)
    async with house.obeying():
        house.hear(order)
        await until(lambda: (house.let_go(), house.purger.serial == 7)[1])
        await house.hold(package)
        house.hear(order)  # the notices say it again
        await asyncio.sleep(0.05)
    assert house.held(package)
    again = House(house.folder)
    assert again.purger.serial == 7
    async with again.obeying():
        again.hear(order, PurgeOrder(serial=8, pattern="*.nothing"))
        await until(lambda: (again.let_go(), again.purger.serial == 8)[1])
    assert again.held(package)


async def test_one_that_was_begun_is_ended_after_a_restart(house: House) -> None:
    package = house.package()
    await house.hold(package)
    order = PurgeOrder(serial=7, title_id=package.title_id)
    async with house.obeying():
        house.hear(order)
        await until(lambda: not house.held(package))
    # Killed before the worker had let go; half of it had not been unlinked, the inventory had.
    await house.fills.close()
    await house.hold(package, "v-avc-720/1.m4s")
    again = House(house.folder)
    assert again.purger.serial == 0
    async with again.obeying():
        again.hear(order)
        await until(lambda: (again.let_go(), again.purger.serial == 7)[1])
    assert not again.held(package)


async def test_what_an_earlier_run_held_is_found_first(house: House) -> None:
    package = house.package()
    await house.hold(package)
    again = House(house.folder)
    task = asyncio.create_task(again.purger.run())
    again.hear(PurgeOrder(serial=7, package_id=package.package_id))
    again.let_go()
    await asyncio.sleep(0.05)
    assert again.held(package) and again.purger.serial == 0
    await Upkeep(again.cache, Scrubber(again.cache, 0)).find_all()
    await until(lambda: (again.let_go(), again.purger.serial == 7)[1])
    task.cancel()
    assert not again.held(package)


async def test_an_order_stays_open_while_a_file_cannot_be_unlinked(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = house.package()
    await house.hold(package)
    everything, used = house.held(package), house.cache.used_bytes
    monkeypatch.setattr(purge, "_RETRY_S", 0.02)
    stuck = hinder(monkeypatch, errno.EMFILE)  # the disk is not to blame, and stays in service
    async with house.obeying():
        house.hear(PurgeOrder(serial=7, package_id=package.package_id))
        await until(lambda: len(stuck) > 3)
        assert house.purger.serial == 0 and house.held(package) == {"v-avc-720/1.m4s"}
        assert house.cache.holds(stuck[0], 100)  # it counts, and is served
        house.let_go()
        assert house.cache.used_bytes == 100 < used
        monkeypatch.undo()
        await until(lambda: (house.let_go(), house.purger.serial == 7)[1])
    assert not house.held(package) and house.cache.used_bytes == 0
    assert house.purger.latest[0].files == len(everything)


@pytest.mark.parametrize("kind", ["order", "tombstone"])
async def test_a_folder_that_goes_out_keeps_the_purge_open_until_it_is_back(
    house: House, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    package = house.package()
    await house.hold(package)
    upkeep = Upkeep(house.cache, Scrubber(house.cache, 0))
    hinder(monkeypatch, errno.EIO)
    async with house.obeying():
        if kind == "order":
            house.hear(PurgeOrder(serial=7, package_id=package.package_id))
        else:
            house.hear(tombs=(package.package_id,))
        await until(lambda: house.board.folders_out == 1)  # nobody is served from it
        for _ in range(10):
            house.let_go()
            await asyncio.sleep(0.01)
        with pytest.raises(OSError, match="cache folder"):
            await house.purger.purge(PurgeTarget(package_id=package.package_id))
        assert house.held(package) and house.purger.serial == 0
        monkeypatch.undo()
        await upkeep.revive()
        if kind == "order":
            await until(lambda: (house.let_go(), house.purger.serial == 7)[1])
        await until(lambda: not house.held(package))


async def test_a_flight_begun_before_the_order_lands_nothing(house: House) -> None:
    package = house.package()
    valve = Valve(package)
    house.fills.sources = [valve]
    valve.let("v-avc-720/2.m4s", 300_000)
    fill = house.fills.join(want(package, "v-avc-720/2.m4s"))
    await until(lambda: fill.landed == 300_000)
    async with house.obeying():
        house.hear(PurgeOrder(serial=7, title_id=package.title_id))
        for _ in range(10):
            house.let_go()
            await asyncio.sleep(0.01)
        assert house.purger.serial == 0  # it is still on its way
        valve.let("v-avc-720/2.m4s", 600_000)
        with pytest.raises(Problem) as refused:
            await fill.wait()
        assert refused.value.code == "unavailable"
        await until(lambda: (house.let_go(), house.purger.serial == 7)[1])
        assert not house.held(package)
        await house.hold(package, "v-avc-720/2.m4s")  # one begun after it does


async def test_a_withdrawn_order_is_not_obeyed(house: House) -> None:
    package = house.package()
    await house.hold(package)
    house.hear(PurgeOrder(serial=7, package_id=package.package_id))
    house.hear()
    async with house.obeying():
        house.hear(PurgeOrder(serial=9, pattern="*.nothing"))
        await until(lambda: (house.let_go(), house.purger.serial == 9)[1])
    assert house.held(package)


async def test_a_tombstone_needs_no_order_and_forbids(house: House) -> None:
    package = house.package()
    await house.hold(package)
    valve = Valve(package)
    house.fills.sources = [valve]
    valve.let("v-avc-720/2.m4s", 0)
    house.cache.remove([f"{package.package_id}/v-avc-720/2.m4s"])
    fill = house.fills.join(want(package, "v-avc-720/2.m4s"))
    async with house.obeying():
        order = PurgeOrder(serial=7, package_id=package.package_id)
        house.hear(order, tombs=(package.package_id,))
        valve.let("v-avc-720/2.m4s", 600_000)
        await until(lambda: (house.let_go(), house.purger.serial == 7)[1])
        for flight in (fill, house.fills.join(want(package, "v-avc-720/1.m4s"))):
            with pytest.raises(Problem) as refused:
                await flight.wait()
            assert refused.value.code == "purged"
    assert not house.held(package)


async def test_a_purge_of_one_s_own_names_how_many(house: House) -> None:
    package = house.package()
    await house.hold(package)
    letting_go = asyncio.get_running_loop().call_later(0.05, house.let_go)
    files = await house.purger.purge(PurgeTarget(pattern="*/v-avc-720/*"))
    letting_go.cancel()
    assert files == 1 + len(SIZES)
    assert house.purger.serial == 0


def test_a_report_with_every_count_fits() -> None:
    most = 2**63
    report = Report(
        appliance_id="n" * 32, site="n" * 32, url="http://" + "n" * 193, boot_id="b" * 40,
        sequence=most, clock=FAR, state="strained", bottleneck="b" * 120, load=9.9999,
        capacity_bps=most, open_connections=most, budget_bytes=most, used_bytes=most,
        plan_version="v" * 64, notices_version=4_000_000_000_000, purged_serial=4_000_000_000_000,
        purged=tuple(Purged(serial=4_000_000_000_000, files=10**7) for _ in range(MAX_PURGED)),
        counters=Counters.model_validate(dict.fromkeys(Counters.model_fields, most)),
    )  # fmt: skip
    assert len(report.model_dump_json()) <= MAX_REPORT_BYTES

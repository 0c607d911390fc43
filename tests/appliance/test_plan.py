"""The plan: what it wants is brought and pinned, and what it no longer wants is let go."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from appliance.board import Board
from appliance.cache import Cache
from appliance.fill import Fills
from appliance.folders import Folders, FolderShare
from appliance.plan import PlanFollower
from appliance.sources import StoreSource
from appliance.want import FileWant
from media.file_store import FileStore
from media.fill_window import FillWindow
from media.fleet import Plan, PlanItem
from media.http_get import Take
from media.inventory import INVENTORY_NAME, MAX_INVENTORY_BYTES, sha256_of
from tests.appliance.inside import Valve
from tests.packages import MadePackage, make_package

SIZES = {"init.mp4": 100, "1.m4s": 1_000, "2.m4s": 2_000}


NIGHT = FillWindow(start="02:00", end="06:00")
NOON_S, TWO_S, SIX_S = 12 * 3600.0, 26 * 3600.0, 30 * 3600.0


class House:
    """A follower, its cache and its store, wired as the keeper does it; and clocks of its own."""

    def __init__(self, folder: Path) -> None:
        self.clock_s = NOON_S
        self.passed_s = 0.0
        self.cache = Cache(
            Folders([FolderShare(folder / "cache", 2_000_000)], "boot"), Board(folder / "board")
        )
        self.cache.open()
        self.fills = Fills(self.cache, stall_s=5)
        self.fills.sources = [StoreSource(FileStore(folder / "store"))]
        self.follower = PlanFollower(
            self.fills,
            4,
            lambda want: self.cache.path(want.key).read_bytes(),
            self.obey,
            clock_s=lambda: self.clock_s,
            monotonic_s=lambda: self.passed_s,
            sleep=self.sleep,
        )
        self.fills.wanted = self.cache.wanted = self.follower.wants
        self.cache.changed = lambda key, held: None if held else self.follower.lost(key)

    async def sleep(self, seconds: float) -> None:
        self.passed_s += seconds
        await asyncio.sleep(0)

    def obey(self, plan: Plan) -> None:
        self.cache.pin_wanted()

    def pinned(self) -> int:
        return self.cache.pinned_bytes

    @asynccontextmanager
    async def following(
        self, *items: PlanItem, window: FillWindow | None = None, rate_bps: int | None = None
    ) -> AsyncIterator[None]:
        plan = Plan(
            appliance_id="north-1", version="1", items=items, window=window, rate_bps=rate_bps
        )
        self.follower.adopt(plan)
        task = asyncio.create_task(self.follower.keep_filled(plan))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def filled(self) -> None:
        await self.until(lambda: self.follower.missing_files == 0)

    async def until(self, so: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not so():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    def held(self, package: MadePackage) -> set[str]:
        keys = (key.partition("/") for key in self.cache)
        return {path for package_id, _, path in keys if package_id == package.package_id}


def item_of(package: MadePackage, *renditions: str) -> PlanItem:
    return PlanItem(
        title_id=package.title_id,
        package_id=package.package_id,
        inventory_sha256=package.inventory_sha256,
        renditions=renditions or None,
    )


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def package_in(tmp_path: Path) -> MadePackage:
    return make_package(tmp_path / "store", SIZES, ("v-avc-720", "v-avc-360"))


async def test_a_new_plan_lets_go_of_what_it_does_not_name(house: House, tmp_path: Path) -> None:
    package = package_in(tmp_path)
    async with house.following(item_of(package)):
        assert house.follower.missing_files > 0
        await house.filled()
        assert set(house.cache) == {f"{package.package_id}/{path}" for path in package.files}
        everything = house.pinned()
        assert everything == house.cache.used_bytes
    async with house.following(item_of(package, "v-avc-360")):
        await house.filled()
        assert house.pinned() == everything - 3_100 - len(package.files["v-avc-720/files.json"])
    async with house.following():
        assert house.pinned() == 0


async def test_what_is_lost_comes_again(house: House, tmp_path: Path) -> None:
    package = package_in(tmp_path)
    async with house.following(item_of(package)):
        await house.filled()
        house.cache.remove(list(house.cache))
        async with asyncio.timeout(5):
            while len(house.cache) < len(package.files):  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_what_is_purged_is_not_missed(house: House, tmp_path: Path) -> None:
    gone, kept = package_in(tmp_path), package_in(tmp_path)
    house.fills.purge({gone.package_id})
    async with house.following(item_of(gone), item_of(kept)):
        await house.filled()
        assert {key.partition("/")[0] for key in house.cache} == {kept.package_id}


async def test_a_package_that_cannot_be_read_is_tried_again(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.plan._RETRY_S", (0.02, 0.05))
    broken, whole = package_in(tmp_path), package_in(tmp_path)
    async with house.following(item_of(broken), item_of(whole)):
        (broken.folder / "v-avc-720" / "1.m4s").rename(broken.folder / "away")
        async with asyncio.timeout(5):
            while house.follower.missing_files != 1:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        (broken.folder / "away").rename(broken.folder / "v-avc-720" / "1.m4s")
        await house.filled()


async def test_outside_its_window_only_urgent_items_are_filled(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.plan._LOOK_S", 0.01)
    patient, urgent = package_in(tmp_path), package_in(tmp_path)
    wanted = item_of(patient).model_copy(update={"bytes": 6_300})
    rushed = item_of(urgent).model_copy(update={"urgent": True})
    async with house.following(wanted, rushed, window=NIGHT):
        await house.until(lambda: house.follower.state == "waiting")
        assert house.held(urgent) == set(urgent.files) and house.held(patient) == set()
        assert (house.follower.missing_files, house.follower.missing_bytes) == (1, 6_300)
        house.cache.remove([f"{urgent.package_id}/v-avc-720/1.m4s"])  # urgent: at any hour
        await house.until(lambda: house.held(urgent) == set(urgent.files))
        house.clock_s = TWO_S - 1
        await asyncio.sleep(0.05)
        assert house.held(patient) == set()
        house.clock_s = TWO_S
        await house.until(lambda: house.follower.state == "filled")
        assert house.held(patient) == set(patient.files)
        assert house.follower.missing_bytes == 0


async def test_a_window_that_ends_lets_the_file_finish_and_begins_no_other(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.plan._LOOK_S", 0.01)
    package, house.clock_s = package_in(tmp_path), SIX_S - 1
    valve = Valve(package)
    for name in ("1.m4s", "2.m4s", "init.mp4"):
        valve.let(f"v-avc-720/{name}", 50)
        valve.let(f"v-avc-360/{name}", 50)
    house.fills.sources = [valve]
    async with house.following(item_of(package), window=NIGHT):
        await house.until(lambda: len(house.fills) == 4)
        flying = set(house.fills._flights)
        house.clock_s = SIX_S
        for path in package.files:
            valve.let(path, 10_000)
        await house.until(lambda: house.follower.state == "waiting")
        small = {path for path in package.files if not path.endswith((".m4s", ".mp4"))}
        began = {key.partition("/")[2] for key in flying}
        assert house.held(package) == small | began
        left = [data for path, data in package.files.items() if path not in small | began]
        assert house.follower.missing_files == len(left) == 2
        assert house.follower.missing_bytes == sum(map(len, left))
        house.clock_s = TWO_S - 86_400  # a clock that is set back, to where the window is open
        await house.until(lambda: house.follower.state == "filled")


async def test_what_is_held_is_known_at_any_hour(house: House, tmp_path: Path) -> None:
    package = package_in(tmp_path)
    async with house.following(item_of(package)):
        await house.filled()
    house.fills.sources = []
    async with house.following(item_of(package), window=NIGHT):
        await house.until(lambda: house.follower.state == "filled")
    house.cache.remove([f"{package.package_id}/v-avc-360/2.m4s"])
    async with house.following(item_of(package), window=NIGHT):
        await house.until(lambda: house.follower.missing_files == 1)
        assert (house.follower.state, house.follower.missing_bytes) == ("waiting", 2_000)


async def test_bytes_keep_to_the_plan_s_rate(house: House, tmp_path: Path) -> None:
    packages = [package_in(tmp_path) for _ in range(3)]
    size = sum(len(data) for package in packages for data in package.files.values())
    async with house.following(*map(item_of, packages), rate_bps=8 * 500):
        seen: list[tuple[float, int]] = []
        while house.follower.missing_files:
            seen.append((house.passed_s, house.fills.brought_bytes))
            await asyncio.sleep(0)
    assert house.fills.plan_bytes_by_kind == {"peer": 0, "tier": 0, "store": size}
    # One second's worth that was saved up, and in the end one file that is paid for afterwards.
    assert all(brought <= 500 * (passed_s + 1) + 2_000 for passed_s, brought in seen)
    assert house.passed_s >= (size - 2_000) / 500 - 1
    before_s = house.passed_s
    async with house.following(*map(item_of, packages), rate_bps=8):
        await house.filled()  # what is held costs nothing
    assert house.passed_s == before_s


async def test_while_somebody_waits_the_plan_brings_one_file_at_a_time(
    house: House, tmp_path: Path
) -> None:
    package = package_in(tmp_path)
    others = make_package(tmp_path / "store", {"1.m4s": 500})
    valve, missed = Valve(package), Valve(others)
    for path in package.files:
        if path.endswith((".m4s", ".mp4")):
            valve.let(path, 0)
    missed.let("v-avc-720/1.m4s", 0)

    class Both:
        name, kind = "store", valve.kind

        async def pour(self, want: FileWant, offset: int, take: Take) -> None:
            await (missed if want.package_id == others.package_id else valve).pour(
                want, offset, take
            )

    house.fills.sources = [Both()]
    data = others.files["v-avc-720/1.m4s"]
    miss = house.fills.join(
        FileWant(
            others.title_id, others.package_id, others.inventory_sha256, "v-avc-720/1.m4s",
            sha256_of(data), len(data), len(data),
        )
    )  # fmt: skip
    async with house.following(item_of(package)):
        await house.until(lambda: house.follower.missing_files == 6 and len(house.fills) == 2)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(house.fills) == 2
        missed.let("v-avc-720/1.m4s", 500)  # and others are in flight at once
        await miss.wait()
        await house.until(lambda: len(house.fills) == 4)
        for path in package.files:
            valve.let(path, 10_000)
        await house.filled()


async def test_who_joins_a_flight_of_the_plan_is_awaited_too(house: House, tmp_path: Path) -> None:
    package = package_in(tmp_path)
    valve = Valve(package)
    for path in package.files:
        valve.let(path, 0)
    house.fills.sources = [valve]
    first = FileWant(
        package.title_id, package.package_id, package.inventory_sha256, INVENTORY_NAME,
        package.inventory_sha256, None, MAX_INVENTORY_BYTES,
    )  # fmt: skip
    async with house.following(item_of(package)):
        await house.until(lambda: len(house.fills) == 1)
        assert not house.fills.awaited
        fill = house.fills.join(first)
        assert house.fills.awaited and fill.of_plan
        for path in package.files:
            valve.let(path, 10_000)
        await house.filled()
        assert not house.fills.awaited

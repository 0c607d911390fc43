"""The plan: what it wants is brought and pinned, and what it no longer wants is let go."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from appliance.board import Board
from appliance.cache import Cache
from appliance.fill import Fills
from appliance.folders import Folders, FolderShare
from appliance.plan import PlanFollower
from appliance.sources import StoreSource
from media.file_store import FileStore
from media.fleet import Plan, PlanItem
from tests.packages import MadePackage, make_package

SIZES = {"init.mp4": 100, "1.m4s": 1_000, "2.m4s": 2_000}


class House:
    """A follower, its cache and its store, wired as the keeper does it."""

    def __init__(self, folder: Path) -> None:
        self.cache = Cache(
            Folders([FolderShare(folder / "cache", 2_000_000)], "boot"), Board(folder / "board")
        )
        self.cache.open()
        self.fills = Fills(self.cache, stall_s=5)
        self.fills.sources = [StoreSource(FileStore(folder / "store"))]
        self.follower = PlanFollower(
            self.fills, 4, lambda want: self.cache.path(want.key).read_bytes(), self.obey
        )
        self.fills.wanted = self.cache.wanted = self.follower.wants
        self.cache.changed = lambda key, held: None if held else self.follower.lost(key)

    def obey(self, plan: Plan) -> None:
        self.cache.pin_wanted()

    def pinned(self) -> int:
        return self.cache.pinned_bytes

    @asynccontextmanager
    async def following(self, *items: PlanItem) -> AsyncIterator[None]:
        plan = Plan(appliance_id="north-1", version="1", items=items)
        self.follower.adopt(plan)
        task = asyncio.create_task(self.follower.keep_filled(plan))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def filled(self) -> None:
        async with asyncio.timeout(5):
            while self.follower.missing_files:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


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

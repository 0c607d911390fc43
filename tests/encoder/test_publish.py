"""Publishing: whole or not at all."""

import asyncio
from pathlib import Path

import pytest

from encoder.package import Encoded
from encoder.pipeline import encode, unheard
from encoder.publish import publish, standing
from encoder.settings import EncoderSettings
from media.file_store import FileStore
from media.ids import new_id
from media.inventory import INVENTORY_NAME, package_prefix
from media.objects import ProgressFn, StoreUnavailable
from tests.encoder_films import make_film


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Encoded:
    folder = tmp_path_factory.mktemp("publish")
    film = make_film(folder / "film.mp4", seconds=1)
    settings = EncoderSettings(preset="ultrafast")
    return asyncio.run(encode(film, folder / "package", new_id("ttl"), new_id("pkg"), settings))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def prefix_of(made: Encoded) -> str:
    return package_prefix(made.inventory.title_id, made.inventory.package_id)


async def keys(store: FileStore) -> list[str]:
    return [info.key async for info in store.list_objects("")]


class Failing(FileStore):
    """A store that fails: from the `fail_at`-th file on, or at the inventory."""

    def __init__(self, root: Path, fail_at: int = 10**9, inventory: bool = False) -> None:
        super().__init__(root)
        self.left = fail_at
        self.inventory = inventory

    async def put_file(
        self, key: str, path: Path, *, create_only: bool = False, progress: ProgressFn | None = None
    ) -> None:
        self.left -= 1
        if self.left < 0:
            raise StoreUnavailable("the store is away")
        await super().put_file(key, path, create_only=create_only, progress=progress)

    async def put_bytes(self, key: str, data: bytes, *, create_only: bool = False) -> None:
        await super().put_bytes(key, data, create_only=create_only)
        if self.inventory:  # it was put, and the answer got lost
            raise StoreUnavailable("the connection broke")


class Slow(FileStore):
    """A store whose puts wait for `gate`, as in a thread that nobody can stop."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.began, self.gate = asyncio.Event(), asyncio.Event()

    async def put_file(
        self, key: str, path: Path, *, create_only: bool = False, progress: ProgressFn | None = None
    ) -> None:
        self.began.set()
        await self.gate.wait()
        await super().put_file(key, path, create_only=create_only, progress=progress)


class Losing(FileStore):
    """A store that takes a file and does not keep it."""

    async def put_file(
        self, key: str, path: Path, *, create_only: bool = False, progress: ProgressFn | None = None
    ) -> None:
        if not key.endswith(".mpd"):
            await super().put_file(key, path, create_only=create_only, progress=progress)


async def test_the_whole_package_stands_and_the_inventory_came_last(
    made: Encoded, root: Path
) -> None:
    store = FileStore(root)
    told: list[float] = []
    await publish(made, store, lambda progress: told.append(progress.fraction))
    there = {str(p.relative_to(made.folder)) for p in made.folder.rglob("*") if p.is_file()}
    assert {key.removeprefix(prefix_of(made)) for key in await keys(store)} == there
    assert told == sorted(told) and told[-1] == 1.0
    assert await standing(store, made.inventory.title_id, made.inventory.package_id) == (
        made.inventory_sha256
    )
    newest = max(root.rglob("*"), key=lambda path: (path.is_file(), path.stat().st_mtime_ns))
    assert newest.name == INVENTORY_NAME


@pytest.mark.parametrize("fail_at", [0, 1, 5])
async def test_a_store_that_fails_midway_keeps_nothing(
    made: Encoded, root: Path, fail_at: int
) -> None:
    store = Failing(root, fail_at)
    with pytest.raises(StoreUnavailable):
        await publish(made, store, unheard)
    assert await keys(store) == []


async def test_an_inventory_whose_put_may_have_worked_is_taken_back(
    made: Encoded, root: Path
) -> None:
    store = Failing(root, inventory=True)
    with pytest.raises(StoreUnavailable):
        await publish(made, store, unheard)
    assert await keys(store) == []


async def test_a_store_that_loses_a_file_gets_no_inventory(made: Encoded, root: Path) -> None:
    store = Losing(root)
    with pytest.raises(StoreUnavailable, match="does not keep"):
        await publish(made, store, unheard)
    assert await keys(store) == []


async def test_cancelled_while_puts_are_on_their_way(made: Encoded, root: Path) -> None:
    store = Slow(root)
    work = asyncio.create_task(publish(made, store, unheard))
    await store.began.wait()
    work.cancel()
    asyncio.get_running_loop().call_later(0.05, store.gate.set)
    with pytest.raises(asyncio.CancelledError):
        await work
    assert await keys(store) == []


async def test_what_a_killed_attempt_left_is_cleared_away(made: Encoded, root: Path) -> None:
    store = FileStore(root)
    await store.put_bytes(prefix_of(made) + "v-avc-90/1.m4s", b"half")
    await store.put_bytes(prefix_of(made) + "v-avc-999/1.m4s", b"of another ladder")
    await publish(made, store, unheard)
    assert prefix_of(made) + "v-avc-999/1.m4s" not in await keys(store)


async def test_a_package_that_stands_is_left_alone(made: Encoded, root: Path) -> None:
    store = FileStore(root)
    await publish(made, store, unheard)
    before = await keys(store)
    with pytest.raises(StoreUnavailable, match="another attempt"):
        await publish(made, store, unheard)
    assert await keys(store) == before


async def test_a_late_attempt_deletes_nothing_of_a_package_that_stands(
    made: Encoded, root: Path
) -> None:
    """An attempt that was paused in its puts wakes up after another has published."""
    late = Slow(root)
    work = asyncio.create_task(publish(made, late, unheard))
    await late.began.wait()
    await publish(made, FileStore(root), unheard)
    before = await keys(late)
    late.gate.set()
    with pytest.raises(StoreUnavailable, match="another attempt"):
        await work
    assert await keys(late) == before

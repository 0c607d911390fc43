"""What nobody needs leaves the store, and nothing else does."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

import control_plane.sweeper
from control_plane.orphans import MARGIN
from control_plane.removal import KEPT
from control_plane.sweeper import AFTER_A_FAILURE, EVERY, Sweeper
from control_plane.tables import JobRow, RestoreRow
from media.file_store import FileStore
from media.ids import id_from, new_id
from media.inventory import package_prefix
from media.objects import ObjectStore, StoreUnavailable
from media.s3 import S3Store
from tests.control_plane.film import put_package
from tests.control_plane.house import BOTH, House, open_house, send
from tests.control_plane.test_sender import s3  # noqa: F401 (a fixture)

DAY_S = MARGIN.total_seconds() + 60


@pytest.fixture
async def at_s3(tmp_path: Path, s3: str) -> AsyncIterator[House]:  # noqa: F811
    bucket = S3Store("films", endpoint=s3)
    await bucket.create_bucket()
    async with open_house(tmp_path, store=f"s3://films?endpoint={s3}") as house:
        yield house
        await house.store.close()
    await bucket.close()


def made(prefix: str, hours: float = 2.0) -> str:
    """An id of so many hours after now, which is when the database was made."""
    return id_from(prefix, int((time.time() + hours * 3600) * 1000), secrets.randbits(80))


async def everything(store: ObjectStore) -> set[str]:
    return {info.key async for info in store.list_objects("")}


async def pass_through(house: House) -> None:
    """The sweeper goes through the whole store once."""
    sweeper = house.control.sweeper
    house.clock.advance(EVERY.total_seconds())
    await sweeper.sweep()
    while not sweeper.resting:
        await sweeper.sweep()


async def orphans(house: House, title_id: str, package_id: str) -> set[str]:
    """What several crashes have left: keys that nobody needs."""
    gone, left = made("ttl"), made("pkg")
    keys = {
        f"work/{left}/0123/v-avc-360.mp4",
        f"work/{package_id}/0123/done.json",  # its job is done
        f"titles/{title_id}/{left}/v-avc-360/1.m4s",
        f"titles/{gone}/{left}/inventory.json",
        f"masters/{gone}/film.mp4",
        f"{package_prefix(title_id, package_id)}v-avc-360/3.m4s",
        f"{package_prefix(title_id, package_id)}v-avc-360/deeper/3.m4s",
        f"{package_prefix(title_id, package_id)}hls/odd.m3u8",
        f"{package_prefix(title_id, package_id)}v-avc-1080/1.m4s",
    }
    await asyncio.gather(*(house.store.put_bytes(key, b"x") for key in keys))
    return keys


async def not_ours(house: House) -> set[str]:
    """What others keep in the same store."""
    keys = {"masters/notes.txt", "titles/films/a/b", "other/x", f"work/{new_id('job')}/x"}
    await asyncio.gather(*(house.store.put_bytes(key, b"x") for key in keys))
    return keys


@BOTH
async def test_what_no_row_and_no_inventory_names_goes_after_a_day(house: House):
    await sweeps(house)


async def test_and_so_it_does_from_s3(at_s3: House):
    await sweeps(at_s3)


async def sweeps(house: House) -> None:
    title = await house.published()
    assert title.package_id is not None
    whole = await everything(house.store) | await not_ours(house)
    strays = await orphans(house, title.title_id, title.package_id)
    await pass_through(house)
    assert await everything(house.store) == whole | strays  # nothing is a day old
    house.clock.advance(DAY_S)
    await pass_through(house)
    assert await everything(house.store) == whole
    await pass_through(house)
    assert await everything(house.store) == whole


@BOTH
async def test_what_a_job_may_still_need_stays(house: House):
    """While it waits, runs, or has failed and may be tried again; of the last only a day."""
    job = await house.upload()
    lease = await house.lease()
    folders = (f"work/{lease.package_id}/", package_prefix(lease.title_id, lease.package_id))
    for folder in folders:
        await house.store.put_bytes(f"{folder}v-avc-360/1.m4s", b"x")
    whole = await everything(house.store)
    house.clock.advance(DAY_S)
    await pass_through(house)  # the lease has run out, too: another encoder may have it
    assert await everything(house.store) == whole
    word = {"attempt": 1, "code": "encode_failed", "message": "killed", "retry": False}
    await send(house.machine("encoder"), "POST", f"/v1/jobs/{job['job_id']}/fail", **word)
    await pass_through(house)
    assert await everything(house.store) == whole
    house.clock.advance(KEPT.total_seconds() + 60)
    await house.control.removal.clear_jobs()
    assert await everything(house.store) == {lease.master_key}

    # An encoder that was thought dead writes its last. `removal` clears away once more.
    for folder in folders:
        await house.store.put_bytes(f"{folder}late.mp4", b"x")
    late = await everything(house.store)
    house.clock.advance(DAY_S)
    await pass_through(house)
    assert await everything(house.store) == late
    await house.control.removal.clear_jobs()
    assert await everything(house.store) == {lease.master_key}

    # And of a job that is tried again nothing is touched.
    house.expired()
    api = await house.account("operator")
    await send(api, "POST", f"/v1/jobs/{job['job_id']}/retry")
    for folder in folders:
        await house.store.put_bytes(f"{folder}v-avc-360/1.m4s", b"x")
    house.clock.advance(DAY_S)
    await pass_through(house)
    await house.control.removal.clear_jobs()
    assert await everything(house.store) == whole


@pytest.mark.parametrize("path", ["inventory.json", "v-avc-360/files.json", "a-aac-en/files.json"])
@pytest.mark.parametrize("how", ["other", "gone"])
async def test_of_a_package_that_cannot_be_read_nothing_goes(house: House, path: str, how: str):
    title = await house.published()
    assert title.package_id is not None
    folder = package_prefix(title.title_id, title.package_id)
    await house.store.put_bytes(f"{folder}hls/odd.m3u8", b"x")
    if how == "gone":
        await house.store.delete(folder + path)
    else:
        await house.store.put_bytes(folder + path, b"{}")
    whole = await everything(house.store)
    house.clock.advance(DAY_S)
    await pass_through(house)
    assert await everything(house.store) == whole


async def test_a_rendition_of_which_nothing_is_there_is_a_doubt(house: House):
    title = await house.published()
    folder = f"titles/{title.title_id}/"
    found = await everything(house.store)
    await asyncio.gather(*(house.store.delete(key) for key in found if "/a-aac-en/" in key))
    await house.store.put_bytes(f"{folder}{title.package_id}/odd", b"x")
    house.clock.advance(DAY_S)
    await pass_through(house)
    assert f"{folder}{title.package_id}/odd" in await everything(house.store)


async def test_a_package_that_was_clean_is_not_read_again(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    title = await house.published()
    await pass_through(house)

    async def refuse(store: FileStore, key: str, *, max_bytes: int) -> bytes:
        raise AssertionError(f"{key} is read again")

    monkeypatch.setattr(FileStore, "get_bytes", refuse)
    await pass_through(house)
    monkeypatch.undo()
    stray = f"titles/{title.title_id}/{title.package_id}/odd"
    await house.store.put_bytes(stray, b"x")
    house.clock.advance(DAY_S)
    await pass_through(house)
    assert stray in await everything(house.store)
    # After a restart it is read once more.
    database = house.control.sweeper._database
    await Sweeper(database, house.store, house.clock).sweep()
    assert stray not in await everything(house.store)


async def test_a_store_that_goes_away_only_delays(house: House, monkeypatch: pytest.MonkeyPatch):
    """The pass goes on where it was broken off."""
    for number in range(6):
        await house.store.put_bytes(f"masters/{made('ttl')}/{number}.mp4", b"x")
    title = await house.published()
    monkeypatch.setattr(control_plane.sweeper, "FOLDERS_AT_ONCE", 2)
    house.clock.advance(DAY_S)
    sweeper = house.control.sweeper
    looked_at: list[str] = []
    delete = FileStore.delete

    async def flaky(store: FileStore, key: str) -> None:
        looked_at.append(key)
        if len(looked_at) == 4:
            raise StoreUnavailable("away")
        await delete(store, key)

    begun: list[str] = []
    listing = FileStore.list_folders

    def noted(store: FileStore, folder: str, after: str = "") -> AsyncIterator[str]:
        begun.extend([after] if folder == "masters/" else [])
        return listing(store, folder, after)

    monkeypatch.setattr(FileStore, "delete", flaky)
    monkeypatch.setattr(FileStore, "list_folders", noted)
    with pytest.raises(StoreUnavailable):
        await sweeper.sweep()
    assert sweeper.resting
    await sweeper.sweep()  # not at once
    assert len(looked_at) == 4
    house.clock.advance(AFTER_A_FAILURE.total_seconds())
    await sweeper.sweep()
    assert (len(looked_at) == 7 and looked_at[3] == looked_at[4]) or looked_at[3] in looked_at[4:]
    left = await everything(house.store)
    assert {key.split("/")[1] for key in left} == {title.title_id}


async def test_a_round_ends_in_the_middle_of_a_large_store(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    """And the next one goes on: the other chores have had their turn."""
    left = made("ttl")
    for number in range(30):
        await house.store.put_bytes(f"masters/{left}/{number:02}.mp4", b"x")
    monkeypatch.setattr(control_plane.sweeper, "PAGE", 10)
    monkeypatch.setattr(control_plane.sweeper, "ROUND_S", 0.0001)
    house.clock.advance(DAY_S)
    rounds = []
    for _ in range(20):
        await house.control.sweeper.sweep()
        rounds.append(len(await everything(house.store)))
        if house.control.sweeper.resting:
            break
    assert rounds[0] == 20 and rounds[-1] == 0 and len(rounds) >= 4


@BOTH
async def test_what_was_made_between_a_backup_and_its_restore_stays(house: House):
    """The database does not know it; somebody may, and it is films."""
    before, between, after = (made("ttl", hours) for hours in (5, 15, 25))
    for title_id in (before, between, after):
        await house.store.put_bytes(f"masters/{title_id}/film.mp4", b"x")
    now = house.clock()
    moments = {"backup_at": now + timedelta(hours=10), "restored_at": now + timedelta(hours=20)}
    async with house.control.sweeper._database.writing() as session:
        session.add(RestoreRow(**moments))
    house.clock.advance(DAY_S)
    await pass_through(house)
    assert await everything(house.store) == {f"masters/{between}/film.mp4"}


async def test_a_new_database_beside_a_store_of_films_touches_none(house: House):
    """The old one was lost, and is about to be restored."""
    title, package = made("ttl", -2), made("pkg", -2)
    keys = {f"masters/{title}/film.mp4", f"titles/{title}/{package}/1.m4s", f"work/{package}/x"}
    await asyncio.gather(*(house.store.put_bytes(key, b"x") for key in keys))
    house.clock.advance(30 * DAY_S)
    await pass_through(house)
    assert await everything(house.store) == keys


async def test_a_package_is_published_while_the_sweeper_looks(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    """It has listed the folder before there was a row, and asks for rows after."""
    await house.upload()
    lease = await house.lease()
    await put_package(house.store, lease.title_id, lease.package_id)
    whole = await everything(house.store)
    house.clock.advance(DAY_S)
    listing = FileStore.list_folders

    async def slow(store: FileStore, folder: str, after: str = "") -> AsyncIterator[str]:
        async for found in listing(store, folder, after):
            if found.endswith(f"{lease.package_id}/") and folder.startswith("titles/"):
                await house.complete(lease)
            yield found

    monkeypatch.setattr(FileStore, "list_folders", slow)
    await pass_through(house)
    assert await everything(house.store) >= whole
    async with house.control.sweeper._database.reading() as session:
        assert await session.scalar(select(JobRow.state)) == "done"

"""A package in whose place another plays goes, once nobody can play it any more."""

from datetime import timedelta

import pytest
from sqlalchemy import select, text, update

from control_plane.clock import utc_now
from control_plane.removal import told_until
from control_plane.tables import PackageRow, SessionRow
from media.api import Lease, Title
from media.file_store import FileStore
from media.fleet import PackageList
from media.objects import StoreUnavailable
from tests.control_plane.house import BOTH, MASTER, House, code_of, send

# Of a film of 12 s: twice it, four hours, a minute's leeway, and a minute to start.
LAPSES_S = 24 + 4 * 3600 + 60 + 60


async def encode_again(house: House, title: Title) -> Lease:
    """Another master of the title is uploaded; its job is leased."""
    api = await house.account("operator")
    path = f"/v1/titles/{title.title_id}/uploads"
    upload = await send(api, "POST", path, filename="b.mp4", bytes=len(MASTER), publish=True)
    headers = await api.send("PUT", upload["parts"][0]["url"], MASTER, timeout_s=5)
    done = {"parts": [{"number": 1, "etag": headers["ETag"]}]}
    await send(api, "POST", f"/v1/uploads/{upload['upload_id']}/complete", **done)
    return await house.lease()


async def rows(house: House) -> dict[str, PackageRow]:
    async with house.control.removal._database.reading() as session:
        return {row.package_id: row for row in await session.scalars(select(PackageRow))}


async def stored(house: House, package_id: str | None) -> int:
    found = [info.key async for info in house.store.list_objects("titles/")]
    return sum(f"/{package_id}/" in key for key in found)


async def passes(house: House, seconds: float) -> None:
    """So much time, for packages and sessions: steering has a clock of its own."""
    ms = int(seconds * 1000)
    earlier = [
        text(f"UPDATE packages SET superseded_at = superseded_at - {ms}"),
        text(f"UPDATE sessions SET expires_at = expires_at - {ms}"),
    ]
    async with house.control.removal._database.writing() as session:
        for change in earlier:
            await session.execute(change)


async def wanted(house: House) -> set[str]:
    """The packages that steering puts into plans."""
    listed = await house.machine("steering").call("GET", "/v1/packages", PackageList)
    return {package.package_id for package in listed.packages}


@BOTH
async def test_it_goes_once_its_last_token_has_lapsed(house: House):
    title = await house.published()
    first = str(title.package_id)
    lease = await encode_again(house, title)
    assert (await rows(house))[first].superseded_at is None
    await house.complete(lease)
    second = lease.package_id
    assert await wanted(house) == {second}  # no plan names the first one any more
    found = await rows(house)
    assert found[first].superseded_at is not None and found[second].superseded_at is None

    await passes(house, LAPSES_S - 30)
    await house.control.removal.remove_superseded()
    assert house.steering.tombstones == {} and await stored(house, first)
    await passes(house, 60)
    await house.control.removal.remove_superseded()
    assert set(house.steering.tombstones) == {first}  # so appliances drop it
    assert house.steering.tombstones[first].until > house.clock() + timedelta(days=1)
    assert await stored(house, first) == 0 and await stored(house, second)
    assert set(await rows(house)) == {second}
    assert (await house.store.stat(lease.master_key)).bytes  # masters are the title's
    await house.play(title)


@BOTH
async def test_not_while_a_session_could_play_it(house: House):
    """It was given a longer life by earlier settings than they say today."""
    title = await house.published()
    first = str(title.package_id)
    session = await house.play(title)
    await house.complete(await encode_again(house, title))
    longer = update(SessionRow).values(expires_at=house.clock() + timedelta(days=3))
    async with house.control.removal._database.writing() as database:
        await database.execute(longer.where(SessionRow.session_id == session.session_id))
    await passes(house, 2 * 86_400)
    await house.control.removal.remove_superseded()
    assert await stored(house, first) and house.steering.tombstones == {}
    await passes(house, 86_400 + 30)
    await house.control.removal.remove_superseded()
    assert await stored(house, first)  # tokens are taken for a minute more
    await passes(house, 60)
    await house.control.playback.drop_expired()
    await house.control.removal.remove_superseded()
    assert await stored(house, first) == 0


@BOTH
@pytest.mark.parametrize("away", ["steering", "store"])
async def test_a_service_that_is_away_delays_it(
    house: House, away: str, monkeypatch: pytest.MonkeyPatch
):
    title = await house.published()
    first = str(title.package_id)
    await house.complete(await encode_again(house, title))
    await passes(house, LAPSES_S + 60)
    if away == "steering":
        await house.stop_steering()
        assert await code_of(house.control.removal.remove_superseded()) == "steering_unavailable"
        assert await stored(house, first)  # nobody was told: an appliance may still fill
        await house.start_steering()
    else:

        async def refuse(store: FileStore, key: str) -> None:
            raise StoreUnavailable("away")

        with monkeypatch.context() as while_away:
            while_away.setattr(FileStore, "delete", refuse)
            with pytest.raises(StoreUnavailable):
                await house.control.removal.remove_superseded()
        assert first in await rows(house)  # the row goes last
    await house.control.removal.remove_superseded()
    assert await stored(house, first) == 0 and first not in await rows(house)


@BOTH
async def test_of_two_encodes_side_by_side_the_earlier_upload_is_superseded(house: House):
    """Also when it is done later."""
    title = await house.published()
    earlier = await encode_again(house, title)
    later = await encode_again(house, title)
    await house.complete(later)
    await house.complete(earlier)
    found = await rows(house)
    standing = {one for one, row in found.items() if row.superseded_at is None}
    assert standing == {later.package_id}
    await passes(house, LAPSES_S + 60)
    await house.control.removal.remove_superseded()
    assert set(await rows(house)) == {later.package_id}


@BOTH
async def test_what_a_title_plays_is_never_touched(house: House):
    """Whatever its row says."""
    title = await house.published()
    async with house.control.removal._database.writing() as session:
        await session.execute(update(PackageRow).values(superseded_at=house.clock()))
    await passes(house, LAPSES_S + 60)
    await house.control.removal.remove_superseded()
    assert await stored(house, title.package_id) and house.steering.tombstones == {}


def test_a_tombstone_that_is_said_again_is_no_news() -> None:
    now = utc_now().replace(hour=1)
    assert told_until(now) == told_until(now + timedelta(hours=20))
    assert timedelta(days=1) < told_until(now) - now <= timedelta(days=2)

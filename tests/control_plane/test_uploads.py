"""Uploads: whole masters get in, anything else leaves nothing behind."""

import asyncio
import hashlib
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from media.api import Job, Upload
from media.file_store import FileStore
from media.ids import new_id
from media.objects import MIN_PART_BYTES, DonePart, StoreUnavailable
from tests.control_plane.house import MASTER, House, code_of, open_house, send

TWO_PARTS = b"0123456789abcdef" * (MIN_PART_BYTES // 16) + b"the rest"


async def start(house: House, data: bytes = MASTER, filename: str = "film.mp4") -> Upload:
    api = await house.account("operator")
    title = await send(api, "POST", "/v1/titles", name="Film")
    answer = await send(
        api, "POST", f"/v1/titles/{title['title_id']}/uploads", filename=filename, bytes=len(data)
    )
    return Upload.model_validate(answer)


async def put(house: House, upload: Upload, number: int, data: bytes) -> str:
    api = await house.account("operator")
    url = upload.parts[number - 1].url
    return (await api.send("PUT", url, data, timeout_s=5))["ETag"]


async def complete(house: House, upload: Upload, *etags: str, **more: object) -> Job:
    api = await house.account("operator")
    parts = [{"number": number, "etag": etag} for number, etag in enumerate(etags, start=1)]
    path = f"/v1/uploads/{upload.upload_id}/complete"
    return Job.model_validate(await send(api, "POST", path, parts=parts, **more))


def stored(house: House) -> list[Path]:
    """Every file in the store, finished or not."""
    return [path for path in (house.data / "store").rglob("*") if path.is_file()]


@pytest.fixture
async def small_parts(tmp_path: Path):
    async with open_house(tmp_path, part_bytes=MIN_PART_BYTES) as opened:
        yield opened


async def test_parts_in_any_order_make_the_master(small_parts: House):
    house = small_parts
    upload = await start(house, TWO_PARTS)
    assert [(part.number, part.offset, part.bytes) for part in upload.parts] == [
        (1, 0, MIN_PART_BYTES),
        (2, MIN_PART_BYTES, 8),
    ]
    second = await put(house, upload, 2, TWO_PARTS[MIN_PART_BYTES:])
    await put(house, upload, 1, b"x" * MIN_PART_BYTES)
    first = await put(house, upload, 1, TWO_PARTS[:MIN_PART_BYTES])  # a part may be put again
    sha256 = hashlib.sha256(TWO_PARTS).hexdigest()
    await complete(house, upload, first, second, sha256=sha256)
    lease = await house.lease()
    assert lease.master_sha256 == sha256
    assert await house.store.get_bytes(lease.master_key, max_bytes=10**8) == TWO_PARTS
    assert len(stored(house)) == 1


async def test_a_part_of_another_size_is_refused(house: House):
    upload = await start(house)
    assert await code_of(put(house, upload, 1, MASTER[:-1])) == "parts_differ"
    assert await code_of(put(house, upload, 1, MASTER + b"x")) == "parts_differ"

    async def unannounced():  # a chunked body says no length beforehand
        for _ in range(3):
            yield MASTER

    headers = {"Authorization": f"Bearer {await house.access_token('operator')}"}
    async with (
        aiohttp.ClientSession(headers=headers) as browser,
        browser.put(upload.parts[0].url, data=unannounced()) as answer,
    ):
        assert (await answer.json())["code"] == "parts_differ"
    assert stored(house) == []


async def test_a_part_that_is_not_there(house: House):
    upload = await start(house)
    api = await house.account("operator")
    base = upload.parts[0].url.rpartition("/")[0]
    for number in ("2", "0", "10001", "x", "1.0", "01", "+1"):
        assert await code_of(api.send("PUT", f"{base}/{number}", b"x", timeout_s=5)) == "not_found"


async def test_a_cut_off_part_leaves_nothing(house: House):
    upload = await start(house)
    url = urlsplit(upload.parts[0].url)
    token = await house.access_token("operator")
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(
        f"PUT {url.path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Length: {len(MASTER)}\r\n\r\n".encode()
        + MASTER[:1000]
    )
    await writer.drain()
    writer.close()
    await reader.read()
    assert stored(house) == []
    etag = await put(house, upload, 1, MASTER)  # the same part may come again
    assert (await complete(house, upload, etag)).state == "queued"


async def test_a_part_goes_to_disk_while_it_comes(small_parts: House):
    """Parts can be large and many: none is held in memory."""
    house = small_parts
    upload = await start(house, TWO_PARTS)
    half, more = MIN_PART_BYTES // 2, asyncio.Event()

    async def slowly():
        yield TWO_PARTS[:half]
        await more.wait()
        yield TWO_PARTS[half:MIN_PART_BYTES]

    headers = {
        "Authorization": f"Bearer {await house.access_token('operator')}",
        "Content-Length": str(MIN_PART_BYTES),
    }
    async with aiohttp.ClientSession(headers=headers) as browser:
        putting = asyncio.create_task(browser.put(upload.parts[0].url, data=slowly()), name="put")
        async with asyncio.timeout(5):
            while sum(path.stat().st_size for path in stored(house)) < half:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        more.set()
        async with await putting as answer:
            first = answer.headers["ETag"]
    second = await put(house, upload, 2, TWO_PARTS[MIN_PART_BYTES:])
    await complete(house, upload, first, second, sha256=hashlib.sha256(TWO_PARTS).hexdigest())


async def test_parts_must_be_all_there(small_parts: House):
    house = small_parts
    upload = await start(house, TWO_PARTS)
    first = await put(house, upload, 1, TWO_PARTS[:MIN_PART_BYTES])
    assert await code_of(complete(house, upload, first)) == "parts_differ"
    assert await code_of(complete(house, upload, first, "deadbeefdeadbeef")) == "parts_differ"
    assert await code_of(complete(house, upload, first, "../../x")) == "parts_differ"
    second = await put(house, upload, 2, TWO_PARTS[MIN_PART_BYTES:])  # still open
    assert await code_of(complete(house, upload, first, second, "a")) == "parts_differ"
    await complete(house, upload, first, second)


async def test_a_wrong_digest_ends_the_upload_and_leaves_nothing(house: House):
    upload = await start(house)
    etag = await put(house, upload, 1, MASTER)
    assert await code_of(complete(house, upload, etag, sha256="0" * 64)) == "parts_differ"
    assert stored(house) == []
    right = hashlib.sha256(MASTER).hexdigest()
    assert await code_of(complete(house, upload, etag, sha256=right)) == "unknown_upload"
    assert await house.machine("encoder").call_raw("POST", "/v1/jobs/lease") == b'{"lease":null}'


async def test_completing_again_gives_the_same_job(house: House):
    upload = await start(house)
    etag = await put(house, upload, 1, MASTER)
    jobs = await asyncio.gather(*(complete(house, upload, etag) for _ in range(5)))
    assert {job.job_id for job in jobs} == {(await complete(house, upload, etag)).job_id}
    lease = await house.lease()
    assert lease.job_id == jobs[0].job_id
    assert (await house.machine("encoder").call_raw("POST", "/v1/jobs/lease")) == b'{"lease":null}'


async def test_completing_goes_on_where_a_crash_left_it(house: House):
    """The store had put the parts together, but no job was written."""
    upload = await start(house)
    etag = await put(house, upload, 1, MASTER)
    folder = next((house.data / "store" / ".uploads").iterdir())
    done = DonePart(1, etag.strip('"'))
    await house.store.finish_upload(f"masters/{upload.title_id}/film.mp4", folder.name, [done])
    assert (await complete(house, upload, etag)).state == "queued"


async def test_aborting_leaves_nothing(house: House):
    upload = await start(house)
    await put(house, upload, 1, MASTER)
    api = await house.account("operator")
    await api.call_raw("DELETE", f"/v1/uploads/{upload.upload_id}")
    assert stored(house) == []
    assert await code_of(put(house, upload, 1, MASTER)) == "unknown_upload"
    again = api.call_raw("DELETE", f"/v1/uploads/{upload.upload_id}")
    assert await code_of(again) == "unknown_upload"


@pytest.mark.parametrize("what", ["upload", "title"])
async def test_dropping_wins_over_completing(
    house: House, what: str, monkeypatch: pytest.MonkeyPatch
):
    """The master is put together after all else was cleared away: it goes, too."""
    upload = await start(house)
    etag = await put(house, upload, 1, MASTER)
    assembling, cleared = asyncio.Event(), asyncio.Event()

    async def late(store: FileStore, key: str, upload_id: str, parts: list[DonePart]) -> None:
        assembling.set()
        await cleared.wait()
        await store.put_bytes(key, MASTER)

    monkeypatch.setattr(FileStore, "finish_upload", late)
    completing = asyncio.create_task(code_of(complete(house, upload, etag)), name="completing")
    await assembling.wait()
    api = await house.account("operator")
    id_of = {"upload": upload.upload_id, "title": upload.title_id}
    await api.call_raw("DELETE", f"/v1/{what}s/{id_of[what]}")
    await house.control.removal.remove_titles()
    cleared.set()
    assert await completing == f"unknown_{what}"
    assert stored(house) == []
    assert await house.machine("encoder").call_raw("POST", "/v1/jobs/lease") == b'{"lease":null}'


async def test_completing_wins_over_dropping(house: House):
    """Whoever read the upload before it got its job leaves the master alone."""
    upload = await start(house)
    etag = await put(house, upload, 1, MASTER)
    open_upload = await house.control.uploads._open(upload.upload_id)
    await complete(house, upload, etag)
    await house.control.uploads._drop(open_upload)
    lease = await house.lease()
    assert await house.store.get_bytes(lease.master_key, max_bytes=10**6) == MASTER


async def test_a_drop_that_was_interrupted_goes_on(house: House, monkeypatch: pytest.MonkeyPatch):
    upload = await start(house)
    await put(house, upload, 1, MASTER)

    async def away(store: FileStore, key: str, upload_id: str) -> None:
        raise StoreUnavailable("away")

    api = await house.account("operator")
    abort = f"/v1/uploads/{upload.upload_id}"
    with monkeypatch.context() as while_away:
        while_away.setattr(FileStore, "abort_upload", away)
        assert await code_of(api.call_raw("DELETE", abort)) == "store_unavailable"
    assert await code_of(put(house, upload, 1, MASTER)) == "unknown_upload"
    await house.control.uploads.drop_stale()
    assert stored(house) == []


async def test_what_no_row_names_is_swept_away(house: House):
    """A crash came between the store and the row."""
    orphan = await house.store.start_upload("masters/ttl/film.mp4")
    (house.data / "store" / ".uploads" / orphan / "1.tmp").write_bytes(b"half a part")
    (house.data / "store" / ".uploads" / "half.tmp").write_bytes(b"half an object")
    await house.control.uploads.sweep()
    assert len(stored(house)) == 2
    house.clock.advance(49 * 3600)
    await house.control.uploads.sweep()
    assert stored(house) == []


async def test_an_upload_that_was_left_is_dropped_after_a_day(house: House):
    upload = await start(house)
    await put(house, upload, 1, MASTER)
    house.clock.advance(23 * 3600)
    await house.control.uploads.drop_stale()
    assert len(stored(house)) == 1
    house.clock.advance(2 * 3600)
    await house.control.uploads.drop_stale()
    assert stored(house) == []
    house.expired()
    assert await code_of(put(house, upload, 1, MASTER)) == "unknown_upload"


async def test_a_finished_upload_is_never_dropped(house: House):
    await house.upload()
    house.clock.advance(100 * 3600)
    await house.control.uploads.drop_stale()
    assert len(stored(house)) == 1


async def test_sizes_are_checked(house: House):
    api = await house.account("operator")
    title = await send(api, "POST", "/v1/titles", name="Film")
    path = f"/v1/titles/{title['title_id']}/uploads"
    for size in (0, -1, 1 << 60):
        assert await code_of(send(api, "POST", path, filename="a", bytes=size)) == "invalid_field"


async def test_uploads_that_are_not_there(house: House):
    api = await house.account("operator")
    path = f"/v1/titles/{new_id('ttl')}/uploads"
    assert await code_of(send(api, "POST", path, filename="a", bytes=1)) == "unknown_title"
    missing = f"/v1/uploads/{new_id('upl')}"
    assert await code_of(send(api, "DELETE", missing)) == "unknown_upload"
    assert await code_of(send(api, "PUT", f"{missing}/parts/1")) == "unknown_upload"
    parts = [{"number": 1, "etag": "x"}]
    assert await code_of(send(api, "POST", f"{missing}/complete", parts=parts)) == "unknown_upload"


async def test_a_store_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = f"s3://masters?endpoint=http://127.0.0.1:{port}"
    async with open_house(tmp_path, store=store) as house:
        assert await code_of(start(house)) == "store_unavailable"
        with closing(sqlite3.connect(tmp_path / "control.db")) as database:
            assert database.execute("SELECT count(*) FROM uploads").fetchone() == (0,)
        health = house.anonymous().call_raw("GET", "/healthz")
        assert await code_of(health) == ""


SRT = b"1\n00:00:01,000 --> 00:00:02,000\nHello\n"


async def put_subtitles(house: House, upload: Upload, language: str, raw: bytes = SRT) -> None:
    api = await house.account("operator")
    url = f"{api.base_url}/v1/uploads/{upload.upload_id}/subtitles/{language}"
    await api.send("PUT", url, raw, timeout_s=5)


async def test_subtitles_come_beside_the_master(house: House):
    upload = await start(house)
    for language in ("en", "pt-BR", "EN"):  # the last one in place of the first
        await put_subtitles(house, upload, language)
    await complete(house, upload, await put(house, upload, 1, MASTER))
    lease = await house.lease()
    assert [beside.language for beside in lease.subtitles] == ["en", "pt-BR"]
    for beside in lease.subtitles:
        assert await house.store.get_bytes(beside.key, max_bytes=1000) == SRT
    assert len(stored(house)) == 3


async def test_what_are_no_subtitles_is_refused(house: House):
    upload = await start(house)
    assert await code_of(put_subtitles(house, upload, "en", b"hello")) == "bad_subtitles"
    assert await code_of(put_subtitles(house, upload, "english")) == "not_found"
    assert await code_of(put_subtitles(house, upload, "en", bytes(17 << 20))) == "bad_subtitles"
    for number in range(32):
        await put_subtitles(house, upload, f"a{chr(97 + number % 26)}{'ab'[number // 26]}")
    assert await code_of(put_subtitles(house, upload, "en")) == "bad_subtitles"  # one too many
    api = await house.account("operator")
    await api.call_raw("DELETE", f"/v1/uploads/{upload.upload_id}")
    assert stored(house) == []
    assert await code_of(put_subtitles(house, upload, "en")) == "unknown_upload"

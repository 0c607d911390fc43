"""One contract for every store: files, moto (a quick S3) and Swift (a real one)."""

import asyncio
import errno
import os
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from moto.server import ThreadedMotoServer

from media.file_store import FileStore
from media.ids import new_id
from media.objects import (
    DonePart,
    ObjectStore,
    StoreFull,
    StoreUnavailable,
    check_key,
    open_store,
)
from media.s3 import S3Store
from tests.swift import S3Server, running_swift

MIB = 1024 * 1024
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield S3Server(f"http://{host}:{port}", "any", "any")
    server.stop()


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_swift(tmp_path_factory.mktemp("swift")) as server:
        yield server


@pytest.fixture(params=["file", "moto", "swift"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ObjectStore]:
    if request.param == "file":
        yield FileStore(tmp_path / "store")
        return
    server: S3Server = request.getfixturevalue(request.param)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
    bucket = new_id("b").replace("_", "-")
    opened = open_store(f"s3://{bucket}?endpoint={server.endpoint}&prefix=films")
    assert isinstance(opened, S3Store)
    await opened.create_bucket()
    yield opened
    await opened.close()


async def test_others_open_it_by_its_url_and_read_at_an_address(store: ObjectStore) -> None:
    other = open_store(store.url)
    await other.put_bytes("titles/a/film (1).mp4", b"frames")
    address = await store.address("titles/a/film (1).mp4", 60)
    if address.startswith("http"):
        read = await asyncio.to_thread(lambda: urllib.request.urlopen(address, timeout=5).read())
    else:
        read = Path(address).read_bytes()
    assert read == b"frames"
    assert "testing" not in store.url  # nobody's secret
    await other.close()


async def test_put_get_stat_delete(store: ObjectStore) -> None:
    await store.put_bytes("titles/a/x.m4s", b"hello")
    assert await store.get_bytes("titles/a/x.m4s", max_bytes=5) == b"hello"
    assert (await store.stat("titles/a/x.m4s")).bytes == 5
    with pytest.raises(ValueError, match="larger"):
        await store.get_bytes("titles/a/x.m4s", max_bytes=4)
    await store.put_bytes("titles/a/x.m4s", b"other")
    assert await store.get_bytes("titles/a/x.m4s", max_bytes=5) == b"other"
    await store.delete("titles/a/x.m4s")
    await store.delete("titles/a/x.m4s")
    for missing in (store.stat("titles/a/x.m4s"), store.get_bytes("titles/a/x.m4s", max_bytes=5)):
        with pytest.raises(FileNotFoundError):
            await missing


async def test_create_only_never_replaces(store: ObjectStore, tmp_path: Path) -> None:
    await store.put_bytes("a/inventory.json", b"first", create_only=True)
    with pytest.raises(FileExistsError):
        await store.put_bytes("a/inventory.json", b"second", create_only=True)
    (tmp_path / "third").write_bytes(b"third")
    with pytest.raises(FileExistsError):
        await store.put_file("a/inventory.json", tmp_path / "third", create_only=True)
    assert await store.get_bytes("a/inventory.json", max_bytes=99) == b"first"
    await store.put_file("a/1.m4s", tmp_path / "third", create_only=True)
    assert await store.get_bytes("a/1.m4s", max_bytes=99) == b"third"
    (tmp_path / "large").write_bytes(bytes(17 * MIB))
    await store.put_file("a/2.m4s", tmp_path / "large", create_only=True)
    assert (await store.stat("a/2.m4s")).bytes == 17 * MIB
    with pytest.raises(FileExistsError):
        await store.put_file("a/2.m4s", tmp_path / "large", create_only=True)


async def test_files_go_in_and_out_with_progress(store: ObjectStore, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(os.urandom(18 * MIB))  # more than one part
    seen: list[int] = []
    await store.put_file("masters/ttl/film one.mp4", source, progress=seen.append)
    assert seen[-1] == 18 * MIB and seen == sorted(seen)
    seen.clear()
    await store.get_file("masters/ttl/film one.mp4", target, progress=seen.append)
    assert target.read_bytes() == source.read_bytes() and seen[-1] == 18 * MIB
    with pytest.raises(FileNotFoundError):
        await store.get_file("masters/none", target)


async def test_objects_are_poured_from_a_byte_on(store: ObjectStore) -> None:
    data = os.urandom(700_000)
    await store.put_bytes("a/b", data)

    async def read(key: str, start: int = 0) -> bytes:
        poured = bytearray()
        await store.pour(key, poured.extend, start)
        return bytes(poured)

    assert await read("a/b") == data
    assert await read("a/b", 10) == data[10:]
    assert await read("a/b", 699_999) == data[699_999:] and await read("a/b", 700_000) == b""
    with pytest.raises(FileNotFoundError):
        await read("a/none")
    odd = "a/film one (2)+@=.mp4"  # what signatures and addresses like to disagree about
    await store.put_bytes(odd, b"odd")
    assert await read(odd) == b"odd"


async def test_listing_is_by_prefix_and_in_order(store: ObjectStore) -> None:
    for key in ("t/b/2", "t/a/1", "t/ab", "u/1"):
        await store.put_bytes(key, b"x" * 3)
    found = [(info.key, info.bytes) async for info in store.list_objects("t/a")]
    assert found == [("t/a/1", 3), ("t/ab", 3)]
    assert [info.key async for info in store.list_objects("")] == ["t/a/1", "t/ab", "t/b/2", "u/1"]
    assert [info async for info in store.list_objects("../")] == []


async def test_listing_is_in_the_order_of_keys_whatever_folders_are(store: ObjectStore) -> None:
    """A folder stands where its keys do: "a.b" comes before "a/c", and "a-b" too."""
    keys = ["t/a-b/1", "t/a.b", "t/a/c", "t/a/d/1", "t/ab/1", "u"]
    for key in reversed(keys):
        await store.put_bytes(key, b"x")
    assert [info.key async for info in store.list_objects("")] == keys
    folders = ["t/a-b/", "t/a/", "t/ab/"]
    assert [folder async for folder in store.list_folders("t/")] == folders
    assert [folder async for folder in store.list_folders("t/", "t/a-b/")] == folders[1:]
    assert [folder async for folder in store.list_folders("t/", "t/ab/")] == []
    assert [folder async for folder in store.list_folders("none/")] == []
    assert [folder async for folder in store.list_folders("../")] == []


async def test_long_listings_are_whole_and_go_on_while_objects_go(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("media.file_store", "media.s3"):
        monkeypatch.setattr(f"{module}.PAGE", 3)
    keys = [f"t/{number}/x" for number in range(8)]
    await asyncio.gather(*(store.put_bytes(key, b"x") for key in keys))
    assert [folder async for folder in store.list_folders("t/", "t/1/")] == [
        f"t/{number}/" for number in range(2, 8)
    ]
    found = []
    async for info in store.list_objects("t/"):
        found.append(info.key)
        await store.delete(info.key)
    assert found == keys
    assert [info async for info in store.list_objects("t/")] == []


async def test_objects_tell_when_they_were_put(store: ObjectStore) -> None:
    before = time.time()
    await store.put_bytes("t/a", b"x")
    after = time.time()
    told = [(await store.stat("t/a")).modified_s]
    told += [info.modified_s async for info in store.list_objects("t/")]
    assert all(before - 2 <= modified_s <= after + 2 for modified_s in told)  # in whole seconds


async def test_multipart(store: ObjectStore) -> None:
    key, first, last = "masters/ttl/film.mp4", os.urandom(5 * MIB), os.urandom(1000)
    upload = await store.start_upload(key)
    etags = [await _put_part(store, key, upload, 1, os.urandom(5 * MIB))]
    etags = [await _put_part(store, key, upload, 1, first)]  # again: the last one counts
    etags.append(await _put_part(store, key, upload, 2, last))
    with pytest.raises(FileNotFoundError):
        await store.stat(key)
    parts = [DonePart(n + 1, etag) for n, etag in enumerate(etags)]
    with pytest.raises(ValueError):
        await store.finish_upload(key, upload, [*parts, DonePart(3, '"0123456789abcdef"')])
    await store.finish_upload(key, upload, parts)
    assert await store.get_bytes(key, max_bytes=6 * MIB) == first + last


async def test_an_aborted_upload_leaves_nothing(store: ObjectStore) -> None:
    upload = await store.start_upload("masters/x")
    etag = await _put_part(store, "masters/x", upload, 1, b"part")
    await store.abort_upload("masters/x", upload)
    await store.abort_upload("masters/x", upload)
    # moto answers 500 here, which is as final.
    with pytest.raises((FileNotFoundError, ValueError, StoreUnavailable)):
        await store.finish_upload("masters/x", upload, [DonePart(1, etag)])
    assert [info async for info in store.list_objects("")] == []


async def test_what_was_left_unfinished_is_swept_away(store: ObjectStore) -> None:
    old = await store.start_upload("masters/old")
    await _put_part(store, "masters/old", old, 1, b"part")
    await store.put_bytes("masters/whole", b"object")
    await store.sweep(0.0)
    etag = await _put_part(store, "masters/old", old, 1, b"part")  # not that old
    await store.sweep(time.time() + 60)
    with pytest.raises((FileNotFoundError, ValueError, StoreUnavailable)):
        await store.finish_upload("masters/old", old, [DonePart(1, etag)])
    assert [info.key async for info in store.list_objects("")] == ["masters/whole"]


async def test_a_part_of_another_size_is_not_kept(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    upload = await store.start_upload("masters/x")
    for size in (3, 5):
        with pytest.raises(ValueError, match=f"it has {size} bytes"):
            await store.put_part("masters/x", upload, 1, pieces(b"data"), size)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_puts_and_lists_beside_deletes(tmp_path: Path) -> None:
    """A delete takes empty folders away, which another is about to fill or to look into."""
    store = FileStore(tmp_path)

    async def come_and_go(name: str) -> None:
        for _ in range(60):
            await store.put_bytes(f"a/b/{name}", b"x")
            await asyncio.gather(_keys(store), store.delete(f"a/b/{name}"))

    await asyncio.gather(*(come_and_go(name) for name in "xyz"))
    assert await _keys(store) == []


async def _keys(store: ObjectStore) -> list[str]:
    return [info.key async for info in store.list_objects("a/")]


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".hidden", "a/.x", "a\n", "a" * 701]
)
async def test_keys_stay_in_the_store(key: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a key"):
        check_key(key)
    with pytest.raises(ValueError, match="is not a key"):
        await FileStore(tmp_path).put_bytes(key, b"x")


async def test_a_store_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    store = open_store("s3://bucket?endpoint=http://127.0.0.1:9")
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await store.stat("a")
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await store.pour("a", lambda piece: None)
    await store.close()


@pytest.mark.parametrize("url", ["", "file:store", "file://host/x", "ftp://x", "s3://b?color=red"])
def test_addresses_of_no_store(url: str) -> None:
    with pytest.raises(ValueError, match="store"):
        open_store(url)


async def test_a_failed_put_leaves_no_half_file(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    with pytest.raises(FileNotFoundError):
        await store.put_file("a/b", tmp_path / "missing")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 300_000):
        yield data[at : at + 300_000]


async def _put_part(store: ObjectStore, key: str, upload: str, number: int, data: bytes) -> str:
    """By the presigned address where there is one, as a client of the API would."""
    url = await store.part_url(key, upload, number, 600)
    if url is None:
        return await store.put_part(key, upload, number, pieces(data), len(data))
    async with aiohttp.ClientSession() as session, session.put(url, data=data) as answer:
        answer.raise_for_status()
        return answer.headers["ETag"]


async def test_a_full_disk_is_said_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = FileStore(tmp_path / "store")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreFull):
        await store.put_bytes("a/b", b"data")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_a_store_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    store = FileStore(tmp_path / "store")
    for attempt in (store.stat("a"), store.put_bytes("a", b"x"), store.start_upload("a")):
        with pytest.raises(StoreUnavailable):
            await attempt

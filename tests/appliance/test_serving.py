"""The data port of a real appliance, over real HTTP."""

import asyncio
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import aiohttp
import pytest

from media.token import sign_machine_token
from tests.appliance.conftest import Standing, children_of
from tests.packages import SIZES, MadePackage, make_keys


async def get(
    url: str, method: str = "GET", **headers: str
) -> tuple[int, bytes, Mapping[str, str]]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, headers=headers) as answer,
    ):
        return answer.status, await answer.read(), answer.headers


async def raw(standing: Standing, data: bytes) -> bytes:
    """What the appliance answers to these bytes, until it closes."""
    assert standing.daemon is not None
    host, port = standing.daemon.urls["data"].removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


async def test_every_file_is_filled_then_hit(shared: Standing) -> None:
    package = shared.package()
    for path, data in package.files.items():
        status, body, headers = await get(shared.url(package, path))
        assert (status, body) == (200, data), path
        assert headers["Access-Control-Allow-Origin"] == "*"
    status, body, headers = await get(shared.url(package, "v-avc-720/3.m4s"))
    assert headers["Cache-Status"] == "north-1; hit" and body == package.files["v-avc-720/3.m4s"]
    assert headers["Content-Type"] == "video/iso.segment"
    assert headers["ETag"].strip('"') in package.files["v-avc-720/files.json"].decode()
    assert headers["Cache-Control"].startswith("private, max-age=3")
    shutil.rmtree(package.folder)  # the store is not asked again
    assert (await get(shared.url(package, "v-avc-720/1.m4s")))[0] == 200


@pytest.mark.parametrize("warm", [False, True])
async def test_ranges_head_and_conditions(shared: Standing, warm: bool) -> None:
    package = shared.package()
    data = package.files["v-avc-720/3.m4s"]
    url = shared.url(package, "v-avc-720/3.m4s")
    if warm:
        assert (await get(url))[1] == data
    status, body, headers = await get(url, Range="bytes=1000000-1000099")
    assert (status, body) == (206, data[1_000_000:1_000_100])
    assert headers["Content-Range"] == f"bytes 1000000-1000099/{len(data)}"
    assert (await get(url, Range="bytes=-100"))[1] == data[-100:]
    assert (await get(url, Range="bytes=0-1,5-6"))[0] == 200
    status, _, headers = await get(url, Range="bytes=1500000-")
    assert status == 416 and headers["Content-Range"] == f"bytes */{len(data)}"
    status, body, headers = await get(url, "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, b"", str(len(data)))
    etag = headers["ETag"]
    status, body, _ = await get(url, **{"If-None-Match": etag})
    assert (status, body) == (304, b"")
    assert (await get(url, Range="bytes=0-9", **{"If-Range": etag}))[0] == 206
    assert (await get(url, Range="bytes=0-9", **{"If-Range": '"other"'}))[0] == 200
    assert (await get(url, Range="bytes=0-9", **{"If-Match": etag}))[0] == 206
    for asked in ({}, {"Range": "bytes=0-9"}, {"If-None-Match": etag}):
        assert (await get(url, **{"If-Match": '"other"'}, **asked))[0] == 412


async def test_what_is_refused(shared: Standing) -> None:
    package, other = shared.package(), shared.package()
    good = shared.url(package, "v-avc-720/1.m4s")
    foreign = good.replace(package.base, other.base)
    expired = shared.url(package, "v-avc-720/1.m4s", expires_s=int(time.time()) - 100)
    forged = good.replace("/titles", "x/titles", 1)
    for url, status, code in [
        (foreign, 403, "token_invalid"),
        (expired, 403, "token_expired"),
        (forged, 403, "token_invalid"),
        (shared.url(package, "v-avc-720/9.m4s"), 404, "not_in_package"),
        (good.partition("/titles")[0], 404, "not_found"),
    ]:
        seen, body, headers = await get(url)
        assert (seen, code in body.decode(), headers["Cache-Control"]) == (status, True, "no-store")
    assert (await get(good, "POST"))[0] == 405
    status, _, headers = await get(good, "OPTIONS")
    assert status == 204 and "GET" in headers["Access-Control-Allow-Methods"]


@pytest.mark.parametrize(
    "path", ["../../../secrets/control.key", "..%2f..%2fsecrets/trust.json", "%2e%2e/%2e%2e/board"]
)
async def test_no_path_leaves_the_package(shared: Standing, path: str) -> None:
    package = shared.package()
    target = shared.url(package, "").split("/", 3)[3]
    answer = await raw(
        shared,
        f"GET /{target}{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode(),
    )
    assert answer.startswith(b"HTTP/1.1 404 ") and b"PRIVATE" not in answer


async def test_pipelining_keep_alive_and_smuggling(shared: Standing) -> None:
    package = shared.package()
    target = "/" + shared.url(package, "v-avc-720/1.m4s").split("/", 3)[3]
    one = f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    last = one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    answers = await raw(shared, one * 5 + last)
    assert answers.count(b"HTTP/1.1 200 OK") == 6
    assert answers.count(package.files["v-avc-720/1.m4s"]) == 6
    smuggled = one.replace(b"\r\n\r\n", b"\r\nContent-Length: 50\r\n\r\n") + one
    answer = await raw(shared, smuggled)
    assert answer.startswith(b"HTTP/1.1 413 ") and answer.count(b"HTTP/1.1") == 1
    assert b"Connection: close" in answer


async def test_a_hundred_clients_one_fill(shared: Standing) -> None:
    package = shared.package()
    data = package.files["v-avc-720/3.m4s"]
    url = shared.url(package, "v-avc-720/3.m4s")
    before = await filled_bytes(shared)
    answers = await asyncio.gather(*(get(url) for _ in range(100)))
    assert all((status, body) == (200, data) for status, body, _ in answers)
    lists = sum(len(package.files[n]) for n in ("inventory.json", "v-avc-720/files.json"))
    assert await filled_bytes(shared) - before == len(data) + lists


async def test_corrupt_and_cut_files_are_never_completed(shared: Standing) -> None:
    package = shared.package()
    spoil(package, "init.mp4", lambda whole: bytes(len(whole)))
    spoil(package, "1.m4s", lambda whole: whole[:3])
    spoil(package, "2.m4s", lambda whole: whole[:3])
    spoil(package, "3.m4s", lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]))
    for small in ("init.mp4", "1.m4s"):
        status, body, _ = await get(shared.url(package, f"v-avc-720/{small}"))
        assert status == 502 and b"fill_failed" in body
    for large in ("2.m4s", "3.m4s"):  # reset once begun, or refused when it was not yet
        try:
            status, body, _ = await get(shared.url(package, f"v-avc-720/{large}"))
            assert status == 502 and b"fill_failed" in body
        except (aiohttp.ClientPayloadError, ConnectionError):
            pass
    assert [path for path in shared.cached(package) if path.suffix == ".m4s"] == []


async def test_a_killed_worker_and_keeper_come_back(appliance: Standing) -> None:
    package = appliance.package()
    url = appliance.url(package, "v-avc-720/2.m4s")
    assert (await get(url))[0] == 200
    assert appliance.daemon is not None and appliance.daemon.pid is not None
    for part in children_of(appliance.daemon.pid):
        os.kill(part, signal.SIGKILL)
    # The parent holds the listening socket: connections queue until the next worker takes them.
    assert (await get(url))[1] == package.files["v-avc-720/2.m4s"]
    unknown = appliance.package()  # nothing of it was brought before
    async with asyncio.timeout(10):
        # Until the keeper is back, fills are refused with 503.
        while (await get(appliance.url(unknown, "v-avc-720/3.m4s")))[0] != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        # Operators find it where it was, though it had asked for any port; a moment later.
        while True:
            with suppress(aiohttp.ClientConnectorError):
                assert (await get(f"{appliance.daemon.urls['admin']}/healthz"))[0] == 200
                break
            await asyncio.sleep(0.05)


async def test_a_restart_keeps_what_was_held(appliance: Standing) -> None:
    package = appliance.package()
    for path in package.files:
        assert (await get(appliance.url(package, path)))[0] == 200
    await appliance.stop()
    shutil.rmtree(package.folder)
    await appliance.start()
    for path, data in package.files.items():
        assert (await get(appliance.url(package, path)))[:2] == (200, data)


@pytest.mark.parametrize(
    "appliance", [{"store": "s3://bucket?endpoint=http://127.0.0.1:9"}], indirect=True
)
async def test_the_store_away_is_one_clear_answer(
    appliance: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = appliance.package()
    status, body, headers = await get(appliance.url(package, "v-avc-720/1.m4s"))
    assert status == 503 and b"store_unavailable" in body and "Retry-After" in headers


async def test_the_access_log_names_sessions_and_no_tokens(appliance: Standing) -> None:
    package = appliance.package()
    url = appliance.url(package, "v-avc-720/1.m4s")
    await get(url + "?CMCD=br%3D5000")
    await get(url)
    await appliance.stop()  # the last lines are written at the end
    lines = appliance.log()
    assert [line["cache"] for line in lines] == ["fill", "hit"]
    assert all(line["bytes"] == SIZES["1.m4s"] and line["status"] == 200 for line in lines)
    assert lines[0]["path"] == f"/{package.base}v-avc-720/1.m4s"
    assert str(lines[0]["session_id"]).startswith("ses_")
    token = url.split("/")[3]
    assert token not in (appliance.data / "logs" / "access-north-1.log").read_text()


async def test_an_operator_drains_and_purges(appliance: Standing) -> None:
    package = appliance.package()
    url = appliance.url(package, "v-avc-720/1.m4s")
    assert (await get(url))[0] == 200 and appliance.cached(package)
    nothing = {"pattern": f"titles/*/{package.package_id}/v-avc-720/9*"}
    for order, status in [({}, 422), ({"pattern": "/*"}, 422), (nothing, 200)]:
        assert await operate(appliance, "POST", "purge", order) == status
    assert appliance.cached(package)
    assert await operate(appliance, "POST", "purge", {"title_id": package.title_id}) == 200
    assert not appliance.cached(package)
    assert (await get(url))[0] == 200  # no tombstone: it may be brought again
    assert await operate(appliance, "PUT", "drain", {"draining": True}) == 200
    async with asyncio.timeout(5):
        while (await get(appliance.url(package, "v-avc-720/1.m4s")))[0] != 503:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert (await get(url))[0] == 200  # a running session goes on
    await appliance.stop()
    tomb = {"package_id": package.package_id, "until": "2100-01-01T00:00:00Z"}
    notices = {"version": 1, "purges": [tomb]}  # written, and not obeyed before the end
    (appliance.data / "appliances" / "north-1" / "notices.json").write_text(json.dumps(notices))
    assert appliance.cached(package)
    await appliance.start()
    assert (await get(appliance.url(package, "v-avc-720/1.m4s")))[0] == 410
    async with asyncio.timeout(5):
        while appliance.cached(package):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_taken_port_or_folder_is_one_sentence(
    shared: Standing, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert shared.daemon is not None
    elsewhere = tmp_path_factory.mktemp("other")
    second = Standing(elsewhere, make_keys(elsewhere, "north-1"))
    second.settings["listen"] = shared.daemon.urls["data"].removeprefix("http://")
    with pytest.raises(Exception, match=r"Cannot listen on 127\.0\.1\.1:"):
        await second.start()
    with pytest.raises(Exception, match="Another appliance uses"):
        await Standing(shared.data, shared.keys).start()


async def operate(standing: Standing, method: str, what: str, order: dict[str, object]) -> int:
    """The admin port's status for an order of the control plane's."""
    assert standing.daemon is not None
    word = sign_machine_token(standing.keys["control"], standing.name, int(time.time()))
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {word}"}) as session,
        session.request(method, f"{standing.daemon.urls['admin']}/v1/{what}", json=order) as answer,
    ):
        return answer.status


async def filled_bytes(standing: Standing) -> int:
    """Bytes that came from the store since the start."""
    assert standing.daemon is not None
    _, state, _ = await get(f"{standing.daemon.urls['admin']}/v1/state")
    return int(json.loads(state)["report"]["counters"]["fill_bytes_store"])


def spoil(package: MadePackage, name: str, change: Callable[[bytes], bytes]) -> None:
    """Changes a file behind the inventory's back."""
    path = package.folder / "v-avc-720" / name
    path.write_bytes(change(path.read_bytes()))

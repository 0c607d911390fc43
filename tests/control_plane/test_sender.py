"""The client side of an upload: straight to a store that signs addresses, and no token strays."""

from pathlib import Path

import pytest
from aiohttp import web
from moto.server import ThreadedMotoServer

import control_plane.sender
from control_plane.sender import send_master
from media.api import CompleteUpload, Job, Title
from media.objects import MIN_PART_BYTES
from media.s3 import S3Store
from runtime.client import Client
from runtime.control_api import ControlApi
from runtime.errors import Problem
from runtime.service import serve_http
from tests.control_plane.house import House, code_of, open_house, send
from tests.control_plane.stills import still


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch):
    """The address of an S3 server."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


async def test_a_master_goes_straight_to_a_store_that_signs_addresses(tmp_path: Path, s3: str):
    film = tmp_path / "film.mp4"
    film.write_bytes(b"0123456789abcdef" * (MIN_PART_BYTES // 16) + b"the rest")
    bucket = S3Store("masters", endpoint=s3)
    await bucket.create_bucket()
    store = f"s3://masters?endpoint={s3}"
    async with open_house(tmp_path / "data", store=store, part_bytes=MIN_PART_BYTES) as house:
        api = await house.account("operator")
        title = await send(api, "POST", "/v1/titles", name="Film")
        sent: list[int] = []
        job = await send_master(
            ControlApi(api), title["title_id"], film, publish=True, tell=sent.append
        )
        assert job.state == "queued"
        assert sorted(sent) == [8, MIN_PART_BYTES]
        lease = await house.lease()
        assert await bucket.get_bytes(lease.master_key, max_bytes=10**8) == film.read_bytes()
        assert lease.master_sha256 is not None
        assert (await house.complete(lease))["state"] == "done"
        # Its picture lies there, too.
        path = f"/v1/titles/{title['title_id']}"
        given = await api.call("PUT", f"{path}/artwork", Title, body=still("png"))
        shown = str(given.artwork_url).removeprefix(house.url)
        assert await house.anonymous().call_raw("GET", shown) == still("png")
        await send(api, "DELETE", path)
        await house.control.removal.remove_titles()
        assert [found.key async for found in bucket.list_objects("")] == []
    await bucket.close()


@pytest.mark.parametrize("answers", [["unavailable"], ["unavailable"] * 3, ["parts_differ"]])
async def test_completing_is_repeated_and_what_fails_leaves_nothing(
    house: House, answers: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The control plane may be started again at the worst moment."""
    monkeypatch.setattr(control_plane.sender, "RETRY_S", 0.01)
    complete = house.control.uploads.complete
    left = list(answers)

    async def complete_later(upload_id: str, done: CompleteUpload) -> Job:
        if left:
            raise Problem(left.pop(0))
        return await complete(upload_id, done)

    monkeypatch.setattr(house.control.uploads, "complete", complete_later)
    (tmp_path / "film.mp4").write_bytes(b"film")
    api = await house.account("operator")
    title = await send(api, "POST", "/v1/titles", name="Film")
    sending = send_master(ControlApi(api), title["title_id"], tmp_path / "film.mp4", publish=True)
    if answers == ["unavailable"]:
        assert (await sending).state == "queued"
    else:
        assert await code_of(sending) == answers[-1]
        assert [path for path in (house.data / "store").rglob("*") if path.is_file()] == []


async def test_a_file_that_shrinks_while_it_is_read_leaves_nothing(tmp_path: Path):
    film = tmp_path / "film.mp4"
    film.write_bytes(b"x" * (MIN_PART_BYTES + 8))
    async with open_house(tmp_path / "data", part_bytes=MIN_PART_BYTES) as house:
        api = await house.account("operator")
        title = await send(api, "POST", "/v1/titles", name="Film")

        def cut(sent: int) -> None:
            film.write_bytes(b"x")

        film.write_bytes(b"x" * (MIN_PART_BYTES * 6))
        sending = send_master(ControlApi(api), title["title_id"], film, publish=True, tell=cut)
        assert await code_of(sending) == "bad_request"
        left = [path for path in (tmp_path / "data/store").rglob("*") if path.is_file()]
        assert left == []


async def test_the_token_goes_to_its_own_origin_only():
    seen: list[str | None] = []

    async def take(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.Response(headers={"ETag": '"1"'})

    async def app() -> tuple[web.AppRunner, str]:
        application = web.Application()
        application.router.add_put("/{path:.*}", take)
        return await serve_http(application, "127.0.0.1:0")

    (here, url), (there, foreign) = await app(), await app()
    async with Client(url, authorize=lambda: "secret") as client:
        for target in (f"{url}/a", f"{foreign}/a", f"{url.replace('127.0.0.1', 'localhost')}/a"):
            await client.send("PUT", target, b"data", timeout_s=5)
    assert seen == ["Bearer secret", None, None]
    await here.cleanup()
    await there.cleanup()

"""From a file to a session's manifests, through the API alone."""

import gzip
import time

import aiohttp

from media.api import Session, Title
from media.dash_reader import read_mpd
from media.hls_reader import read_multivariant
from media.token import verify_path_token
from tests.control_plane.house import MASTER, House, send


async def test_a_film_from_upload_to_manifests(house: House):
    job = await house.upload("Big Buck Bunny")
    assert job["state"] == "queued"

    lease = await house.lease()
    assert lease.master_key == f"masters/{lease.title_id}/film.mp4"
    assert await house.store.get_bytes(lease.master_key, max_bytes=10**6) == MASTER
    word = {"attempt": lease.attempt, "progress": {"stage": "encode", "fraction": 0.5}}
    path = f"/v1/jobs/{lease.job_id}/heartbeat"
    running = await send(house.machine("encoder"), "POST", path, **word)
    assert (running["state"], running["progress"]["fraction"]) == ("running", 0.5)
    assert (await house.complete(lease))["state"] == "done"

    viewer = await house.account("viewer")
    title = await viewer.call("GET", f"/v1/titles/{lease.title_id}", Title)
    assert (title.state, title.package_id) == ("published", lease.package_id)
    assert (title.duration_s, title.max_height, title.job_id) == (12.0, 360, lease.job_id)

    session = await house.play(title, region="south")
    asked = house.steering.asked[-1]
    assert (asked.region, asked.package_id) == ("south", lease.package_id)
    assert (asked.session_id, asked.client) == (session.session_id, "127.0.0.1")
    assert [p.appliance_id for p in session.pathways] == ["north-1", "south-1"]
    assert session.player_settings.keys() == {"hlsjs", "dashjs", "shaka"}

    token = session.base_path.split("/")[1]
    claims = verify_path_token(token, house.steering.ring, time.time())
    assert claims.package_id == lease.package_id
    assert claims.inventory_sha256 == session.inventory_sha256
    assert claims.expires_s == int(session.expires_at.timestamp())
    assert session.base_path == f"/{token}/titles/{title.title_id}/{title.package_id}/"


async def test_manifests_name_the_pathways_and_steering(house: House):
    session = await house.play(await house.published())
    bases = [pathway.url + session.base_path for pathway in session.pathways]

    text, headers = await fetch(session.hls_url)
    assert headers["Content-Type"] == "application/vnd.apple.mpegurl"
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Cache-Control"] == "no-store"
    playlist = read_multivariant(text, session.hls_url)
    assert playlist.steering_url == f"{house.steering.url}/steer/context"
    assert playlist.first_pathway == "north-1"
    assert [variant.uri for variant in playlist.variants] == [
        f"{base}hls/v-avc-360.m3u8" for base in bases
    ]

    text, headers = await fetch(session.dash_url)
    assert headers["Content-Type"] == "application/dash+xml"
    for base, name in zip(bases, ("north-1", "south-1"), strict=True):
        assert f'serviceLocation="{name}">{base}dash/<' in text
    assert f"{house.steering.url}/steer/context</" in text
    segments = [
        url for r in read_mpd(text, session.dash_url).representations for url in r.segment_urls
    ]
    assert f"{bases[0]}v-avc-360/2.m4s" in segments


async def test_one_pathway_for_players_that_know_no_steering(house: House):
    session = await house.play(await house.published())
    for url in (session.hls_url, session.dash_url):
        text, _ = await fetch(f"{url}?pathways=1&CMCD=sid%3D%22x%22")
        assert session.pathways[0].url in text
        assert session.pathways[1].url not in text
        assert "PATHWAY-ID" not in text and "steer" not in text.lower()


async def test_manifests_are_compressed_for_who_takes_that(house: House):
    session = await house.play(await house.published())
    async with aiohttp.ClientSession(auto_decompress=False) as browser:
        async with browser.get(session.hls_url, headers={"Accept-Encoding": "gzip"}) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert gzip.decompress(await answer.read()).startswith(b"#EXTM3U")
        async with browser.get(session.hls_url, headers={"Accept-Encoding": "identity"}) as answer:
            assert "Content-Encoding" not in answer.headers


async def test_manifests_survive_the_store_and_steering(house: House):
    """What was read once stays right, so a session goes on while other services are away."""
    session = await house.play(await house.published())
    before = await fetch(session.hls_url)
    async for found in house.store.list_objects("titles/"):
        await house.store.delete(found.key)
    await house.stop_steering()
    assert await fetch(session.hls_url) == before


async def test_a_session_is_read_and_ended(house: House):
    session = await house.play(await house.published())
    viewer = await house.account("viewer")
    path = f"/v1/sessions/{session.session_id}"
    assert await viewer.call("GET", path, Session) == session
    await viewer.call_raw("DELETE", path)
    async with aiohttp.ClientSession() as browser, browser.get(session.hls_url) as answer:
        assert (answer.status, (await answer.json())["code"]) == (404, "unknown_session")
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_a_draft_stays_one_when_the_upload_says_so(house: House):
    await house.upload(publish=False)
    lease = await house.lease()
    await house.complete(lease)
    operator = await house.account("operator")
    title = await operator.call("GET", f"/v1/titles/{lease.title_id}", Title)
    assert (title.state, title.package_id) == ("draft", lease.package_id)


async def test_a_second_encode_replaces_the_package_and_keeps_the_first(house: House):
    title = await house.published()
    session = await house.play(title)
    again = await upload_again(house, title)
    lease = await house.lease()
    assert lease.package_id != title.package_id
    assert lease.master_key != f"masters/{title.title_id}/film.mp4"  # not over the first
    await house.complete(lease)
    viewer = await house.account("viewer")
    assert (await house.play(title)).package_id == lease.package_id
    latest = await viewer.call("GET", f"/v1/titles/{title.title_id}", Title)
    assert (latest.job_id, latest.published_at) == (again["job_id"], title.published_at)
    text, _ = await fetch(session.hls_url)  # who plays the first, plays on
    assert str(title.package_id) in text


async def upload_again(house: House, title: Title) -> dict[str, str]:
    api = await house.account("operator")
    path = f"/v1/titles/{title.title_id}/uploads"
    upload = await send(api, "POST", path, filename="film.mp4", bytes=len(MASTER))
    headers = await api.send("PUT", upload["parts"][0]["url"], MASTER, timeout_s=5)
    done = {"parts": [{"number": 1, "etag": headers["ETag"]}]}
    return await send(api, "POST", f"/v1/uploads/{upload['upload_id']}/complete", **done)


async def fetch(url: str) -> tuple[str, dict[str, str]]:
    async with aiohttp.ClientSession() as browser, browser.get(url) as answer:
        assert answer.status == 200
        wanted = ("Content-Type", "Access-Control-Allow-Origin", "Cache-Control")
        return await answer.text(), {name: answer.headers[name] for name in wanted}

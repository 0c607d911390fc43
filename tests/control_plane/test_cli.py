"""The commands: what a person types, and what comes back."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest
from aiohttp import web
from typer.testing import CliRunner

from control_plane.cli import app
from media.api import Lease
from media.hls import Segment, media_playlist
from runtime.child import run_child
from runtime.service import serve_http
from tests.control_plane.house import PASSWORD, House, open_house, pathway, send
from tests.control_plane.stills import still


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)


async def run(house: House, *arguments: str, user: str = "operator") -> Said:
    """The command, run in a thread beside the server's loop, one at a time: it has the standard
    output and the environment of the process."""
    await house.account(user)
    account = {"NEARCAST_URL": house.url, "NEARCAST_USER": user, "NEARCAST_PASSWORD": PASSWORD}
    terminal = {"COLUMNS": "200", "NO_COLOR": "1"}
    async with house.terminal:
        said = await asyncio.to_thread(
            CliRunner().invoke, app, arguments, env=account | terminal, catch_exceptions=False
        )
    return Said(said.exit_code, said.stdout, said.stderr)


async def encode_one(house: House) -> None:
    """An encoder that does the next job."""
    offer = await send(house.machine("encoder"), "POST", "/v1/jobs/lease?wait=5")
    await house.complete(Lease.model_validate(offer["lease"]))


async def fail_one(house: House, code: str = "not_a_video") -> None:
    """An encoder that finds no film, or fails with another code."""
    offer = await send(house.machine("encoder"), "POST", "/v1/jobs/lease?wait=5")
    path = f"/v1/jobs/{offer['lease']['job_id']}/fail"
    word = {"attempt": 1, "code": code, "message": "There is no video in film.mp4."}
    await send(house.machine("encoder"), "POST", path, **word)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"film" * 3_000_000)  # several parts
    return path


async def test_upload_waits_for_the_encode(tmp_path: Path, film: Path):
    async with open_house(tmp_path, part_bytes=5 * 1024**2) as house:
        upload = run(house, "upload", str(film), "--title", "Our [holiday]", "--wait", "--json")
        said, _ = await asyncio.gather(upload, encode_one(house))
        assert said.code == 0, said.err
        title, job = said.json["title"], said.json["job"]
        assert (title["name"], title["state"], job["state"]) == (
            "Our [holiday]",
            "published",
            "done",
        )
        key = f"masters/{title['title_id']}/film.mp4"
        assert (await house.store.stat(key)).bytes == film.stat().st_size

        again, shown, missing = await asyncio.gather(
            run(house, "upload", str(film), "--title", "Our [holiday]", "--no-publish"),
            run(house, "title", "show", "our [HOLIDAY]"),
            run(house, "title", "show", "Something else"),
        )
        assert again.code == 0 and "encode queued" in again.out
        assert title["title_id"] in again.out  # the same title, a second master
        assert title["title_id"] in shown.out and "Our [holiday]" in shown.out
        assert missing.code == 1 and missing.out == ""
        assert "There is no title 'Something else'." in missing.err


async def test_an_encode_that_fails_says_why(house: House, film: Path):
    upload = run(house, "upload", str(film), "--title", "Film", "--wait")
    said, _ = await asyncio.gather(upload, fail_one(house))
    assert said.code == 1
    assert "There is no video in film.mp4." in said.err


async def test_a_title_made_for_what_is_no_film_goes_and_an_older_one_stays(
    house: House, film: Path
):
    for before in ([], ["Film"]):
        for name in before:
            await send(await house.account("operator"), "POST", "/v1/titles", name=name)
        upload = run(house, "upload", str(film), "--title", "Film", "--wait", "--json")
        said, _ = await asyncio.gather(upload, fail_one(house))
        assert (said.code, said.json["code"]) == (1, "not_a_video")
        listed = await run(house, "titles", "--json")
        assert [title["name"] for title in listed.json["titles"]] == before
    shown = await run(house, "title", "show", "Film")
    assert "Film: encode refused: There is no video in film.mp4." in shown.out


async def test_a_title_stays_when_its_film_is_not_at_fault(house: House, film: Path):
    upload = run(house, "upload", str(film), "--title", "Film", "--wait", "--json")
    said, _ = await asyncio.gather(upload, fail_one(house, "encode_failed"))
    assert (said.code, said.json["code"]) == (1, "encode_failed")
    listed = await run(house, "titles", "--json")
    assert [title["encode"]["state"] for title in listed.json["titles"]] == ["failed"]


async def test_what_cannot_be_uploaded(house: House, tmp_path: Path, film: Path):
    empty = tmp_path / "empty.mp4"
    empty.touch()
    none, nothing, folder, nameless = await asyncio.gather(
        run(house, "upload", str(tmp_path / "none.mp4"), "--title", "Film", "--json"),
        run(house, "upload", str(empty), "--title", "Film"),
        run(house, "upload", str(tmp_path), "--title", "Film"),
        run(house, "upload", str(film), "--title", ""),
    )
    assert (none.code, none.json["code"]) == (1, "bad_request")
    assert "There is no file" in none.json["detail"]
    assert nothing.code == 1 and "empty.mp4 is empty." in nothing.err.replace("\n", "")
    assert folder.code == 1 and "is a folder" in folder.err.replace("\n", " ")
    assert nameless.code == 1 and "1 to 200 characters" in nameless.err
    assert (await send(await house.account("operator"), "GET", "/v1/titles"))["titles"] == []


async def test_an_upload_that_is_refused_leaves_no_title(house: House, film: Path):
    said = await run(house, "upload", str(film), "--title", "Film", "--json", user="viewer")
    assert (said.code, said.json["code"]) == (1, "not_allowed")


async def test_titles_are_published_and_deleted(house: House):
    title = await house.published("Film one")
    await house.published("Film two")
    listed, unpublished, ambiguous = await asyncio.gather(
        run(house, "titles", "--json"),
        run(house, "title", "unpublish", "Film one", "--json"),
        run(house, "title", "publish", "Film"),
    )
    assert {t["name"] for t in listed.json["titles"]} == {"Film one", "Film two"}
    assert unpublished.json["state"] == "draft"
    assert ambiguous.code == 1 and "Several titles fit 'Film'" in ambiguous.err
    deleted = await run(house, "title", "delete", title.title_id, "--json")
    assert deleted.json == {"deleted": title.title_id}
    table = await run(house, "titles")
    assert "Film two" in table.out and "Film one" not in table.out and "0:12" in table.out


async def test_a_title_gets_a_picture(house: House, tmp_path: Path):
    await house.published("Film")
    picture, text = tmp_path / "poster.png", tmp_path / "poster.txt"
    picture.write_bytes(still("png"))
    text.write_text("no picture")
    given = await run(house, "title", "art", "Film", str(picture), "--json")
    assert given.json["artwork_url"].startswith(f"{house.url}/v1/titles/ttl_")
    bad, none, both = await asyncio.gather(
        run(house, "title", "art", "Film", str(text), "--json"),
        run(house, "title", "art", "Film", str(tmp_path / "none.png"), "--json"),
        run(house, "title", "art", "Film", str(picture), "--remove"),
    )
    assert (bad.code, bad.json["code"]) == (1, "bad_artwork") and "poster.txt" in bad.json["detail"]
    assert (none.json["code"], both.code) == ("bad_request", 2)
    removed = await run(house, "title", "art", "Film", "--remove", "--json")
    assert removed.json["artwork_url"] is None


async def test_play_prints_an_address_or_why_not(house: House):
    await house.published("Film")
    url, dash, region, ffplay = await asyncio.gather(
        run(house, "play", "Film", "--region", "south", "--player", "url"),
        run(house, "play", "film", "--protocol", "dash"),
        run(house, "play", "Film", "--region", "Not a region", "--json"),
        run(house, "play", "Film", "--player", "nothing"),
    )
    assert url.out.startswith(f"{house.url}/v1/sessions/ses_")
    assert url.out.endswith("/master.m3u8\n")
    assert dash.out.endswith("/manifest.mpd\n")
    assert (region.code, region.json["code"]) == (1, "unknown_region")
    assert ffplay.code == 2


async def test_probe_finds_the_streams_behind_a_session(house: House, tmp_path: Path):
    """From a manifest of ours, through an address with a token, to real segments."""
    await house.upload("Film")
    lease = await house.lease()
    await house.complete(lease, film=await make_film(tmp_path))

    async def appliance(request: web.Request) -> web.StreamResponse:
        path = request.path.split("/", 2)[2]  # after the token
        return web.FileResponse(house.data / "store" / path)

    application = web.Application()
    application.router.add_get("/{path:.*}", appliance)
    runner, url = await serve_http(application, "127.0.0.1:0")
    house.steering.pathways = [pathway("north-1", url), pathway("gone-1", "http://127.0.0.1:1")]
    try:
        said = await run(house, "play", "Film", "--player", "probe", "--json")
    finally:
        await runner.cleanup()
    assert said.code == 0, said.out
    found = [(s["codec_name"], s["width"], s["height"]) for s in said.json["streams"]]
    assert found == [("h264", 320, 180)]
    assert said.json["session"]["pathways"][0]["appliance_id"] == "north-1"


async def make_film(folder: Path) -> dict[str, bytes]:
    """Two seconds of H.264 in two segments, and their playlist."""
    out = folder / "encoded"
    out.mkdir()
    argv = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error",
        "-f", "lavfi", "-i", "testsrc=size=320x180:rate=12:duration=2",
        "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "12",
        "-f", "hls", "-hls_time", "1", "-hls_segment_type", "fmp4", "-start_number", "1",
        "-hls_segment_filename", "%d.m4s", "-hls_fmp4_init_filename", "init.mp4", "out.m3u8",
    ]  # fmt: skip
    await run_child(argv, cwd=out)
    names = ("init.mp4", "1.m4s", "2.m4s")
    segments = [Segment(f"../v-avc-360/{name}", 1.0) for name in names[1:]]
    playlist = media_playlist("../v-avc-360/init.mp4", segments).encode()
    return {f"v-avc-360/{name}": (out / name).read_bytes() for name in names} | {
        "hls/v-avc-360.m3u8": playlist
    }

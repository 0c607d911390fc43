"""Packages in the players of the world, in a real Chromium, from the first frame to the last."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser as Chromium

from control_plane.players import player_settings
from encoder.package import Encoded
from encoder.pipeline import encode
from encoder.settings import EncoderSettings
from encoder.subtitles import Beside
from media.dash import MPD_PATH, PathwayBase, session_mpd
from media.hls import MULTIVARIANT_PATH
from media.ids import new_id
from media.ladder import STEREO, Ladder, Rung
from media.protection import LicenceRequest, derived, licence
from tests.browser import launch_chromium, open_browser, until
from tests.encoder_films import make_film

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="module"),
]

HERE = Path(__file__).parent
VENDOR = HERE.parents[1] / "web" / "vendor"
SECONDS, RATE = 6, 24
LADDER = Ladder(
    rungs=(Rung(height=120, max_bps=200_000), Rung(height=240, max_bps=600_000)),
    audio=(STEREO,),
    gop_s=1,
    segment_gops=2,
)
CUES = ["0.50 1.25 Hello", "1.75 3.50 Over the edge"]
SRT = b"""1
00:00:00,500 --> 00:00:01,250
Hello

2
00:00:01,750 --> 00:00:03,500
Over the edge
"""
MANIFESTS = {"hlsjs": MULTIVARIANT_PATH, "dashjs": MPD_PATH, "shaka": MPD_PATH}
SETTINGS = EncoderSettings(preset="ultrafast", quality="off", codecs="avc,av1")
KEYS = derived("cbcs", "pkg", b"secret")


@dataclass
class Served:
    """Packages, pages and a licence server at one address."""

    url: str
    licences: int = 0


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Encoded]:
    folder = tmp_path_factory.mktemp("players")
    film = make_film(folder / "film.mkv", seconds=SECONDS, size="426x240", rate=str(RATE))

    async def make(name: str) -> Encoded:
        return await encode(
            film,
            folder / name,
            new_id("ttl"),
            new_id("pkg"),
            SETTINGS,
            ladder=LADDER,
            beside=[Beside("en", SRT)],
            protection=KEYS if name == "cbcs" else None,
        )

    return {name: asyncio.run(make(name)) for name in ("clear", "cbcs")}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(packages: dict[str, Encoded]) -> AsyncIterator[Served]:
    site = web.Application()
    found = Served("")

    async def give_licence(request: web.Request) -> web.Response:
        found.licences += 1
        asked = LicenceRequest.model_validate_json(await request.read())
        return web.json_response(licence(KEYS.keys, asked.kids))

    async def give_mpd(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        raw = (packages[name].folder / MPD_PATH).read_text()
        here = PathwayBase(None, f"{found.url}/{name}/")
        text = session_mpd(raw, [here], license_url=f"{found.url}/license")
        return web.Response(text=text, content_type="application/dash+xml")

    site.router.add_post("/license", give_licence)
    site.router.add_get("/session/{name}.mpd", give_mpd)
    for name, package in packages.items():
        site.router.add_static(f"/{name}/", package.folder)
    site.router.add_static("/vendor/", VENDOR)
    site.router.add_static("/", HERE)
    server = TestServer(site)
    await server.start_server()
    found.url = str(server.make_url("")).rstrip("/")
    yield found
    await server.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Chromium]:
    async with launch_chromium() as running:
        yield running


def plays() -> Iterator[tuple[str, str, str, str]]:
    """Every player, with each protocol that it has."""
    for player, protocols in {"hlsjs": "h", "dashjs": "d", "shaka": "hd"}.items():
        for protocol in protocols:
            # Shaka knows no key format of Clear Key in HLS.
            for name in ("clear",) if player + protocol == "shakah" else ("clear", "cbcs"):
                for codec in ("avc1", "av01"):
                    yield player, {"h": "hls", "d": "dash"}[protocol], name, codec


@pytest.mark.parametrize(("player", "protocol", "name", "codec"), list(plays()))
async def test_a_film_plays_to_its_end(
    served: Served, chromium: Chromium, player: str, protocol: str, name: str, codec: str
) -> None:
    manifest = f"{name}/{MULTIVARIANT_PATH}" if protocol == "hls" else f"session/{name}.mpd"
    url = f"{served.url}/license" if name == "cbcs" else None
    settings = player_settings("ses_x", "ttl_x", 1, url)[player]
    query = {
        "player": player,
        "manifest": f"{served.url}/{manifest}",
        "codec": codec,
        "settings": json.dumps(settings),
        "rate": 3,
    }
    before = served.licences
    async with open_browser(chromium) as browser:
        page = await browser.open(f"{served.url}/page.html?{urlencode(query)}")
        played: dict[str, Any] = await until(page, "globalThis.played", timeout_s=40)
        assert browser.complaints == []
    assert played["error"] is None, played
    assert played["position_s"] == pytest.approx(SECONDS, abs=0.1)
    assert played["frames"] >= SECONDS * RATE * 0.9
    assert {one[:4] for one in played["codecs"]} == {codec}
    assert played["keys"] is (name == "cbcs") and (served.licences > before) is (name == "cbcs")
    assert played["cues"] == CUES

"""Packages served to the players of the world, in a real Chromium."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser as Chromium

from control_plane.players import player_settings
from media.dash import MPD_PATH, PathwayBase, session_mpd
from media.hls import MULTIVARIANT_PATH
from media.protection import LicenceRequest, Protection, licence
from tests.browser import open_browser, until

HERE = Path(__file__).parent
VENDOR = HERE.parents[1] / "web" / "vendor"
# Each player with the protocols that it has. Shaka knows no key format of Clear Key in HLS.
PLAYERS = (("hlsjs", "hls"), ("dashjs", "dash"), ("shaka", "dash"), ("shaka", "hls"))


def ways() -> Iterator[tuple[str, str, bool]]:
    """Player, protocol, and whether the package is encrypted."""
    for player, protocol in PLAYERS:
        for encrypted in (False, True):
            if (player, protocol, encrypted) != ("shaka", "hls", True):
                yield player, protocol, encrypted


@dataclass
class Stage:
    """Packages by name, pages, and licences of the keys, at one address."""

    protection: Protection
    url: str = ""
    packages: dict[str, Path] = field(default_factory=dict)
    licences: int = 0

    async def give_licence(self, request: web.Request) -> web.Response:
        self.licences += 1
        asked = LicenceRequest.model_validate_json(await request.read())
        return web.json_response(licence(self.protection.keys, asked.kids))

    async def give_mpd(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        here = PathwayBase(None, f"{self.url}/packages/{name}/")
        raw = (self.packages[name] / MPD_PATH).read_text()
        text = session_mpd(raw, [here], license_url=f"{self.url}/license")
        return web.Response(text=text, content_type="application/dash+xml")

    async def give_file(self, request: web.Request) -> web.FileResponse:
        name, path = request.match_info["name"], request.match_info["path"]
        return web.FileResponse(self.packages[name] / path)

    async def play(
        self,
        chromium: Chromium,
        name: str,
        player: str,
        protocol: str,
        codec: str,
        *,
        encrypted: bool,
        rate: float = 3,
        timeout_s: float = 40,
    ) -> dict[str, Any]:
        """What the page tells when the film has ended, or failed."""
        manifest = (
            f"packages/{name}/{MULTIVARIANT_PATH}" if protocol == "hls" else f"session/{name}.mpd"
        )
        url = f"{self.url}/license" if encrypted else None
        query = {
            "player": player,
            "manifest": f"{self.url}/{manifest}",
            "codec": codec,
            "settings": json.dumps(player_settings("ses_x", "ttl_x", 1, url)[player]),
            "rate": rate,
        }
        before = self.licences
        async with open_browser(chromium) as browser:
            page = await browser.open(f"{self.url}/page.html?{urlencode(query)}")
            played = dict(await until(page, "globalThis.played", timeout_s))
            return {**played, "complaints": browser.complaints, "asked": self.licences - before}


@asynccontextmanager
async def open_stage(protection: Protection, packages: dict[str, Path]) -> AsyncIterator[Stage]:
    """The packages are served."""
    stage, site = Stage(protection, packages=packages), web.Application()
    site.router.add_post("/license", stage.give_licence)
    site.router.add_get("/session/{name}.mpd", stage.give_mpd)
    site.router.add_get("/packages/{name}/{path:.+}", stage.give_file)
    site.router.add_static("/vendor/", VENDOR)
    site.router.add_static("/", HERE)
    async with TestServer(site) as server:
        stage.url = str(server.make_url("")).rstrip("/")
        yield stage

"""Packages in the players of the world, in a real Chromium, from the first frame to the last."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser as Chromium

from encoder.pipeline import encode
from encoder.settings import EncoderSettings
from encoder.subtitles import Beside
from media.ids import new_id
from media.ladder import STEREO, Ladder, Rung
from media.protection import derived
from tests.browser import launch_chromium
from tests.encoder_films import make_film
from tests.players.stage import Stage, open_stage, ways

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="module"),
]

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
SETTINGS = EncoderSettings(preset="ultrafast", quality="off", codecs="avc,av1")
KEYS = derived("cbcs", "pkg", b"secret")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("players")
    film = make_film(folder / "film.mkv", seconds=SECONDS, size="426x240", rate=str(RATE))

    async def make(name: str) -> Path:
        made = await encode(
            film,
            folder / name,
            new_id("ttl"),
            new_id("pkg"),
            SETTINGS,
            ladder=LADDER,
            beside=[Beside("en", SRT)],
            protection=KEYS if name == "locked" else None,
        )
        return made.folder

    return {name: asyncio.run(make(name)) for name in ("clear", "locked")}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(packages: dict[str, Path]) -> AsyncIterator[Stage]:
    async with open_stage(KEYS, packages) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Chromium]:
    async with launch_chromium() as running:
        yield running


@pytest.mark.parametrize("codec", ["avc1", "av01"])
@pytest.mark.parametrize(("player", "protocol", "encrypted"), list(ways()))
async def test_a_film_plays_to_its_end(
    stage: Stage, chromium: Chromium, player: str, protocol: str, encrypted: bool, codec: str
) -> None:
    name = "locked" if encrypted else "clear"
    played = await stage.play(chromium, name, player, protocol, codec, encrypted=encrypted)
    assert played["error"] is None and played["complaints"] == [], played
    assert played["position_s"] == pytest.approx(SECONDS, abs=0.2)
    assert played["frames"] >= SECONDS * RATE * 0.8
    assert {one[:4] for one in played["codecs"]} == {codec}
    assert played["keys"] is encrypted and (played["asked"] > 0) is encrypted
    assert played["cues"] == CUES

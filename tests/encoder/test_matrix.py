"""Masters of all kinds, each encoded, checked with every rule, and played over HTTP: `make accept`.

Other tests have a short case of each mechanism; here they meet.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from encoder.conformance import check_package
from encoder.pipeline import encode
from encoder.settings import EncoderSettings
from media.dash import MPD_PATH
from media.hls import MULTIVARIANT_PATH
from media.ids import new_id
from runtime.child import Limits, run_child
from runtime.programs import ffmpeg as program
from tests.encoder_films import ffmpeg

if "NEARCAST_MATRIX" not in os.environ:
    pytest.skip('the long matrix: make accept ARGS="matrix"', allow_module_level=True)

CLIPS = sorted(
    path
    for path in Path(os.environ.get("NEARCAST_CLIPS", "../shared/clips")).glob("*")
    if path.suffix in (".mp4", ".webm", ".ts")
)
CARD, TONE = "testsrc2=s={}:r={}:d=9", "sine=f=440:r=48000:d=9"
MADE: dict[str, list[str]] = {
    "variable.mkv": ["-f", "lavfi", "-i",
                     CARD.format("640x360", 30) + ",select='mod(n,9)*mod(n,4)'",
                     "-fps_mode", "vfr"],
    "interlaced.ts": ["-f", "lavfi", "-i",
                      CARD.format("720x576", 50) + ",tinterlace=4,fieldorder=tff,setsar=16/11",
                      "-f", "lavfi", "-i", TONE, "-flags", "+ildct+ilme", "-c:a", "mp2"],
    "odd.mkv": ["-f", "lavfi", "-i", CARD.format("427x241", 24), "-c:v", "ffv1"],
    "silent.mov": ["-f", "lavfi", "-i", CARD.format("640x360", "60000/1001")],
    "languages.mkv": ["-f", "lavfi", "-i", CARD.format("640x360", "24000/1001"),
                      "-f", "lavfi", "-i", TONE, "-f", "lavfi", "-i", "anoisesrc=a=0.1:d=9",
                      "-map", "0", "-map", "1", "-map", "2", "-metadata:s:a:0", "language=swe",
                      "-metadata:s:a:1", "language=fin"],
    "late sound.mp4": ["-f", "lavfi", "-i", CARD.format("480x270", 25), "-itsoffset", "2.5",
                       "-f", "lavfi", "-i", TONE],
    "prores.mov": ["-f", "lavfi", "-i", CARD.format("640x360", 25), "-c:v", "prores_ks"],
    "hlg.mkv": ["-f", "lavfi", "-i", CARD.format("640x360", 50) + ",format=yuv420p10le,setparams="
                "color_primaries=bt2020:color_trc=arib-std-b67:colorspace=bt2020nc",
                "-c:v", "ffv1"],
}  # fmt: skip


def film(name: str, folder: Path) -> Path:
    path = folder / name
    argv = MADE[name]
    if "-c:v" not in argv:
        argv = [*argv, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
    ffmpeg(*argv, "-shortest", path)
    if name == "silent.mov":  # and turned
        ffmpeg("-display_rotation", "90", "-i", path, "-c", "copy", folder / "turned.mov")
        return folder / "turned.mov"
    return path


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[TestServer]:
    app = web.Application()
    (tmp_path / "out").mkdir()
    app.router.add_static("/", tmp_path / "out")
    async with TestServer(app) as running:
        (tmp_path / "out").rmdir()
        yield running


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", [*MADE, *(path.name for path in CLIPS)])
async def test_every_kind_of_master(name: str, tmp_path: Path, server: TestServer) -> None:
    master = film(name, tmp_path) if name in MADE else next(p for p in CLIPS if p.name == name)
    settings = EncoderSettings(codecs="avc,hevc,av1,opus", chunk_s=6)
    made = await encode(master, tmp_path / "out", new_id("ttl"), new_id("pkg"), settings)
    found = await check_package(tmp_path / "out")
    assert found.failed == [], found.failed
    frames = {r.frames for r in made.inventory.renditions if r.kind == "video"}
    assert len(frames) == 1
    for path in (MULTIVARIANT_PATH, MPD_PATH):
        argv = [program(), "-nostdin", "-v", "error", "-xerror", "-i", str(server.make_url(path))]
        said = await run_child([*argv, "-map", "0", "-f", "null", "-"], limits=Limits())
        assert said == b""

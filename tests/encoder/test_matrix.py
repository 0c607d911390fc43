"""Masters of all kinds, each encoded, checked with every rule, and played over HTTP: `make accept`.

Other tests have a short case of each mechanism; here they meet.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser as Chromium

from encoder.conformance import check_package
from encoder.farm import Here
from encoder.pieces import Kept
from encoder.pipeline import Workshop, encode
from encoder.settings import EncoderSettings
from media.dash import MPD_PATH
from media.file_store import FileStore
from media.hls import MULTIVARIANT_PATH
from media.ids import new_id
from media.protection import derived
from runtime.child import Limits, run_child
from runtime.programs import ffmpeg as program
from tests.browser import launch_chromium
from tests.encoder_films import ffmpeg
from tests.players.stage import open_stage, ways

if "NEARCAST_MATRIX" not in os.environ:
    pytest.skip('the long matrix: make accept ARGS="matrix"', allow_module_level=True)

CLIPS = sorted(
    path
    for path in Path(os.environ.get("NEARCAST_CLIPS", "../shared/clips")).glob("*")
    if path.suffix in (".mp4", ".webm", ".ts")
)
KEYS = derived("cbcs", "pkg", b"secret")
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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Chromium]:
    async with launch_chromium() as running:
        yield running


@pytest.mark.timeout(2400)
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", [*MADE, *(path.name for path in CLIPS)])
async def test_every_kind_of_master(name: str, tmp_path: Path, chromium: Chromium) -> None:
    """Encoded in every codec, in the clear and encrypted (of the same pieces), checked by every
    rule, read by ffmpeg over HTTP, and played to its end by every player in AVC and in AV1."""
    master = film(name, tmp_path) if name in MADE else next(p for p in CLIPS if p.name == name)
    settings = EncoderSettings(codecs="avc,hevc,av1,opus", chunk_s=6)
    ids, shop = (
        (new_id("ttl"), new_id("pkg")),
        Workshop(Here(), Kept(FileStore(tmp_path / "kept"), "pkg")),
    )
    packages = {}
    for kind, protection in (("clear", None), ("locked", KEYS)):
        out = tmp_path / kind
        made = await encode(master, out, *ids, settings, workshop=shop, protection=protection)
        found = await check_package(out, keys=KEYS.keys)
        assert found.failed == [], found.failed
        assert len({r.frames for r in made.inventory.renditions if r.kind == "video"}) == 1
        packages[kind] = out
    length_s = made.inventory.duration_s
    async with open_stage(KEYS, packages) as stage:
        for path in (MULTIVARIANT_PATH, MPD_PATH):
            url = f"{stage.url}/packages/clear/{path}"
            argv = [program(), "-nostdin", "-v", "error", "-xerror", "-i", url]
            said = await run_child([*argv, "-map", "0", "-f", "null", "-"], limits=Limits())
            assert said == b""
        for player, protocol, encrypted in ways():
            for codec in ("avc1", "av01"):
                played = await stage.play(
                    chromium,
                    "locked" if encrypted else "clear",
                    player,
                    protocol,
                    codec,
                    encrypted=encrypted,
                    rate=max(1.0, min(8.0, length_s / 3)),
                    timeout_s=60 + length_s,
                )
                case = (player, protocol, encrypted, codec, played)
                assert played["error"] is None and played["complaints"] == [], case
                assert played["position_s"] == pytest.approx(length_s, abs=0.2), case
                assert {one[:4] for one in played["codecs"]} == {codec}, case
                assert played["keys"] is encrypted, case

"""Conformance: a good package passes, and each way of breaking one is caught by its rule."""

import json
import re
import shutil
from collections.abc import AsyncIterator, Callable
from fractions import Fraction
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from typer.testing import CliRunner

from encoder.check_cli import app
from encoder.conformance import RULES, Conformance, check_package
from encoder.rates import peak_bps
from media.dash import MPD_PATH, session_mpd
from media.hls import MULTIVARIANT_PATH, PathwayBase, multivariant
from media.inventory import INVENTORY_NAME, Inventory
from runtime.child import Limits, run_child
from runtime.errors import Problem
from runtime.programs import ffmpeg
from tests.encoder_clips import TEXT, describe, make_package, rewrite_inventory


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_package(tmp_path_factory.mktemp("good"))


@pytest.fixture
def package(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "package"))


OF_LOCKED = {"cbcs-pattern", "named-keys"}  # rules on what is encrypted


def failed(found: Conformance) -> set[str]:
    return {rule.id for rule in found.rules if rule.ok is False}


def skipped(found: Conformance) -> set[str]:
    return {rule.id for rule in found.rules if rule.ok is None}


def edit(path: Path, pattern: str, new: str, count: int = 1) -> None:
    changed, times = re.subn(pattern, new, path.read_text(), count=count)
    assert times, f"{pattern} is not in {path}"
    path.write_text(changed)


async def test_a_good_package_passes_every_rule(good: Path) -> None:
    found = await check_package(good)
    assert (failed(found), skipped(found)) == (set(), OF_LOCKED)
    assert found.ok
    assert all(rule.seen for rule in found.rules)


def test_rules_have_names_of_their_own() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)


# How to break a package. Each takes its folder.


def corrupt_segment(folder: Path) -> None:
    path = folder / "v-avc-180" / "2.m4s"
    data = bytearray(path.read_bytes())
    data[-20_000:-10_000] = bytes(byte ^ 0x55 for byte in data[-20_000:-10_000])
    path.write_bytes(data)


def remove_segment(folder: Path) -> None:
    (folder / "v-avc-180" / "2.m4s").unlink()


def truncate_segment(folder: Path) -> None:
    path = folder / "a-aac-en" / "1.m4s"
    path.write_bytes(path.read_bytes()[:-1000])


def swap_segments(folder: Path) -> None:
    one, two = (folder / "v-avc-90" / f"{n}.m4s" for n in (1, 2))
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    rewrite_inventory(folder)


def delay_segment(folder: Path) -> None:
    """The second segment's `tfdt` is one frame later."""
    path = folder / "v-avc-90" / "2.m4s"
    data = bytearray(path.read_bytes())
    at = data.index(b"tfdt") + 8
    time = int.from_bytes(data[at : at + 4], "big")
    assert time == 25_600
    data[at : at + 4] = (time + 512).to_bytes(4, "big")
    path.write_bytes(data)
    rewrite_inventory(folder)


def start_without_sync(folder: Path) -> None:
    """The first sample's flags, in a `trun` that says size, flags and offset of each sample."""
    path = folder / "v-avc-90" / "2.m4s"
    data = bytearray(path.read_bytes())
    at = data.index(b"trun") + 4
    assert data[at : at + 4] == bytes.fromhex("00000e01")
    data[at + 16 : at + 20] = bytes.fromhex("00010000")
    path.write_bytes(data)
    rewrite_inventory(folder)


def join_segments(folder: Path) -> None:
    one, two = (folder / "v-avc-90" / f"{n}.m4s" for n in (1, 2))
    one.write_bytes(one.read_bytes() + two.read_bytes())
    two.unlink()
    describe(folder)


def shorten(rendition: str) -> Callable[[Path], None]:
    def break_it(folder: Path) -> None:
        (folder / rendition / "2.m4s").unlink()
        describe(folder)

    return break_it


def widen(folder: Path) -> None:
    """160 by 90 says that it is 200 by 90."""
    path = folder / "v-avc-90" / "init.mp4"
    data = bytearray(path.read_bytes())
    at = data.index(b"avc1", data.index(b"stsd")) + 4 + 24
    assert data[at : at + 4] == bytes([0, 160, 0, 90])
    data[at + 1] = 200
    path.write_bytes(data)
    describe(folder)


def lie_in_inventory(folder: Path) -> None:
    path = folder / INVENTORY_NAME
    inventory = Inventory.model_validate_json(path.read_bytes())
    first, *others = inventory.renditions
    lying = first.model_copy(update={"frames": 99})
    path.write_text(inventory.model_copy(update={"renditions": (lying, *others)}).model_dump_json())


def add_file(folder: Path) -> None:
    (folder / "v-avc-90" / "3.m4s").write_bytes(b"")


def change(path: str, pattern: str, new: str, count: int = 1) -> Callable[[Path], None]:
    def break_it(folder: Path) -> None:
        edit(folder / path, pattern, new, count)
        rewrite_inventory(folder)

    return break_it


def independent_nowhere(folder: Path) -> None:
    for path in (folder / "hls").iterdir():
        edit(path, "#EXT-X-INDEPENDENT-SEGMENTS\n", "")
    rewrite_inventory(folder)


MASTER, MEDIA, MPD = MULTIVARIANT_PATH, "hls/v-avc-180.m3u8", MPD_PATH
BROKEN: dict[str, tuple[Callable[[Path], None], set[str]]] = {
    "a corrupted segment": (corrupt_segment, {"inventory-files"}),
    "a missing segment": (remove_segment, {"inventory-files", "segments"}),
    "a truncated segment": (truncate_segment, {"inventory-files", "segments"}),
    "a stray file": (add_file, {"inventory-closed"}),
    "a lie in the inventory": (lie_in_inventory, {"inventory-facts"}),
    "no inventory": (lambda f: (f / INVENTORY_NAME).unlink(), {"manifests"}),
    "no MPD": (lambda f: (f / MPD).unlink(), {"manifests", "inventory-files"}),
    "a low BANDWIDTH": (change(MASTER, r":BANDWIDTH=\d+", ":BANDWIDTH=150000"), {"bandwidth"}),
    "a high BANDWIDTH": (change(MASTER, r":BANDWIDTH=\d+", ":BANDWIDTH=300000"), {"bandwidth"}),
    "a low AVERAGE-BANDWIDTH": (
        change(MASTER, r"AVERAGE-BANDWIDTH=\d+", "AVERAGE-BANDWIDTH=90000"),
        {"average-bandwidth"},
    ),
    "no AVERAGE-BANDWIDTH": (
        change(MASTER, r"AVERAGE-BANDWIDTH=\d+,", ""),
        {"average-bandwidth"},
    ),
    "a wrong EXTINF": (change(MEDIA, "#EXTINF:2.000000", "#EXTINF:2.300000"), {"extinf"}),
    "EXTINFs that drift": (change(MEDIA, "#EXTINF:2.000000", "#EXTINF:2.030000", 2), {"extinf"}),
    "a short target": (
        change(MEDIA, "TARGETDURATION:2", "TARGETDURATION:1"),
        {"target-duration", "same-target"},
    ),
    "another target": (change(MEDIA, "TARGETDURATION:2", "TARGETDURATION:4"), {"same-target"}),
    "no VOD": (change(MEDIA, "#EXT-X-PLAYLIST-TYPE:VOD\n", ""), {"vod"}),
    "no end": (change(MEDIA, "#EXT-X-ENDLIST\n", ""), {"vod"}),
    "no EXT-X-MAP": (change(MEDIA, "#EXT-X-MAP.*\n", ""), {"ext-x-map", "segments"}),
    "no INDEPENDENT-SEGMENTS": (independent_nowhere, {"independent"}),
    "other CODECS": (change(MASTER, "avc1.64", "avc1.4d"), {"codecs"}),
    "CODECS without audio": (change(MASTER, ",mp4a.40.2", ""), {"codecs"}),
    "another RESOLUTION": (change(MASTER, "320x180", "640x360"), {"resolution"}),
    "no RESOLUTION": (change(MASTER, "RESOLUTION=320x180,", ""), {"resolution"}),
    "another FRAME-RATE": (change(MASTER, "FRAME-RATE=25.000", "FRAME-RATE=30"), {"frame-rate"}),
    "no LANGUAGE": (change(MASTER, 'LANGUAGE="en",', ""), {"language"}),
    "no I-frame playlist": (
        change(MASTER, r"#EXT-X-I-FRAME-STREAM-INF:.*v-avc-180-iframes.*\n", ""),
        {"iframes"},
    ),
    "a part that is no key frame": (
        change("hls/v-avc-180-iframes.m3u8", r"#EXT-X-BYTERANGE:\d+@", "#EXT-X-BYTERANGE:99@"),
        {"iframe-parts"},
    ),
    "a key frame that is shown too long": (
        change("hls/v-avc-180-iframes.m3u8", "#EXTINF:2.000000", "#EXTINF:2.300000"),
        {"iframe-parts"},
    ),
    "not I-frames only": (
        change("hls/v-avc-180-iframes.m3u8", "#EXT-X-I-FRAMES-ONLY\n", ""),
        {"iframes", "manifests"},
    ),
    "a low BANDWIDTH of key frames": (
        change(MASTER, r"(I-FRAME-STREAM-INF:BANDWIDTH)=\d+", r"\1=5000"),
        {"iframe-bandwidth"},
    ),
    "a wrong aspect": (widen, {"same-aspect"}),
    "swapped segments": (swap_segments, {"segments"}),
    "a gap between segments": (delay_segment, {"tfdt", "aligned", "mpd-duration"}),
    "a segment without IDR": (start_without_sync, {"sync-start", "iframe-parts"}),
    "other boundaries": (join_segments, {"aligned", "same-target", "iframe-parts"}),
    "a rung that ends early": (
        shorten("v-avc-180"),
        {"aligned", "same-frames", "same-length", "mpd-covers"},
    ),
    "audio that ends early": (shorten("a-aac-de"), {"same-length", "mpd-covers"}),
    "a long MPD": (change(MPD, "PT4S", "PT5S"), {"mpd-duration", "mpd-covers"}),
    "a slightly long MPD": (change(MPD, "PT4S", "PT4.05S"), {"mpd-duration"}),
    "a late period": (change(MPD, 'start="PT0S"', 'start="PT1S"'), {"mpd-start"}),
    "a wrong timeline": (
        change(MPD, r'<S t="0" d="25600" r="1" />', '<S t="0" d="23600" /><S d="27600" />'),
        {"mpd-timeline"},
    ),
    "a gap in a timeline": (
        change(MPD, r'<S t="0" d="25600" r="1" />', '<S t="0" d="25600" /><S t="30000" d="1" />'),
        {"manifests"},
    ),
    "a segment too few in the MPD": (change(MPD, ' r="1"', ""), {"mpd-timeline", "mpd-covers"}),
    "other facts in the MPD": (change(MPD, 'width="320"', 'width="321"'), {"mpd-facts"}),
    "subtitles without a map": (
        change(f"{TEXT}/2.vtt", r"X-TIMESTAMP-MAP.*\n", ""),
        {"webvtt"},
    ),
    "subtitles that are no text": (
        change(f"{TEXT}/2.vtt", "WEBVTT", "SUBTITLES"),
        {"webvtt"},
    ),
    "a cue that is cut off": (change(f"{TEXT}/2.vtt", r"\n\n[^\n]*-->[^\n]*\nTwo", ""), {"cues"}),
    "a cue of another time": (
        change(f"{TEXT}/1.vtt", r"\n\n", "\n\n00:00:03.000 --> 00:00:03.500\nTwo\n\n"),
        {"cues"},
    ),
    "subtitles that end early": (
        change(f"hls/{TEXT}.m3u8", r"#EXTINF:2.000000,\n\.\./t-vtt-en/2.vtt\n", ""),
        {"text-length"},
    ),
    "a way out of the folder": (
        change(MEDIA, r"\.\./v-avc-180/2.m4s", "../../../v-avc-180/2.m4s?/../../../etc/passwd"),
        {"iframe-parts"},  # which name the segment by its plain address
    ),
}


@pytest.mark.parametrize("how", BROKEN)
async def test_a_broken_package_is_caught(how: str, package: Path) -> None:
    break_it, expected = BROKEN[how]
    break_it(package)
    found = await check_package(package, decode=False)
    assert failed(found) == expected
    assert found.ok is not bool(expected)


async def test_advice_fails_nothing(package: Path) -> None:
    for path in (package / "hls").glob("?-*.m3u8"):
        edit(path, "TARGETDURATION:2", "TARGETDURATION:10")
    rewrite_inventory(package)
    found = await check_package(package, decode=False)
    assert failed(found) == {"target-six"}
    assert found.ok


async def test_what_the_inventory_cannot_see_the_decoder_does(package: Path) -> None:
    """A package that was broken before it was listed."""
    corrupt_segment(package)
    rewrite_inventory(package)
    found = await check_package(package)
    assert failed(found) == {"decodes"}
    (seen,) = (rule.seen for rule in found.rules if rule.id == "decodes")
    assert seen.startswith("v-avc-180: ")


async def test_manifests_cannot_lead_out_of_the_folder(package: Path) -> None:
    (package.parent / "secret").write_text("#EXTM3U\n")
    (package / "link.m3u8").symlink_to(package.parent / "secret")
    edit(package / MASTER, r"\.\./hls/v-avc-90.m3u8", "../link.m3u8")
    edit(package / MASTER, r"\.\./hls/v-avc-180.m3u8", "file://host/secret")
    found = await check_package(package, decode=False)
    (seen,) = (rule.seen for rule in found.rules if rule.id == "manifests")
    assert seen.count("outside the package") == 2


# Over HTTP


@pytest.fixture
async def served(package: Path) -> AsyncIterator[TestServer]:
    site = web.Application()
    site.router.add_static("/p/", package)
    server = TestServer(site)
    await server.start_server()
    yield server
    await server.close()


@pytest.mark.parametrize("path", [MASTER, MPD])
async def test_ffmpeg_plays_what_the_manifests_say(served: TestServer, path: str) -> None:
    argv = [ffmpeg(), "-v", "error", "-xerror", "-i", str(served.make_url(f"/p/{path}"))]
    argv += ["-map", "0:v:0", "-fps_mode", "passthrough", "-f", "null", "-progress", "pipe:1", "-"]
    assert b"frame=100\n" in await run_child(argv, limits=Limits(timeout_s=30))


async def test_a_package_at_an_address(served: TestServer) -> None:
    found = await check_package(str(served.make_url("/p")), decode=False)
    assert found.ok
    assert skipped(found) == {"inventory-closed", "decodes"} | OF_LOCKED


@pytest.mark.parametrize("path", [MASTER, MPD])
async def test_a_manifest_of_ours_leads_to_the_package(served: TestServer, path: str) -> None:
    found = await check_package(str(served.make_url(f"/p/{path}")), decode=False)
    assert found.ok
    assert "inventory-files" not in skipped(found)


async def test_another_ones_stream(served: TestServer, package: Path) -> None:
    """No inventory, no MPD, other names: what needs them is skipped."""
    shutil.move(package / MASTER, package / "hls" / "index.m3u8")
    (package / INVENTORY_NAME).unlink()
    found = await check_package(str(served.make_url("/p/hls/index.m3u8")), decode=False)
    assert found.ok
    assert (
        skipped(found)
        == {rule.id for rule in found.rules if rule.id.startswith(("inventory", "mpd"))}
        | {"same-frames", "decodes"}
        | OF_LOCKED
    )


async def test_a_sessions_manifests(served: TestServer, package: Path) -> None:
    """Two pathways, of which players start on the first; the second one is not even there."""
    here = PathwayBase("here", str(served.make_url("/p/")))
    gone = PathwayBase("gone", "http://127.0.0.1:9/p/")
    inventory = Inventory.model_validate_json((package / INVENTORY_NAME).read_bytes())
    steering = "http://127.0.0.1:9/steer"
    playlist = multivariant(inventory.renditions, [here, gone], steering_url=steering)
    (package / "session.m3u8").write_text(playlist)
    mpd = session_mpd((package / MPD).read_text(), [here, gone], steering_url=steering)
    (package / "session.mpd").write_text(mpd)
    for name in ("session.m3u8", "session.mpd"):
        found = await check_package(str(served.make_url(f"/p/{name}")), decode=False)
        assert found.ok, failed(found)
        assert "sync-start" not in skipped(found)


async def test_a_server_that_fails(served: TestServer, package: Path) -> None:
    edit(package / MEDIA, r"\.\./v-avc-180/1.m4s", "http://127.0.0.1:9/gone.m4s")
    edit(package / MEDIA, r"\.\./v-avc-180/2.m4s", "file:///etc/passwd")
    found = await check_package(str(served.make_url(f"/p/{MASTER}")), decode=False)
    assert "segments" in failed(found)
    for source in ("http://127.0.0.1:9/", str(served.make_url("/nothing/"))):
        with pytest.raises(Problem):
            await check_package(source)


async def test_nothing_to_check(tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "missing", Path(__file__)):
        with pytest.raises(Problem) as caught:
            await check_package(source)
        assert caught.value.code == "not_found"
    with pytest.raises(Problem, match=r"http://\[/ is not an address"):
        await check_package("http://[/")


# The command


def test_the_command_prints_json_and_ends_with_0(good: Path) -> None:
    done = CliRunner().invoke(app, [str(good), "--json"])
    assert done.exit_code == 0
    printed = json.loads(done.stdout)
    assert printed["ok"] is True
    assert {"id", "clause", "ok", "seen"} <= set(printed["rules"][0])


def test_the_command_shows_what_is_wrong_and_ends_with_1(package: Path) -> None:
    remove_segment(package)
    done = CliRunner().invoke(app, [str(package)], env={"COLUMNS": "160"})
    assert done.exit_code == 1
    assert "v-avc-180/2.m4s is missing" in done.stdout
    assert "FAIL" in done.stdout
    assert json.loads(CliRunner().invoke(app, [str(package), "--json"]).stdout)["ok"] is False


def test_the_command_without_a_package(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [str(tmp_path / "none"), "--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["code"] == "not_found"


# Measures


def test_a_peak_is_that_of_segments_around_the_target() -> None:
    six = Fraction(6)
    assert peak_bps([600, 1200], [six, six], six) == 1600
    # A short last segment is no peak of its own: 0.5 s of much, with the 6 s before it.
    assert peak_bps([600, 600], [six, Fraction(1, 2)], six) == pytest.approx(9600 / 6.5)
    assert peak_bps([600], [Fraction(1)], six) == 4800
    assert peak_bps([600, 600], [Fraction(0), Fraction(1)], 0) == 9600  # of anyone's playlist

"""The same rungs in other codecs, and sound in other shapes."""

import math
from pathlib import Path

import pytest

from encoder.codecs import with_codecs
from encoder.conformance import check_package
from encoder.loudness import Loudness
from encoder.package import Encoded
from encoder.pipeline import encode
from encoder.settings import EncoderSettings
from media.ids import new_id
from media.ladder import OPUS, STEREO, SURROUND, Ladder, Rung
from media.mp4 import read_track
from tests.encoder_films import ffmpeg

LADDER = Ladder(
    rungs=(Rung(height=90, max_bps=300_000), Rung(height=180, max_bps=900_000, crf=20)),
    gop_s=0.5,
    segment_gops=2,
)


def test_other_codecs_get_the_rungs_of_avc_for_fewer_bits() -> None:
    ladder = with_codecs(LADDER, ["avc", "av1", "hevc", "opus"])
    assert [rung.rendition_id for rung in ladder.rungs] == [
        "v-avc-90", "v-avc-180", "v-hevc-90", "v-hevc-180", "v-av1-90", "v-av1-180"
    ]  # fmt: skip
    by_id = {rung.rendition_id: rung for rung in ladder.rungs}
    assert by_id["v-avc-180"].max_bps > by_id["v-hevc-180"].max_bps > by_id["v-av1-180"].max_bps
    assert by_id["v-hevc-180"].crf < by_id["v-hevc-90"].crf
    assert ladder.audio == (STEREO, SURROUND, OPUS)
    assert with_codecs(ladder, ["avc", "av1", "opus"]) == ladder  # it has them


def test_a_track_becomes_as_loud_as_it_should_be() -> None:
    def gain(lufs: float, peak_db: float, target: float = -23.0) -> float:
        heard = Loudness()
        for line in (
            "frame:1   pts:4800  pts_time:0.1",
            "lavfi.r128.I=-70.000",
            f"lavfi.r128.I={lufs:.3f}",
            "lavfi.r128.true_peaks_ch0=nonsense",
            f"lavfi.r128.true_peak={10 ** (peak_db / 20):.6f}",
        ):
            heard.feed(line)
        return heard.gain_db(target)

    assert gain(-13.0, -0.5) == -10.0
    assert gain(-30.0, -20.0) == 7.0
    assert gain(-30.0, -4.0) == pytest.approx(3.0, abs=0.01)  # and no louder than its peaks allow
    assert gain(-30.0, 0.0) == 0.0
    assert gain(-23.05, -9.0) == 0.0
    assert gain(-71.0, -60.0) == 0.0  # silence stays so
    assert gain(-69.0, -65.0) == 30.0
    assert Loudness().gain_db(-23.0) == 0.0
    assert not math.isfinite(Loudness().integrated_lufs)


async def made(film: Path, out: Path, **settings: object) -> Encoded:
    chosen = EncoderSettings.model_validate({"preset": "ultrafast"} | settings)
    return await encode(film, out, new_id("ttl"), new_id("pkg"), chosen, ladder=LADDER)


@pytest.fixture(scope="module")
def surround(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds with a loud tone in six channels, and a soft one in stereo."""
    path = tmp_path_factory.mktemp("codecs") / "film.mkv"
    tone = "sine=f=440:r=48000:d=2,volume={},aformat=channel_layouts={}"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=s=320x180:r=24:d=2",
        "-f", "lavfi", "-i", tone.format("16dB", "mono") + ",pan=5.1|c0=c0|c1=c0|c2=c0|c4=c0|c5=c0",
        "-f", "lavfi", "-i", tone.format("-10dB", "stereo"),
        "-map", "0", "-map", "1", "-map", "2",
        "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "flac",
        "-metadata:s:a:0", "language=swe", "-metadata:s:a:1", "language=ger", path,
    )  # fmt: skip
    return path


async def test_one_film_in_every_codec(surround: Path, tmp_path: Path) -> None:
    one = await made(surround, tmp_path / "out", codecs="avc,hevc,av1,opus", chunk_s=1.0)
    named = {r.rendition_id: r.codecs for r in one.inventory.renditions}
    assert {name: codecs.split(".")[0] for name, codecs in named.items()} == {
        "v-avc-90": "avc1", "v-avc-180": "avc1", "v-hevc-90": "hvc1", "v-hevc-180": "hvc1",
        "v-av1-90": "av01", "v-av1-180": "av01", "a-aac-sv": "mp4a", "a-aac-de": "mp4a",
        "a-aac6-sv": "mp4a", "a-opus-sv": "opus", "a-opus-de": "opus",
    }  # fmt: skip
    assert {r.frames for r in one.inventory.renditions if r.kind == "video"} == {48}
    report = await check_package(str(tmp_path / "out"))
    assert report.failed == []


async def test_all_sound_is_as_loud_as_the_settings_say(surround: Path, tmp_path: Path) -> None:
    await made(surround, tmp_path / "out", loudness_lufs=-20.0)
    for name in ("a-aac-sv", "a-aac-de"):
        assert _lufs(tmp_path / "out", name) == pytest.approx(-20.0, abs=0.5)
    await made(surround, tmp_path / "as-it-is", loudness_lufs=0)
    assert _lufs(tmp_path / "as-it-is", "a-aac-de") < -26


def _lufs(package: Path, name: str) -> float:
    heard = Loudness()
    told = ffmpeg(
        "-i", package / "hls" / f"{name}.m3u8",
        "-af", "ebur128=metadata=1,ametadata=mode=print:file=-", "-f", "null", "-",
    )  # fmt: skip
    for line in told.decode().splitlines():
        heard.feed(line)
    return heard.integrated_lufs


async def test_hdr_stays_hdr_where_the_codec_can(tmp_path: Path) -> None:
    film = tmp_path / "film.mkv"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=s=320x180:r=24:d=1,format=yuv420p10le",
        "-vf", "setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc",
        "-c:v", "libx265", "-preset", "ultrafast", "-x265-params",
        "log-level=error:hdr10=1:max-cll=1000,400:master-display="
        "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)",
        film,
    )  # fmt: skip
    one = await made(film, tmp_path / "out", codecs="hevc,av1")
    found = {r.rendition_id: r for r in one.inventory.renditions}
    assert found["v-avc-180"].video_range is None
    assert found["v-hevc-180"].video_range == found["v-av1-180"].video_range == "PQ"
    assert found["v-hevc-180"].codecs.startswith("hvc1.2.4.")  # Main 10
    assert found["v-av1-180"].codecs.endswith(".10")
    text = (tmp_path / "out" / "hls" / "master.m3u8").read_text()
    assert text.count("VIDEO-RANGE=PQ") == 8 and text.count("VIDEO-RANGE=SDR") == 4
    track = read_track((tmp_path / "out" / "v-av1-180" / "init.mp4").read_bytes())
    assert (track.width, track.height, track.video_range) == (320, 180, "PQ")
    report = await check_package(str(tmp_path / "out"))
    assert report.failed == []

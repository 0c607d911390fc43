"""One real encode, looked at from all sides."""

from fractions import Fraction
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from encoder import rates
from encoder.conformance import check_package
from encoder.ffmpeg import ProgressReader
from encoder.measure import Measured, average_bps, measure_rendition, peak_bps
from encoder.package import Encoded
from encoder.pipeline import encode
from encoder.progress import Tally
from encoder.settings import EncoderSettings
from media.api import Progress
from media.hls import read_media
from media.ids import new_id
from media.inventory import FileEntry, Package, sha256_of
from media.ladder import STEREO, Ladder, Rung
from media.mp4 import Track
from tests.encoder_films import (
    count_frames,
    ffmpeg,
    flash_s,
    make_film,
    make_flash,
    tone_s,
)

FRAMES = 122  # 5.08 s: the last segment has two frames
LADDER = Ladder(
    rungs=(Rung(height=120, max_bps=200_000), Rung(height=240, max_bps=600_000)),
    audio=(STEREO,),
    gop_s=0.5,
    segment_gops=2,
)
FAST = EncoderSettings(preset="ultrafast")


async def made(master: Path, out: Path, ladder: Ladder | None = LADDER) -> Encoded:
    return await encode(master, out, new_id("ttl"), new_id("pkg"), FAST, ladder=ladder)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of `FRAMES` frames, encoded; its progress stands beside it."""
    import asyncio

    folder = tmp_path_factory.mktemp("encode")
    film = make_film(folder / "film.mkv", seconds=FRAMES / 24, size="320x240")
    told: list[Progress] = []
    asyncio.run(
        encode(
            film,
            folder / "package",
            new_id("ttl"),
            new_id("pkg"),
            FAST,
            ladder=LADDER,
            on_progress=told.append,
        )
    )
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions) and fractions[-1] < 1
    assert {p.stage for p in told} == {"probe", "encode", "judge", "package"}
    assert sorted(path.name for path in folder.iterdir()) == ["film.mkv", "package"]
    return folder / "package"


def test_progress_tells_speed_and_time_left() -> None:
    reader = ProgressReader(frames=100)
    lines = ["frame=25", "speed=N/A", "progress=continue", "speed=2.5x", "progress=end"]
    assert [reader.feed(line) for line in lines] == [False, False, True, False, True]
    tally = Tally({"a": 100, "b": 100, "c": 50}, Fraction(25), now=10.0)
    tally.had("a")  # by an earlier run: counts, but not as speed
    told = tally.note("b", 0, 10.0)
    assert (told.speed, told.eta_s, told.chunks, told.chunks_done) == (None, None, 3, 1)
    told = tally.note("b", reader.frame, 11.0)  # a second of film in a second
    assert (told.speed, told.eta_s) == (1.0, 5.0)
    told = tally.note("b", 100, 12.0)
    assert (told.speed, told.eta_s, told.chunks_done) == (2.0, 1.0, 2)
    assert tally.note("b", 90, 12.0).fraction == told.fraction  # words may come late


def test_every_rung_has_every_frame_and_the_same_boundaries(package: Path) -> None:
    low, high = (measure_rendition(package, f"v-avc-{height}") for height in (120, 240))
    assert low.samples == high.samples == FRAMES
    assert low.segment_s() == high.segment_s() == [Fraction(1)] * 5 + [Fraction(2, 24)]
    assert all(fragment.starts_with_sync for fragment in (*low.fragments, *high.fragments))
    assert (low.track.width, low.track.height, high.track.width) == (160, 120, 320)
    for height in (120, 240):
        assert count_frames(package / f"hls/v-avc-{height}.m3u8") == FRAMES


def test_sound_is_as_long_as_the_pictures_and_starts_with_them(package: Path) -> None:
    sound = measure_rendition(package, "a-aac-und")
    assert abs(float(sound.duration_s) - FRAMES / 24) <= 512 / 48000
    assert (sound.start, sound.track.edit_offset, sound.track.channels) == (0, 0, 2)


def test_the_inventory_lists_every_byte(package: Path) -> None:
    raw = (package / "inventory.json").read_bytes()
    known = Package.parse(raw, sha256_of(raw))
    for rendition in known.inventory.renditions:
        listed = (package / rendition.file_list.path).read_bytes()
        known.add_file_list(rendition.rendition_id, listed)
    entries = {entry.path: entry for entry in known.entries()}
    there = {str(p.relative_to(package)) for p in package.rglob("*") if p.is_file()}
    assert set(entries) == there
    for path, entry in entries.items():
        data = (package / path).read_bytes()
        assert (entry.bytes, entry.sha256) == (len(data), sha256_of(data)), path
    total = sum(entry.bytes for entry in entries.values()) - len(raw)
    assert known.inventory.total_bytes == total


@pytest.mark.parametrize("manifest", ["hls/master.m3u8", "dash/manifest.mpd"])
def test_ffmpeg_plays_it_without_a_complaint(package: Path, manifest: str) -> None:
    ffmpeg("-i", package / manifest, "-map", "0", "-f", "null", "-")


def test_key_frames_decode_by_themselves(package: Path, tmp_path: Path) -> None:
    """Each part behind the init segment is one picture. (ffmpeg's own HLS reader wants the rest of
    a fragment, too.)"""
    playlist = package / "hls" / "v-avc-240-iframes.m3u8"
    frames = read_media(playlist.read_text(), playlist.as_uri()).segments
    assert len(frames) == 11  # GOPs
    assert sum(frame.duration_s for frame in frames) == pytest.approx(FRAMES / 24, abs=1e-4)
    init = (package / "v-avc-240" / "init.mp4").read_bytes()
    for number, frame in enumerate(frames):
        assert frame.part is not None
        offset, length = frame.part
        data = Path(urlsplit(frame.uri).path).read_bytes()[offset : offset + length]
        alone = tmp_path / f"{number}.mp4"
        alone.write_bytes(init + data)
        assert count_frames(alone) == 1


async def test_it_conforms(package: Path) -> None:
    found = await check_package(str(package))
    assert found.ok, [(rule.id, rule.seen) for rule in found.rules if rule.ok is False]


async def test_the_same_master_gives_the_same_segments(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mp4", seconds=1)
    first, second = [await made(film, tmp_path / name) for name in ("first", "second")]
    lists = [[r.file_list.sha256 for r in m.inventory.renditions] for m in (first, second)]
    assert lists[0] == lists[1]


@pytest.mark.parametrize("container", ["ts", "mkv", "mp4"])
@pytest.mark.parametrize("sound_from_s", [0.0, 0.7])
async def test_sound_and_picture_stay_together(
    tmp_path: Path, container: str, sound_from_s: float
) -> None:
    film = make_flash(tmp_path / f"film.{container}", at_s=2.0, sound_from_s=sound_from_s)
    await made(film, tmp_path / "package")
    seen = flash_s(tmp_path / "package/hls/v-avc-90.m3u8", 24)
    heard = tone_s(tmp_path / "package/hls/a-aac-und.m3u8")
    assert seen == 2.0
    assert abs(seen - heard) < 0.012


@pytest.mark.parametrize(
    ("rate", "ending", "more"),
    [
        ("24000/1001", "webm", "-c:v libvpx -deadline realtime -c:a libopus"),
        ("30000/1001", "flv", "-c:v libx264 -preset ultrafast -bf 2"),
        ("25", "avi", "-c:v mpeg4 -bf 2"),
        ("25", "mpg", "-c:v mpeg2video -bf 2"),
        ("25", "mxf", "-c:v mpeg2video -bf 2 -c:a pcm_s16le -ar 48000"),
        ("50", "ts", "-c:v libx264 -preset ultrafast -bf 3"),
        ("12", "mov", "-c:v libx264 -preset ultrafast -c:a pcm_s16le"),
    ],
)
async def test_no_frame_is_lost_or_doubled(
    tmp_path: Path, rate: str, ending: str, more: str
) -> None:
    film = tmp_path / f"film.{ending}"
    card = f"testsrc2=s=160x90:r={rate}:d=3"
    ffmpeg("-f", "lavfi", "-i", card, "-f", "lavfi", "-i", "sine=d=3", *more.split(), film)
    frames = count_frames(film)
    found = (await made(film, tmp_path / "package")).inventory.renditions[0]
    assert (found.frames, found.frame_rate) == (frames, float(Fraction(rate)))


async def test_a_turned_film_with_wide_pixels_in_two_languages(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    flat = make_film(tmp_path / "flat.mp4", seconds=1, size="180x120")
    ffmpeg("-i", flat, "-vf", "setsar=4/3", "-map", "0:v", "-map", "0:a", "-map", "0:a", "-map",
           "0:a", "-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=ger",
           "-metadata:s:a:2", "language=eng", tmp_path / "tagged.mp4")  # fmt: skip
    ffmpeg(
        "-display_rotation", "90", "-i", tmp_path / "tagged.mp4", "-map", "0", "-c", "copy", film
    )
    found = (await made(film, tmp_path / "package", ladder=None)).inventory.renditions
    assert [(r.rendition_id, r.width, r.height, r.language) for r in found] == [
        ("v-avc-240", 120, 240, None),
        ("a-aac-en", None, None, "en"),
        ("a-aac-de", None, None, "de"),
        ("a-aac-en-2", None, None, "en"),
    ]
    ffmpeg("-i", tmp_path / "package/hls/master.m3u8", "-map", "0", "-f", "null", "-")


async def test_an_interlaced_film_without_sound(tmp_path: Path) -> None:
    film = tmp_path / "film.ts"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x96:r=50:d=2", "-vf", "interlace", "-c:v",
           "mpeg2video", "-flags", "+ildct+ilme", film)  # fmt: skip
    found = (await made(film, tmp_path / "package")).inventory.renditions
    assert [(r.frames, r.frame_rate) for r in found] == [(50, 25.0)]


async def test_a_picture_that_changes_its_size_midway(tmp_path: Path) -> None:
    """As broadcasts do: the filters must not be made anew, and count frames from zero again."""
    first = make_film(tmp_path / "first.ts", seconds=1, size="160x120")
    second = make_film(tmp_path / "second.ts", seconds=1, size="320x180")
    (tmp_path / "both").write_text(f"file '{first}'\nfile '{second}'\n")
    film = tmp_path / "film.ts"
    ffmpeg("-f", "concat", "-safe", "0", "-i", tmp_path / "both", "-c", "copy", film)
    found = (await made(film, tmp_path / "package")).inventory.renditions[0]
    assert (found.width, found.height) == (160, 120)
    assert found.frames in range(48, 51)  # the seam of the two is a frame wide or so


def test_a_peak_is_never_below_the_average() -> None:
    """The second segment is too short for a run, and with the first one it is too long."""
    sizes, lengths = [60_000, 90_000], [Fraction(605, 100), Fraction(297, 100)]
    assert rates.peak_bps(sizes, lengths, 6) == rates.average_bps(sizes, lengths)


def test_the_peak_is_that_of_a_real_stretch_of_time() -> None:
    """RFC 8216bis 4.4.6.2: a last segment of one frame is no peak by itself."""
    sizes, ticks = [60_000, 30_000, 20_000], (6, 6, 1)
    one = Measured(
        rendition_id="v-avc-90",
        track=Track("video", timescale=1, codecs="avc1.64000c"),
        files=tuple(
            FileEntry(path=f"v-avc-90/{n}.m4s", bytes=size, sha256="0" * 64)
            for n, size in enumerate([1, *sizes])
        ),
        fragments=(),
        start=0,
        durations=ticks,
    )
    assert peak_bps(one) == 80_000
    assert average_bps(one) == -(-110_000 * 8 // 13)

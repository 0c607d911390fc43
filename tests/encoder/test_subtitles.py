"""Subtitles and still pictures of a package, from real films."""

from fractions import Fraction
from pathlib import Path

import pytest

from encoder.conformance import check_package
from encoder.package import Encoded
from encoder.pipeline import encode
from encoder.settings import EncoderSettings
from encoder.source import TextTrack
from encoder.subtitles import Beside, named
from media.dash import MPD_PATH
from media.hls import MULTIVARIANT_PATH, read_multivariant
from media.ids import new_id
from media.ladder import STEREO, Ladder, Rung
from media.webvtt import Cue, read_subtitles
from runtime.errors import Problem
from tests.encoder_films import ffmpeg, make_film

LADDER = Ladder(
    rungs=(Rung(height=120, max_bps=200_000),), audio=(STEREO,), gop_s=0.5, segment_gops=2
)
FAST = EncoderSettings(preset="ultrafast", quality="off")
SRT = """1
00:00:00,500 --> 00:00:01,250
Hello <i>there</i>

2
00:00:01,750 --> 00:00:09,000
On and on
"""
CUES = [Cue(0.5, 1.25, "Hello <i>there</i>"), Cue(1.75, 3.0, "On and on")]


async def made(master: Path, out: Path, *beside: Beside) -> Encoded:
    return await encode(
        master, out, new_id("ttl"), new_id("pkg"), FAST, ladder=LADDER, beside=beside
    )


def with_subtitles(film: Path, codec: str, *more: str) -> Path:
    text = film.with_suffix(".srt")
    text.write_text(SRT)
    out = film.with_name(f"subtitled{'.mp4' if codec == 'mov_text' else '.mkv'}")
    ffmpeg("-i", str(film), "-i", str(text), "-map", "0", "-map", "1", "-c", "copy",
           "-c:s", codec, "-metadata:s:s:0", "language=ger", *more, str(out))  # fmt: skip
    return out


@pytest.mark.parametrize("codec", ["subrip", "ass", "webvtt", "mov_text"])
async def test_subtitles_of_the_film_are_kept(tmp_path: Path, codec: str) -> None:
    film = make_film(tmp_path / "film.mkv", seconds=3, size="160x120")
    out = await made(with_subtitles(film, codec), tmp_path / "out")
    (text,) = [r for r in out.inventory.renditions if r.kind == "text"]
    assert (text.rendition_id, text.language, text.codecs) == ("t-vtt-de", "de", "wvtt")
    assert read_subtitles((out.folder / "t-vtt-de" / "whole.vtt").read_bytes()) == CUES
    parts = [(out.folder / "t-vtt-de" / f"{n}.vtt").read_text() for n in (1, 2, 3)]
    assert ["On and on" in part for part in parts] == [False, True, True]
    found = await check_package(out.folder, decode=False)
    assert not found.failed, found.failed
    assert {rule.id for rule in found.rules if rule.ok} >= {"webvtt", "cues", "text-length"}


async def test_a_film_that_begins_late_has_its_subtitles_on_time(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", seconds=3, size="160x120")
    late = tmp_path / "late.mkv"
    # Pictures begin at 10 s of the file, and so does the text.
    ffmpeg("-i", str(with_subtitles(film, "subrip")), "-map", "0", "-c", "copy",
           "-output_ts_offset", "10", str(late))  # fmt: skip
    out = await made(late, tmp_path / "out")
    assert read_subtitles((out.folder / "t-vtt-de" / "whole.vtt").read_bytes()) == CUES


async def test_those_beside_the_film_come_first_and_players_are_told(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", seconds=3, size="160x120")
    master = with_subtitles(film, "subrip", "-disposition:s:0", "forced")
    out = await made(
        master, tmp_path / "out", Beside("ger", SRT.encode()), Beside("pt-BR", SRT.encode())
    )
    told = {r.rendition_id: r.forced for r in out.inventory.renditions if r.kind == "text"}
    assert told == {"t-vtt-de": None, "t-vtt-pt-br": None, "t-vtt-de-2": True}
    text = (out.folder / MULTIVARIANT_PATH).read_text()
    listed = read_multivariant(text, "file:///p/hls/master.m3u8")
    names = [(m.name, m.language) for m in listed.media if m.type == "SUBTITLES"]
    assert names == [("de", "de"), ("pt-BR", "pt-BR"), ("de 3", "de")]
    assert all(variant.subtitles == "subs" for variant in listed.variants)
    assert text.count("FORCED=YES") == 1
    mpd = (out.folder / MPD_PATH).read_text()
    assert mpd.count("/whole.vtt</BaseURL>") == 3 and mpd.count("forced-subtitle") == 1


async def test_what_cannot_be_read_beside_the_film_is_refused(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", seconds=3, size="160x120")
    with pytest.raises(Problem, match="subtitles in en"):
        await made(film, tmp_path / "out", Beside("en", b"hello"))
    assert not (tmp_path / "out").exists()


def test_a_small_file_that_would_fill_a_disk_is_refused() -> None:
    """A cue stands in every segment during which it is shown."""
    long = [Cue(0.0, 7200.0, "x" * 2000)] * 100
    with pytest.raises(Problem, match="too much at once"):
        named([(TextTrack(-1, "en"), long)], 7200.0)
    assert (
        named([(TextTrack(3, "en"), long), (TextTrack(4, "de"), CUES)], 7200.0)[0].language == "de"
    )


async def test_pictures_to_seek_by_and_a_poster(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", seconds=15, size="320x180")
    out = await made(film, tmp_path / "out")
    listed = {entry.path for entry in out.inventory.files}
    assert listed >= {"thumbs/1.jpg", "thumbs/2.jpg", "thumbs/index.vtt", "thumbs/poster.jpg"}
    index = read_subtitles((out.folder / "thumbs/index.vtt").read_bytes())
    assert [cue.start_s for cue in index] == [number / 2 for number in range(30)]
    assert index[-1].end_s == 15.0 and index[-1].text == "2.jpg#xywh=640,0,160,90"
    assert 'value="5x5"' in (out.folder / MPD_PATH).read_text()
    sprite = size_of(out.folder / "thumbs/1.jpg")
    assert sprite == (800, 450) and size_of(out.folder / "thumbs/poster.jpg") == (214, 120)


async def test_a_picture_stands_for_its_time(tmp_path: Path) -> None:
    """A film that is white from 2 s on: so are its pictures from the fifth on."""
    film = tmp_path / "film.mkv"
    halves = [f"color={shade}:s=160x120:r=24:d=2[{shade}]" for shade in ("black", "white")]
    ffmpeg("-f", "lavfi", "-i", f"{';'.join(halves)};[black][white]concat",
           "-c:v", "libx264", str(film))  # fmt: skip
    out = await made(film, tmp_path / "out")
    shades = []
    for cue in read_subtitles((out.folder / "thumbs/index.vtt").read_bytes()):
        x, y, width, height = map(int, cue.text.partition("xywh=")[2].split(","))
        grey = ffmpeg("-i", str(out.folder / "thumbs/1.jpg"), "-vf",
                      f"crop={width}:{height}:{x}:{y},scale=1:1:flags=area,format=gray",
                      "-f", "rawvideo", "-")  # fmt: skip
        shades.append(grey[0] > 128)
    assert shades == [False] * 4 + [True] * 4


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of a JPEG, by its frame header."""
    data = path.read_bytes()
    at = data.index(b"\xff\xc0")
    return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(
        data[at + 5 : at + 7], "big"
    )


def test_segments_follow_the_pictures() -> None:
    (track,) = named([(TextTrack(3, "en"), CUES)], 3.0)
    files = track.files([Fraction(2), Fraction(1)])
    assert list(files) == ["t-vtt-en/1.vtt", "t-vtt-en/2.vtt", "t-vtt-en/whole.vtt"]

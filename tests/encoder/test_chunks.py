"""Where films are cut, and that the chunks together are the film."""

import asyncio
import subprocess
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.chunks import Chunk, Entry, cut
from encoder.ffmpeg import MASTER, pictures_argv
from encoder.probe import probe
from encoder.recipe import make_recipe
from encoder.remux import remuxed
from encoder.settings import EncoderSettings
from encoder.source import Source
from media.ladder import Codec, Ladder, Rung
from runtime import programs
from tests.encoder_films import ffmpeg

SETTINGS = EncoderSettings(preset="ultrafast")
LADDER = Ladder(rungs=(Rung(height=90, max_bps=500_000),), gop_s=0.5, segment_gops=1)


def every_s(count: int) -> tuple[Entry, ...]:
    return tuple(Entry(float(n), float(n)) for n in range(count))


@given(
    frames=st.integers(1, 50_000),
    segment_frames=st.integers(1, 360),
    rate=st.sampled_from([Fraction(24000, 1001), Fraction(25), Fraction(60)]),
    chunk_s=st.floats(0.1, 120),
    keys=st.integers(0, 300),
)
def test_chunks_cover_the_film_in_whole_segments(
    frames: int, segment_frames: int, rate: Fraction, chunk_s: float, keys: int
) -> None:
    chunks = cut(frames, segment_frames, rate, chunk_s, entries=every_s(keys))
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    assert chunks[0].first == 0 and chunks[0].seek_s is None
    assert all(a.first + a.frames == b.first for a, b in pairwise(chunks))
    assert all(chunk.first % segment_frames == 0 and chunk.frames > 0 for chunk in chunks)
    assert chunks[-1].first + chunks[-1].frames == frames
    for chunk in chunks[1:]:  # what comes before the first frame is decoded, too
        assert chunk.seek_s is None or chunk.seek_s <= chunk.first / rate


def test_a_cut_lies_where_little_is_decoded_twice() -> None:
    # Segments of 2 s, chunks of about 20; the master has key frames every 7 s.
    entries = tuple(Entry(float(n), n - 0.08) for n in range(0, 100, 7))
    chunks = cut(2500, 50, Fraction(25), 20, start_s=0.0, entries=entries)
    assert len(chunks) == 5
    for chunk in chunks[1:]:
        assert chunk.seek_s is not None
        assert 0.64 <= chunk.first / 25 - chunk.seek_s < 4.1
        assert abs(chunk.first / 25 - 20 * chunk.number) <= 2
    assert cut(2500, 50, Fraction(25), 20) == (Chunk(0, 0, 2500),)  # it cannot be sought


FILMS = {
    "open gop": ("o.mp4", ["-x264-params", "open-gop=1:keyint=40"],
                 "testsrc2=s=160x90:r=30000/1001"),
    "matroska": ("m.mkv", ["-g", "50", "-bf", "3"], "testsrc2=s=160x90:r=24"),
    "fields": ("f.mp4", ["-flags", "+ildct+ilme", "-g", "40"],
               "testsrc2=s=160x90:r=50,tinterlace=interleave_top,fieldorder=tff"),
    "variable": ("v.mkv", ["-fps_mode", "vfr", "-g", "40"],
                 "testsrc2=s=160x90:r=30,select='if(lt(mod(n,80),50),1,not(mod(n,23)))'"),
    "slides": ("s.mp4", ["-fps_mode", "vfr", "-bf", "2"],
               "testsrc2=s=160x90:r=30,select='not(mod(n,71))'"),
    "cut": ("c.mp4", ["-g", "30"], "testsrc2=s=160x90:r=24"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILMS)
async def test_chunks_are_the_frames_of_the_film(name: str, tmp_path: Path) -> None:
    file, options, scene = FILMS[name]
    whole = tmp_path / file
    ffmpeg("-f", "lavfi", "-i", scene, "-t", "9", "-c:v", "libx264", *options, whole)
    if name == "cut":  # begins in the middle of a GOP, by an edit list
        ffmpeg("-ss", "1.7", "-i", whole, "-c", "copy", tmp_path / "later.mp4")
        whole = tmp_path / "later.mp4"
    (tmp_path / MASTER).symlink_to(whole)
    source = await probe(tmp_path, SETTINGS)
    assert source.seekable
    await _compare(tmp_path, source)


async def test_a_transport_stream_is_remuxed_first(tmp_path: Path) -> None:
    film = tmp_path / "film.ts"
    scene = ["-f", "lavfi", "-i", "testsrc2=s=160x90:r=24", "-f", "lavfi", "-i", "sine", "-t", "9"]
    ffmpeg(*scene, "-c:v", "libx264", "-g", "40", "-c:a", "mp2", film)
    (tmp_path / MASTER).symlink_to(film)
    source = await probe(tmp_path, SETTINGS)
    assert not source.seekable
    found = await remuxed(tmp_path, source, SETTINGS)
    assert found.seekable and found.cadence.frames == source.cadence.frames
    assert len(found.audio) == 1
    await _compare(tmp_path, found)


async def _compare(folder: Path, source: Source) -> None:
    """The pictures of all chunks are those of the whole, in their order."""
    segment = round(source.frame_rate / 2)
    chunks = cut(
        source.cadence.frames,
        segment,
        source.frame_rate,
        1.5,
        start_s=source.cadence.start_s,
        entries=source.entries,
    )
    assert len(chunks) >= 5
    whole = await asyncio.to_thread(_pictures, folder, source, Chunk(0, 0, source.cadence.frames))
    parts = [await asyncio.to_thread(_pictures, folder, source, chunk) for chunk in chunks]
    assert [len(part) for part in parts] == [chunk.frames for chunk in chunks]
    assert [picture for part in parts for picture in part] == whole


def _pictures(folder: Path, source: Source, chunk: Chunk) -> list[str]:
    """A digest of each picture that the encoders get and keep."""
    recipe = make_recipe(source, LADDER)
    argv = pictures_argv(
        programs.ffmpeg(), recipe, chunk, MASTER, preset="ultrafast", threads=0, max_pixels=1 << 20
    )
    # The same input and filters; instead of an encoder, digests.
    graph_at, out_at = argv.index("-filter_complex"), argv.index("-map")
    argv = [*argv[: graph_at + 2], *argv[out_at : out_at + 2]]
    argv += ["-fps_mode", "passthrough", "-f", "framemd5", "-"]
    said = subprocess.run(argv, cwd=folder, check=True, capture_output=True, text=True).stdout
    digests = [line.rpartition(",")[2].strip() for line in said.splitlines() if line[:1] != "#"]
    return digests[chunk.run_up :]


@pytest.mark.parametrize("codec", ["avc", "hevc", "av1"])
async def test_what_is_encoded_in_front_of_a_chunk_is_thrown_away(
    codec: Codec, tmp_path: Path
) -> None:
    film = tmp_path / MASTER
    scene = ["-f", "lavfi", "-i", "testsrc2=s=160x90:r=24", "-t", "5", "-c:v", "libx264"]
    ffmpeg(*scene, "-g", "36", "-bf", "2", "-f", "matroska", film)
    source = await probe(tmp_path, SETTINGS)
    rung = Rung(height=90, max_bps=500_000, codec=codec)
    recipe = make_recipe(source, LADDER.model_copy(update={"rungs": (rung,)}))
    chunk = Chunk(1, 48, 30, seek_s=0.0)
    assert chunk.run_up
    argv = pictures_argv(
        programs.ffmpeg(), recipe, chunk, MASTER, preset="ultrafast", threads=1, max_pixels=1 << 20
    )
    packets = await asyncio.to_thread(_packets, tmp_path, argv, f"{rung.rendition_id}.mp4")
    assert sorted(round(at_s * 24) for at_s, _ in packets) == list(range(30))
    keys = [round(at_s * 24) for at_s, is_key in packets if is_key]
    assert keys == [0, 12, 24]  # as if it had begun there: a GOP is half a second


def _packets(folder: Path, argv: list[str], name: str) -> list[tuple[float, bool]]:
    """The time of each packet that the command makes, and whether it is a key frame's."""
    subprocess.run(argv, cwd=folder, check=True, capture_output=True)
    asked = ["-v", "error", "-show_entries", "packet=pts_time,flags", "-of", "csv=p=0", name]
    said = subprocess.run(
        [programs.ffprobe(), *asked], cwd=folder, check=True, capture_output=True, text=True
    ).stdout
    lines = [line.split(",") for line in said.split()]
    return [(float(at_s), "K" in flags) for at_s, flags, *_ in lines]

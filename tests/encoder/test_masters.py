"""Files that cannot become a package: each has its code, and leaves nothing behind."""

import random
import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from encoder.extent import missing_bytes
from encoder.pipeline import encode
from encoder.settings import EncoderSettings
from encoder.sniff import refuse_head
from media.ids import new_id
from runtime.errors import Problem
from tests.encoder_films import ffmpeg, make_film


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same film in several containers."""
    folder = tmp_path_factory.mktemp("films")
    film = make_film(folder / "film.mp4", seconds=4)
    for name in ("fast.mp4", "film.mkv", "film.ts", "film.avi", "film.flv", "film.mov"):
        more = ["-movflags", "+faststart"] if name == "fast.mp4" else []
        ffmpeg("-i", film, "-c", "copy", *more, folder / name)
    return folder


def cut(films: Path, name: str) -> bytes:
    whole = (films / name).read_bytes()
    return whole[: len(whole) * 6 // 10 // 188 * 188 + 7]


def damaged(films: Path, name: str) -> bytes:
    whole = bytearray((films / name).read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 3000] = bytes(byte ^ 0x5A for byte in whole[middle : middle + 3000])
    return bytes(whole)


def fuzzed(films: Path, name: str) -> bytes:
    """Every fortieth byte is another, but for those that say what it is."""
    noise, whole = random.Random(name), bytearray((films / name).read_bytes())
    for at in noise.sample(range(200, len(whole)), len(whole) // 40):
        whole[at] = noise.randrange(256)
    return bytes(whole)


def drawn(films: Path, scene: str, *options: str) -> bytes:
    """What ffmpeg draws, without loss."""
    target = films / "drawn.mkv"
    ffmpeg("-f", "lavfi", "-i", scene, *options, "-c:v", "ffv1", target)
    return target.read_bytes()


def sound(films: Path) -> bytes:
    ffmpeg("-i", films / "film.mp4", "-vn", "-c", "copy", films / "sound.m4a")
    return (films / "sound.m4a").read_bytes()


def picture(films: Path) -> bytes:
    ffmpeg("-i", films / "film.mp4", "-frames:v", "1", films / "picture.png")
    return (films / "picture.png").read_bytes()


def playlist(films: Path) -> bytes:
    return (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{films}/film.ts\n#EXT-X-ENDLIST\n".encode()
    )


def script(films: Path) -> bytes:
    return f"ffconcat version 1.0\nfile '{films}/film.mp4'\n".encode()


BAD: dict[str, tuple[str, Callable[[Path], bytes]]] = {
    "empty": ("empty_file", lambda films: b""),
    "text": ("not_a_video", lambda films: b"Dear diary,\n" * 40),
    "noise": ("not_a_video", lambda films: bytes(range(256)) * 400),
    "png named mp4": ("not_a_video", picture),
    "sound only": ("not_a_video", sound),
    "playlist named mp4": ("forbidden_format", playlist),
    "playlist after a BOM": ("forbidden_format", lambda films: b"\xef\xbb\xbf\n" + playlist(films)),
    "ffconcat named mp4": ("forbidden_format", script),
    "cut, index behind": ("truncated_file", lambda films: cut(films, "film.mp4")),
    "cut, index in front": ("truncated_file", lambda films: cut(films, "fast.mp4")),
    "cut mkv": ("truncated_file", lambda films: cut(films, "film.mkv")),
    "cut ts": ("truncated_file", lambda films: cut(films, "film.ts")),
    "cut avi": ("truncated_file", lambda films: cut(films, "film.avi")),
    "cut flv": ("truncated_file", lambda films: cut(films, "film.flv")),
    "damaged ts": ("truncated_file", lambda films: damaged(films, "film.ts")),
    "damaged mp4": ("truncated_file", lambda films: damaged(films, "fast.mp4")),
    "fuzzed mp4": ("not_a_video or truncated_file", lambda films: fuzzed(films, "fast.mp4")),
    "fuzzed mkv": ("not_a_video or truncated_file", lambda films: fuzzed(films, "film.mkv")),
    "fuzzed ts": ("not_a_video or truncated_file", lambda films: fuzzed(films, "film.ts")),
    "fuzzed avi": ("not_a_video or truncated_file", lambda films: fuzzed(films, "film.avi")),
    "fuzzed flv": ("not_a_video or truncated_file", lambda films: fuzzed(films, "film.flv")),
    "one pixel": ("not_a_video", lambda films: drawn(films, "color=s=1x1:d=1")),
    "20,000 pixels wide": (
        "not_a_video",
        lambda films: drawn(films, "color=s=20000x64:r=5:d=1,format=gray"),
    ),
    "20,000 lines": (
        "not_a_video",
        lambda films: drawn(films, "color=s=64x20000:r=5:d=1,format=gray"),
    ),
    "one picture": ("not_a_video", lambda films: drawn(films, "testsrc2", "-frames:v", "1")),
    "no duration": (
        "truncated_file",
        lambda films: drawn(films, "testsrc2=s=96x64:d=1,setpts=0", "-fps_mode", "passthrough"),
    ),
    # A megabyte that would be encoded for days.
    "a picture for a month": (
        "not_a_video",
        lambda films: drawn(films, "color=s=64x64:r=1/3600:d=2592000,format=gray"),
    ),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_masters(name: str, films: Path, tmp_path: Path) -> None:
    code, content = BAD[name]
    master = tmp_path / "master.mp4"
    master.write_bytes(content(films))
    with pytest.raises(Problem) as refused:
        await encode(master, tmp_path / "out", new_id("ttl"), new_id("pkg"), EncoderSettings())
    assert refused.value.code in code.split(" or "), refused.value.detail
    assert [path.name for path in tmp_path.iterdir()] == ["master.mp4"]


async def test_a_disguised_pointer_is_never_followed(films: Path, tmp_path: Path) -> None:
    """Even one that the look at its first bytes takes for something else."""
    master = tmp_path / "master.mp4"
    master.write_bytes(b"#\n" + playlist(films))
    with pytest.raises(Problem) as refused:
        await encode(master, tmp_path / "out", new_id("ttl"), new_id("pkg"), EncoderSettings())
    assert refused.value.code == "not_a_video"


async def test_a_container_that_belittles_its_pictures(tmp_path: Path) -> None:
    """1.6 MB of PNG can hold 256 million pixels, and the header need not say so."""
    film, master = tmp_path / "film.avi", tmp_path / "master"
    ffmpeg("-f", "lavfi", "-i", "color=s=640x480:r=25:d=0.2", "-c:v", "png", film)
    said, small = struct.pack("<II", 640, 480), struct.pack("<II", 160, 120)
    master.write_bytes(film.read_bytes().replace(said, small))
    settings = EncoderSettings(max_pixels=320 * 240)
    with pytest.raises(Problem, match="larger than is taken") as refused:
        await encode(master, tmp_path / "out", new_id("ttl"), new_id("pkg"), settings)
    assert refused.value.code == "not_a_video"


async def test_a_film_that_is_too_long(films: Path, tmp_path: Path) -> None:
    settings = EncoderSettings(max_duration_s=2)
    with pytest.raises(Problem, match="lasts 4 s"):
        await encode(films / "film.mov", tmp_path / "out", new_id("ttl"), new_id("pkg"), settings)


@pytest.mark.parametrize(
    "name", ["film.mp4", "fast.mp4", "film.mkv", "film.ts", "film.avi", "film.mov"]
)
def test_the_extent_of_whole_and_of_cut_files(name: str, films: Path) -> None:
    whole = (films / name).read_bytes()
    assert missing_bytes(BytesIO(whole), len(whole)) == 0
    assert missing_bytes(BytesIO(whole[:-1]), len(whole) - 1) == 1


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n",
        "  \n#EXTM3U8",
        "ffconcat version 1.0",
        '<?xml version="1.0"?>\n<!-- x -->\n<MPD xmlns="x">',
        "<mpd:MPD>",
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1",
        "[playlist]\nFile1=/etc/passwd",
        "http://169.254.0.1/latest",
        "<asx version='3.0'>",
    ],
)
def test_pointers_are_recognized(text: str) -> None:
    with pytest.raises(Problem) as refused:
        refuse_head(text.encode())
    assert refused.value.code == "forbidden_format"

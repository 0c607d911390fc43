"""Fragmented MP4: what a real packager wrote is read rightly, and nothing hostile gets through."""

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media.mp4 import Defaults, Fragment, Track, presentation, read_segment, read_track
from tests.encoder_clips import make_package


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_package(tmp_path_factory.mktemp("film"))


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def u32(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def fragment(*truns: bytes, at: int = 0, tfhd: bytes = full(b"tfhd", 0, 0, u32(1))) -> bytes:
    tfdt = full(b"tfdt", 1, 0, struct.pack(">Q", at))
    return box(b"moof", box(b"traf", tfhd, tfdt, *truns)) + box(b"mdat", b"x")


def test_a_video_track(package: Path) -> None:
    track = read_track((package / "v-avc-180" / "init.mp4").read_bytes())
    assert (track.kind, track.width, track.height) == ("video", 320, 180)
    assert track.codecs.startswith("avc1.6400")
    assert track.timescale % 25 == 0
    assert track.edit_offset > 0  # B-frames: composition starts after decoding does


def test_an_audio_track(package: Path) -> None:
    track = read_track((package / "a-aac-en" / "init.mp4").read_bytes())
    assert (track.kind, track.codecs) == ("audio", "mp4a.40.2")
    assert (track.channels, track.sample_rate, track.timescale) == (2, 48_000, 48_000)
    assert track.edit_offset == 1024  # the encoder's priming


@pytest.mark.parametrize("rendition", ["v-avc-90", "v-avc-180", "a-aac-en"])
def test_segments_follow_each_other(package: Path, rendition: str) -> None:
    track = read_track((package / rendition / "init.mp4").read_bytes())
    first, second = (
        read_segment((package / rendition / f"{n}.m4s").read_bytes(), track.defaults)
        for n in (1, 2)
    )
    assert first.starts_with_sync and second.starts_with_sync
    assert first.decode_time == 0 and second.decode_time == first.duration
    if track.kind == "video":
        assert (first.samples, second.samples) == (50, 50)
    start, ticks = presentation(track, [first, second])
    assert start == 0
    assert sum(ticks) == 4 * track.timescale  # exactly the film, with the priming cut off


def test_a_presentation_starts_where_the_edit_list_says() -> None:
    track = Track("audio", 1000, "mp4a.40.2", edit_offset=20)
    late = [Fragment(50, 100, 5, True, 50), Fragment(150, 100, 5, True, 150)]
    assert presentation(track, late) == (30, (100, 100))
    early = [Fragment(0, 100, 5, True, 0), Fragment(100, 100, 5, True, 100)]
    assert presentation(track, early) == (0, (80, 100))


def test_samples_take_what_they_lack_from_fragment_and_track() -> None:
    bare = full(b"trun", 0, 0, u32(3))
    non_sync = Defaults(duration=10, flags=0x10000)
    assert read_segment(fragment(bare), non_sync) == Fragment(0, 30, 3, False)
    own = full(b"tfhd", 0, 0x28, u32(1, 7, 0))  # duration and flags
    assert read_segment(fragment(bare, tfhd=own), non_sync) == Fragment(0, 21, 3, True)
    first_is_sync = full(b"trun", 0, 0x4, u32(3, 0))
    assert read_segment(fragment(first_is_sync), non_sync).starts_with_sync


def test_samples_that_speak_for_themselves() -> None:
    samples = struct.pack(">" + "IIi" * 3, 10, 0, 20, 10, 0x10000, -5, 12, 0x10000, 0)
    run = full(b"trun", 1, 0xD00, u32(3), samples)  # durations, flags, composition offsets
    assert read_segment(fragment(run, at=100)) == Fragment(100, 32, 3, True, 105)


def test_all_moofs_of_a_segment_are_added_up() -> None:
    run = full(b"trun", 0, 0, u32(2))
    both = fragment(run, run, at=8) + fragment(run, at=16)
    assert read_segment(both, Defaults(duration=2)) == Fragment(8, 12, 6, True, 8)
    with pytest.raises(ValueError, match="starts at 17"):
        read_segment(fragment(run, run, at=8) + fragment(run, at=17), Defaults(duration=2))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no samples"),
        (b"\0\0\0\x09moof\0", "missing|damaged|tracks"),
        (b"\0\0\0\x07free", "does not fit"),
        (b"\xff\xff\xff\xfffree", "does not fit"),
        (fragment(full(b"trun", 0, 0x200, u32(1 << 31))), "more samples"),
        (fragment(full(b"trun", 0, 0, u32(1)))[:-9], "no media data"),
        (fragment(full(b"trun", 0, 0, u32(1)))[:-1], "does not fit"),
        (box(b"free") * 20_001, "boxes"),
    ],
)
def test_damaged_segments_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_segment(data)


def test_an_announced_sample_costs_nothing() -> None:
    """Four thousand million samples without a byte each: counted, not walked."""
    endless = fragment(full(b"trun", 0, 0, u32(0xFFFF_FFFF)))
    assert read_segment(endless, Defaults(duration=1)).samples == 0xFFFF_FFFF


@pytest.mark.parametrize("name", ["v-avc-90/init.mp4", "a-aac-en/init.mp4"])
def test_a_cut_off_init_is_refused(package: Path, name: str) -> None:
    whole = (package / name).read_bytes()
    for length in range(len(whole)):
        with pytest.raises(ValueError):
            read_track(whole[:length])


@given(data=st.data())
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.parametrize("name", ["v-avc-90/init.mp4", "a-aac-en/init.mp4", "v-avc-90/1.m4s"])
def test_whatever_was_changed_only_valueerror_comes_out(
    package: Path, name: str, data: st.DataObject
) -> None:
    raw = bytearray((package / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, min(len(raw), 1000) - 4))  # where the boxes are
        change = data.draw(st.binary(min_size=1, max_size=4))
        raw[at : at + len(change)] = change
    for read in (read_track, read_segment):
        try:
            read(bytes(raw))
        except ValueError:
            pass


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_noise_is_refused(noise: bytes) -> None:
    for read in (read_track, read_segment):
        with pytest.raises(ValueError):
            read(noise)

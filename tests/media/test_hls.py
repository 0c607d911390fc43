"""HLS playlists: what is written, that nothing can be smuggled in, and what is read."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.hls import (
    PathwayBase,
    Segment,
    media_playlist,
    multivariant,
    read_media,
    read_multivariant,
)
from media.inventory import FileEntry, Rendition

HERE = PathwayBase(None, "../")
A = PathwayBase("edge-a", "http://127.0.1.1:8090/token/titles/t/p/")
B = PathwayBase("edge-b", "http://127.0.1.2:8090/token/titles/t/p/")


def rendition(name: str, bandwidth: int, **more: object) -> Rendition:
    kind = "video" if name.startswith("v-") else "audio"
    about: dict[str, object] = {
        "codecs": "avc1.64001f" if kind == "video" else "mp4a.40.2",
        "average_bandwidth": bandwidth // 2,
        "timescale": 1000,
        "duration_s": 12.0,
        "file_list": FileEntry(path=f"{name}/files.json", bytes=1, sha256="0" * 64),
        "file_count": 3,
        "total_bytes": 1000,
    }
    if name.startswith("t-"):
        pass
    elif kind == "video":
        height = int(name.rpartition("-")[2])
        about |= {"width": height * 16 // 9, "height": height, "frame_rate": 30000 / 1001}
    else:
        about |= {"channels": 2, "sample_rate": 48_000}
    return Rendition.model_validate(
        {"rendition_id": name, "kind": kind, "bandwidth": bandwidth, **about, **more}
    )


VIDEO = [rendition("v-avc-720", 2_000_000), rendition("v-avc-360", 600_000)]
AUDIO = [
    rendition("a-aac-en", 128_000, language="en"),
    rendition("a-aac-de", 130_000, language="de"),
]

WHOLE = """\
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio-aac",NAME="en",LANGUAGE="en",DEFAULT=YES,AUTOSELECT=YES,\
CHANNELS="2",STABLE-RENDITION-ID="a-aac-en",URI="../hls/a-aac-en.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio-aac",NAME="de",LANGUAGE="de",DEFAULT=NO,AUTOSELECT=YES,\
CHANNELS="2",STABLE-RENDITION-ID="a-aac-de",URI="../hls/a-aac-de.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=730000,AVERAGE-BANDWIDTH=365000,CODECS="avc1.64001f,mp4a.40.2",\
RESOLUTION=640x360,FRAME-RATE=29.970,AUDIO="audio-aac",STABLE-VARIANT-ID="v-avc-360"
../hls/v-avc-360.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=2130000,AVERAGE-BANDWIDTH=1065000,CODECS="avc1.64001f,mp4a.40.2",\
RESOLUTION=1280x720,FRAME-RATE=29.970,AUDIO="audio-aac",STABLE-VARIANT-ID="v-avc-720"
../hls/v-avc-720.m3u8
"""


def test_the_package_playlist_to_the_letter() -> None:
    assert multivariant([*VIDEO, *AUDIO], [HERE]) == WHOLE


def test_a_film_without_audio() -> None:
    text = multivariant(VIDEO, [HERE])
    assert "EXT-X-MEDIA" not in text and "AUDIO=" not in text
    variants = read_multivariant(text, "http://x/hls/master.m3u8").variants
    assert [v.bandwidth for v in variants] == [600_000, 2_000_000]
    assert {v.codecs for v in variants} == {"avc1.64001f"}


def test_audio_alone() -> None:
    read = read_multivariant(multivariant(AUDIO, [HERE]), "http://x/hls/master.m3u8")
    (variant,) = read.variants
    assert (variant.uri, variant.codecs) == ("http://x/hls/a-aac-en.m3u8", "mp4a.40.2")
    assert variant.bandwidth == 130_000  # the other language plays instead, not beside
    assert (variant.resolution, variant.frame_rate) == (None, None)
    assert [m.uri for m in read.media] == [None, "http://x/hls/a-aac-de.m3u8"]
    assert [m.default for m in read.media] == [True, False]


def test_every_pathway_has_its_own_variants_and_groups() -> None:
    text = multivariant([*VIDEO, *AUDIO], [A, B], steering_url="http://127.0.0.1:8081/steer/x?y=1")
    read = read_multivariant(text, "http://127.0.0.1:8080/m.m3u8")
    assert (read.steering_url, read.first_pathway) == (
        "http://127.0.0.1:8081/steer/x?y=1",
        "edge-a",
    )
    for base in (A, B):
        variants = [v for v in read.variants if v.pathway_id == base.id]
        assert [v.stable_id for v in variants] == ["v-avc-360", "v-avc-720"]
        assert all(v.uri.startswith(base.base_url) for v in variants)
        (group,) = {v.audio for v in variants}
        members = [m for m in read.media if m.group_id == group]
        assert [m.stable_id for m in members] == ["a-aac-en", "a-aac-de"]
        assert all(m.uri and m.uri.startswith(base.base_url) for m in members)
    assert [v.pathway_id for v in read.variants] == ["edge-a"] * 2 + ["edge-b"] * 2


def test_audio_codecs_have_groups_of_their_own() -> None:
    """A group's members must all play where one does, so codecs are not mixed in one."""
    other = rendition("a-opus-en", 400_000, language="en", codecs="opus")
    read = read_multivariant(multivariant([*VIDEO, *AUDIO, other], [A]), "http://x/")
    assert [(v.audio, v.bandwidth) for v in read.variants] == [
        ("audio-aac-edge-a", 730_000),
        ("audio-aac-edge-a", 2_130_000),
        ("audio-opus-edge-a", 1_000_000),
        ("audio-opus-edge-a", 2_400_000),
    ]


def test_subtitles_have_groups_and_come_on_top() -> None:
    texts = [
        rendition("t-vtt-en", 2_000, language="en", kind="text", codecs="wvtt"),
        rendition("t-vtt-de", 1_000, language="de", kind="text", codecs="wvtt", forced=True),
    ]
    text = multivariant([*VIDEO, *AUDIO, *texts], [A, B])
    read = read_multivariant(text, "http://x/")
    assert {(v.pathway_id, v.subtitles) for v in read.variants} == {
        ("edge-a", "subs-edge-a"),
        ("edge-b", "subs-edge-b"),
    }
    assert read.variants[0].bandwidth == 732_000
    assert all("wvtt" not in (v.codecs or "") for v in read.variants)
    assert next(line for line in text.splitlines() if "subs-edge-b" in line) == (
        '#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="subs-edge-b",NAME="en",LANGUAGE="en",DEFAULT=NO,'
        'AUTOSELECT=YES,STABLE-RENDITION-ID="t-vtt-en",'
        f'URI="{B.base_url}hls/t-vtt-en.m3u8"'
    )
    assert text.count("FORCED=YES") == 2


def test_names_in_a_group_differ() -> None:
    twice = [rendition("a-aac-en", 2, language="en"), rendition("a-aac-en-2", 2, language="en")]
    unknown = [rendition("a-aac-1", 2), rendition("a-aac-2", 2)]
    read = read_multivariant(multivariant([*VIDEO, *twice, *unknown], [HERE]), "http://x/")
    assert [m.name for m in read.media] == ["en", "en 2", "und", "und 4"]
    assert [m.language for m in read.media] == ["en", "en", "und", "und"]


@pytest.mark.parametrize(
    "base_url",
    [
        'http://x/",URI="http://evil/',
        "http://x/\n#EXT-X-ENDLIST\n/",
        "http://x/\u2028/",
        "http://x/?a=/",
        "http://x/#/",
        "http://x",
        "#EXTM3U/",
        "http://x/ä/",
    ],
)
def test_no_address_adds_a_line_or_an_attribute(base_url: str) -> None:
    with pytest.raises(ValueError):
        PathwayBase("a", base_url)


@pytest.mark.parametrize("name", ["", "a b", 'a"', "a\n", "ä", "a" * 65])
def test_pathway_ids_are_plain(name: str) -> None:
    with pytest.raises(ValueError):
        PathwayBase(name, "http://x/")


def test_manifests_that_make_no_sense_are_refused() -> None:
    for bases, steering in (([], None), ([A, A], None), ([HERE, A], None), ([HERE], "http://s/")):
        with pytest.raises(ValueError):
            multivariant(VIDEO, bases, steering_url=steering)
    with pytest.raises(ValueError):
        multivariant([], [A])
    with pytest.raises(ValueError):
        multivariant(VIDEO, [A], steering_url='http://s/"')


def test_a_media_playlist_to_the_letter() -> None:
    text = media_playlist("../v/init.mp4", [Segment("../v/1.m4s", 6.006), Segment("2.m4s", 1.5)])
    assert text == (
        "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:6\n#EXT-X-PLAYLIST-TYPE:VOD\n"
        '#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI="../v/init.mp4"\n'
        "#EXTINF:6.006000,\n../v/1.m4s\n#EXTINF:1.500000,\n2.m4s\n#EXT-X-ENDLIST\n"
    )
    read = read_media(text, "http://x/p/hls/v.m3u8")
    assert read.init_uri == "http://x/p/v/init.mp4"
    assert [s.uri for s in read.segments] == ["http://x/p/v/1.m4s", "http://x/p/hls/2.m4s"]
    assert read.vod and read.ended and read.independent_segments


@pytest.mark.parametrize(
    ("longest_s", "asked_s", "target_s"),
    [(2.4, None, 2), (2.5, None, 3), (0.2, None, 1), (2.4, 6, 6), (6.4, 4, 6)],
)
def test_target_durations(longest_s: float, asked_s: int | None, target_s: int) -> None:
    text = media_playlist("i", [Segment("1", longest_s)], target_duration_s=asked_s)
    assert f"#EXT-X-TARGETDURATION:{target_s}\n" in text


def test_segments_are_checked() -> None:
    for segments in ([], [Segment("1", 0.0)], [Segment("1", float("nan"))], [Segment("1\n2", 1.0)]):
        with pytest.raises(ValueError):
            media_playlist("init.mp4", segments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "starts with"),
        ("<html>", "starts with"),
        ("#EXTM3U\n" + "#EXTINF:1,\na\n" * 100_001, "more than"),
        ("#EXTM3U\n#EXT-X-KEY:METHOD=NONE\n" + "#EXT-X-KEY:METHOD=NONE\n" * 64, "more than"),
        ("#EXTM3U\n#EXT-X-TARGETDURATION:x\n", "cannot be read"),
        ("#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:nan,\na\n", "duration"),
        ("#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:-1,\na\n", "duration"),
        ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na\n", "not a media playlist"),
        ("#EXTM3U" + "x" * (8 << 20), "at most"),
    ],
)
def test_bad_media_playlists_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_media(text, "http://x/")


@given(st.lists(st.sampled_from(re.split(r'(?<=[\n,:="])|(?=["\n])', WHOLE)), max_size=60))
@settings(max_examples=150, deadline=None)
def test_shuffled_playlists_raise_valueerror_alone(pieces: list[str]) -> None:
    text = "#EXTM3U\n" + "".join(pieces)
    for read in (read_multivariant, read_media):
        try:
            read(text, "http://x/")
        except ValueError:
            pass

"""DASH manifests: the package's, a session's, and what is read of them."""

from fractions import Fraction
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.dash import PathwayBase, Thumbnails, Timeline, frame_rate, mpd, read_mpd, session_mpd
from media.inventory import FileEntry, Rendition

A = PathwayBase("edge-a", "http://127.0.1.1:8090/token/titles/t/p/")
B = PathwayBase("edge-b", "http://127.0.1.2:8090/token/titles/t/p/")
NS = {"d": "urn:mpeg:dash:schema:mpd:2011"}


def rendition(name: str, **more: object) -> Rendition:
    kind = "video" if name.startswith("v-") else "audio"
    about: dict[str, object] = {
        "codecs": "avc1.64001f" if kind == "video" else "mp4a.40.2",
        "bandwidth": 1_000_000,
        "average_bandwidth": 900_000,
        "timescale": 30_000,
        "duration_s": 13.0,
        "file_list": FileEntry(path=f"{name}/files.json", bytes=1, sha256="0" * 64),
        "file_count": 3,
        "total_bytes": 1000,
    }
    if kind == "video":
        height = int(name.rpartition("-")[2])
        about |= {"width": height * 16 // 9, "height": height, "frame_rate": 30000 / 1001}
    elif kind == "text":
        about |= {"language": name.rpartition("-")[2]}
    else:
        about |= {"channels": 6, "sample_rate": 48_000, "language": name.rpartition("-")[2]}
    return Rendition.model_validate({"rendition_id": name, "kind": kind, **about, **more})


RENDITIONS = [
    rendition("v-avc-720", bandwidth=2_000_000),
    rendition("v-avc-360"),
    rendition("a-aac-en"),
    rendition("a-aac-de"),
]
TIMELINE = Timeline(30_000, (180_180, 180_180, 30_030))
TIMELINES = {r.rendition_id: TIMELINE for r in RENDITIONS}
FILM_S = 390_390 / 30_000
PACKAGE = mpd(RENDITIONS, TIMELINES, FILM_S)


def test_the_package_mpd() -> None:
    root = ET.fromstring(PACKAGE)
    assert root.attrib["type"] == "static"
    assert root.attrib["mediaPresentationDuration"] == "PT13.013S"
    assert "urn:mpeg:dash:profile:isoff-live:2011" in root.attrib["profiles"].split(",")
    (period,) = root.findall("d:Period", NS)
    assert period.attrib["start"] == "PT0S"
    sets = period.findall("d:AdaptationSet", NS)
    assert [(s.attrib["mimeType"], s.get("lang")) for s in sets] == [
        ("video/mp4", None),
        ("audio/mp4", "en"),
        ("audio/mp4", "de"),
    ]
    assert [r.attrib["id"] for r in sets[0].findall("d:Representation", NS)] == [
        "v-avc-360",
        "v-avc-720",
    ]
    assert [s.find("d:Role", NS).attrib["value"] for s in sets] == ["main", "main", "dub"]  # type: ignore[union-attr]
    channels = sets[1].find(".//d:AudioChannelConfiguration", NS)
    assert channels is not None and channels.attrib["value"] == "6"
    runs = [s.attrib for s in sets[0].findall(".//d:S", NS)][:2]
    assert runs == [{"t": "0", "d": "180180", "r": "1"}, {"d": "30030"}]


def test_subtitles_are_one_file_and_small_pictures_are_tiles() -> None:
    text = rendition("t-vtt-de", kind="text", codecs="wvtt", forced=True)
    tiles = Thumbnails((5, 4), (160, 90), 2.5, 2_000)
    whole = mpd([*RENDITIONS, text], TIMELINES, FILM_S, tiles)
    for written in (whole, session_mpd(whole, [A], allowed={"v-avc-360", "t-vtt-de"})):
        *_, subtitles, pictures = ET.fromstring(written).findall(".//d:AdaptationSet", NS)
        assert (subtitles.get("mimeType"), subtitles.get("lang")) == ("text/vtt", "de")
        role, location = (subtitles.find(f".//d:{name}", NS) for name in ("Role", "BaseURL"))
        assert role is not None and role.get("value") == "forced-subtitle"
        assert location is not None and location.text == "../t-vtt-de/whole.vtt"
        template = pictures.find("d:SegmentTemplate", NS)
        assert template is not None and template.get("duration") == "50000"
        picture = pictures.find("d:Representation", NS)
        assert picture is not None
        assert (picture.get("width"), picture.get("height")) == ("800", "360")
    assert "t-vtt-de" not in session_mpd(whole, [A], allowed={"v-avc-360"})
    assert {r.kind for r in read_mpd(whole, "http://x/").representations} == {"video", "audio"}


def test_what_is_written_is_what_is_read() -> None:
    read = read_mpd(PACKAGE, "http://x/p/dash/manifest.mpd")
    assert (read.duration_s, read.period_start_s) == (Fraction("13.013"), Fraction(0))
    by_id = {r.id: r for r in read.representations}
    assert set(by_id) == {r.rendition_id for r in RENDITIONS}
    video = by_id["v-avc-720"]
    assert (video.kind, video.width, video.height) == ("video", 1280, 720)
    assert (video.bandwidth, video.frame_rate) == (2_000_000, "30000/1001")
    assert video.init_url == "http://x/p/v-avc-720/init.mp4"
    assert video.segment_urls == tuple(f"http://x/p/v-avc-720/{n}.m4s" for n in (1, 2, 3))
    assert video.timeline == TIMELINE
    assert by_id["a-aac-de"].language == "de"


def test_a_session_names_its_pathways_in_order() -> None:
    text = session_mpd(PACKAGE, [B, A], steering_url="http://127.0.0.1:8081/steer/x?a=1&b=2")
    order = [child.tag.partition("}")[2] for child in ET.fromstring(text)]
    assert order == ["BaseURL", "BaseURL", "ContentSteering", "Period"]
    assert 'xmlns="urn:mpeg:dash:schema:mpd:2011"' in text and "ns0:" not in text
    read = read_mpd(text, "http://127.0.0.1:8080/manifest.mpd")
    assert [p.id for p in read.pathways] == ["edge-b", "edge-a"]
    assert read.steering_url == "http://127.0.0.1:8081/steer/x?a=1&b=2"
    assert read.first_pathway == "edge-b"
    assert read.representations[0].segment_urls[0] == f"{B.base_url}v-avc-360/1.m4s"


def test_a_session_without_steering_or_names() -> None:
    text = session_mpd(PACKAGE, [PathwayBase(None, A.base_url)])
    read = read_mpd(text, "http://127.0.0.1:8080/manifest.mpd")
    assert (read.pathways[0].id, read.steering_url) == (None, None)
    assert read.representations[0].init_url == f"{A.base_url}v-avc-360/init.mp4"


def test_renditions_that_are_not_allowed_are_gone() -> None:
    text = session_mpd(PACKAGE, [A], allowed={"v-avc-360", "a-aac-de"})
    assert [r.id for r in read_mpd(text, "http://x/").representations] == ["v-avc-360", "a-aac-de"]
    assert text.count("<AdaptationSet") == 2
    with pytest.raises(ValueError, match="no rendition"):
        session_mpd(PACKAGE, [A], allowed=["v-avc-1080"])


@pytest.mark.parametrize(
    ("rate", "written"),
    [
        (25.0, "25"),
        (30000 / 1001, "30000/1001"),
        (29.97, "30000/1001"),
        (24000 / 1001, "24000/1001"),
        (23.976, "24000/1001"),
        (59.94, "60000/1001"),
        (12.5, "25/2"),
        (50.0, "50"),
    ],
)
def test_frame_rates(rate: float, written: str) -> None:
    assert frame_rate(rate) == written


def test_a_film_without_audio_and_one_without_pictures() -> None:
    for some in (RENDITIONS[:2], RENDITIONS[2:]):
        read = read_mpd(mpd(some, TIMELINES, FILM_S), "http://x/dash/manifest.mpd")
        assert {r.id for r in read.representations} == {r.rendition_id for r in some}


def test_what_cannot_be_described_is_refused() -> None:
    for renditions, timelines, film_s in (
        ([], TIMELINES, FILM_S),
        (RENDITIONS, {}, FILM_S),
        (RENDITIONS[:1], {"v-avc-720": Timeline(1, ())}, FILM_S),
        (RENDITIONS, TIMELINES, float("inf")),
    ):
        with pytest.raises(ValueError):
            mpd(renditions, timelines, film_s)
    for bases, steering in (([], None), ([A, A], None), ([A], "http://s/\x01")):
        with pytest.raises(ValueError):
            session_mpd(PACKAGE, bases, steering_url=steering)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('<S d="30030" />', '<S t="360361" d="30030" />', "gap"),
        ('<S d="30030" />', '<S t="360359" d="30030" />', "overlap"),
        ('r="1"', 'r="99999999"', "too many"),
        ('r="1"', 'r="-1"', "not a number"),
        ('d="180180"', 'd="0"', "no duration"),
        ('type="static"', 'type="dynamic"', "live"),
        ("PT13.013S", "13 s", "not a duration"),
        ("PT13.013S", "PT", "not a duration"),
        ("$Number$", "$SubNumber$", "cannot stand"),
        ("<Period id", "<Period /><Period id", "2 periods"),
        ("<MPD", '<!DOCTYPE MPD [<!ENTITY a "b">]><MPD', "document type"),
        ("</MPD>", "", "cannot be read"),
        ("urn:mpeg:dash:schema:mpd:2011", "urn:other", "not an MPD"),
    ],
)
def test_bad_mpds_are_refused(old: str, new: str, message: str) -> None:
    assert old in PACKAGE
    with pytest.raises(ValueError, match=message):
        read_mpd(PACKAGE.replace(old, new), "http://x/dash/manifest.mpd")


def test_templates_in_the_ways_others_write_them() -> None:
    text = """<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" mediaPresentationDuration="P0DT1H2M3.5S">
      <BaseURL>media/</BaseURL>
      <Period><BaseURL>one/</BaseURL>
        <AdaptationSet mimeType="video/mp4" codecs="avc1.64001f">
          <SegmentTemplate timescale="10" initialization="$RepresentationID$/i.mp4"
                           media="$RepresentationID$/$Bandwidth$/$Time%05d$-$Number$-$$.m4s"
                           startNumber="7">
            <SegmentTimeline><S t="30" d="20" r="1"/></SegmentTimeline>
          </SegmentTemplate>
          <Representation id="hd" bandwidth="5"><BaseURL>two/</BaseURL></Representation>
        </AdaptationSet>
        <AdaptationSet mimeType="image/jpeg"><Representation id="t" bandwidth="1"/></AdaptationSet>
      </Period></MPD>"""
    read = read_mpd(text, "http://x/m/a.mpd")
    assert read.duration_s == Fraction("3723.5")
    (video,) = read.representations
    assert video.init_url == "http://x/m/media/one/two/hd/i.mp4"
    assert video.segment_urls == (
        "http://x/m/media/one/two/hd/5/00030-7-$.m4s",
        "http://x/m/media/one/two/hd/5/00050-8-$.m4s",
    )


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_changed_mpds_raise_valueerror_alone(data: st.DataObject) -> None:
    text = PACKAGE
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        cut = data.draw(st.integers(0, 12))
        text = text[:at] + data.draw(st.text(max_size=6)) + text[at + cut :]
    for read in (read_mpd, lambda t, _: session_mpd(t, [A], allowed=["v-avc-360"])):
        try:
            read(text, "http://x/")
        except ValueError:
            pass

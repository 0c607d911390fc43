"""Subtitles: what people write is read, and what is written holds nothing else."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.webvtt import (
    MAX_BYTES,
    Cue,
    clipped,
    read_segment,
    read_subtitles,
    segments,
    shifted,
    write_webvtt,
)

SRT = """1
00:00:01,000 --> 00:00:02,500
Two lines,
of <i>which</i> one leans

2
00:00:03,250 --> 00:00:04,000
{\\an8}Tom & <font color="red">Jerry</font> <3
"""
CUES = [
    Cue(1.0, 2.5, "Two lines,\nof <i>which</i> one leans"),
    Cue(3.25, 4.0, "Tom &amp; Jerry &lt;3"),
]


@pytest.mark.parametrize(
    "raw",
    [
        SRT.encode(),
        SRT.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + SRT.encode(),
        SRT.encode("utf-16"),
        SRT.replace("1\n00", "00", 1).encode(),  # without numbers
        ("WEBVTT\n\nNOTE by hand\n\n" + SRT.replace(",", ".").replace("lines.", "lines,")).encode(),
    ],
)
def test_what_people_write_is_read(raw: bytes) -> None:
    assert read_subtitles(raw) == CUES


def test_old_windows_letters_are_read() -> None:
    raw = "1\n00:00:01,000 --> 00:00:02,000\nÄpfel – gut\n".encode("windows-1252")
    assert [cue.text for cue in read_subtitles(raw)] == ["Äpfel – gut"]


def test_settings_of_webvtt_are_kept_and_nothing_else_of_the_line() -> None:
    raw = b"WEBVTT\n\n00:01.000 --> 00:02.000 line:0 align:start X1:20 --> evil\nUp here\n"
    assert read_subtitles(raw) == [Cue(1.0, 2.0, "Up here", "line:0 align:start")]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("<b>open", "<b>open</b>"),
        ("</b>closed", "closed"),
        ("<i><b>crossed</i></b>", "<i><b>crossed</b></i>"),
        ("<script>alert(1)</script>", "alert(1)"),
        ("a --> b", "a --&gt; b"),
        ("&lt;b&gt; &amp;amp;", "&lt;b&gt; &amp;amp;"),
        ("<00:00:01.000>sung", "sung"),
    ],
)
def test_markup_is_what_webvtt_has_and_closed(text: str, written: str) -> None:
    raw = f"1\n00:00:01,000 --> 00:00:02,000\n{text}\n".encode()
    assert [cue.text for cue in read_subtitles(raw)] == [written]


@pytest.mark.parametrize(
    "raw",
    [b"", b"hello", b"1\n00:00:02,000 --> 00:00:01,000\nbackwards\n", bytes(MAX_BYTES + 1)],
)
def test_what_has_no_cue_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):
        read_subtitles(raw)


def test_times_move_and_end_with_the_film() -> None:
    assert shifted(CUES, -2.0) == [Cue(0.0, 0.5, CUES[0].text), Cue(1.25, 2.0, CUES[1].text)]
    assert clipped(CUES, 3.5) == [CUES[0], Cue(3.25, 3.5, CUES[1].text)]
    assert clipped(CUES, 3.0) == [CUES[0]]


def test_segments_have_what_is_shown_during_them() -> None:
    parts = [read_segment(text.encode()) for text in segments(CUES, [0.0, 2.0, 2.5, 3.0, 6.0])]
    assert [list(part.cues) for part in parts] == [[CUES[0]], [CUES[0]], [], [CUES[1]]]
    assert all(part.mapped for part in parts)


def test_the_map_moves_the_cues() -> None:
    text = write_webvtt(CUES, timestamp_map=True).replace("MPEGTS:0", "MPEGTS:900000")
    assert read_segment(text.encode()).cues[0].start_s == 11.0
    with pytest.raises(ValueError, match="X-TIMESTAMP-MAP"):
        read_segment(text.replace("LOCAL:00", "LOCAL:xx").encode())


@given(st.binary(max_size=300))
def test_anything_may_come(junk: bytes) -> None:
    raw = b"1\n00:00:01,000 --> 00:00:02,000\n" + junk
    try:
        cues = read_subtitles(raw)
    except ValueError:
        return
    written = write_webvtt(cues, timestamp_map=True)
    assert read_segment(written.encode()).cues == tuple(cues)
    # A blank line ends a cue, an arrow would begin one, and markup is b, i and u alone.
    for cue in cues:
        assert "-->" not in cue.text and not re.search(r"\n[ \t]*\n", cue.text)
        assert not re.search(r"<(?!/?[biu]>)", cue.text)

"""What ffprobe says, interpreted: without running it."""

from typing import Any

import pytest

from encoder.language import bcp47
from encoder.source import Packets, Source, interpret
from runtime.errors import Problem


def video(**more: Any) -> dict[str, Any]:
    return {
        "index": 0,
        "codec_type": "video",
        "codec_name": "h264",
        "width": 1280,
        "height": 720,
        "r_frame_rate": "25/1",
        "avg_frame_rate": "25/1",
    } | more


def audio(index: int, **more: Any) -> dict[str, Any]:
    return {
        "index": index,
        "codec_type": "audio",
        "codec_name": "aac",
        "channels": 2,
        "sample_rate": "48000",
    } | more


def packets(streams: list[int], frames: int = 100, flags: str = "K__") -> Packets:
    taken = Packets(video_index=0, max_frames=1000)
    for number in range(frames):
        taken.add(f"0,{number / 25:.6f},{number / 25:.6f},0.040000,1000,{flags}")
        for index in streams:
            taken.add(f"{index},{number / 25:.6f},{number / 25:.6f},0.040000,1000,K__")
    return taken


def read(*streams: dict[str, Any], taken: Packets | None = None, **described: Any) -> Source:
    sounds = [s["index"] for s in streams if s["codec_type"] == "audio"]
    head = [{"best_effort_timestamp_time": "0.000000", "interlaced_frame": 0}]
    container = {"format_name": "mov,mp4", "duration": "4.0", "start_time": "0.0"}
    return interpret(
        {"streams": list(streams), "format": container} | described,
        packets(sounds) if taken is None else taken,
        head,
        max_duration_s=3600,
        max_pixels=8192 * 4320,
    )


def test_a_plain_film() -> None:
    source = read(video(), audio(1, tags={"language": "ger"}))
    assert (source.width, source.height, source.frame_rate, source.duration_s) == (1280, 720, 25, 4)
    assert [(t.index, t.language, t.channels) for t in source.audio] == [(1, "de", 2)]
    assert not source.interlaced and not source.cadence.variable


@pytest.mark.parametrize(
    ("said", "size"),
    [
        ({"side_data_list": [{"rotation": -90}]}, (720, 1280)),
        ({"side_data_list": [{"rotation": 180}]}, (1280, 720)),
        ({"width": 720, "height": 576, "sample_aspect_ratio": "64:45"}, (1024, 576)),
        ({"width": 800, "height": 332, "sample_aspect_ratio": "399:400"}, (798, 332)),
        ({"sample_aspect_ratio": "0:1"}, (1280, 720)),
    ],
)
def test_the_shown_picture(said: dict[str, Any], size: tuple[int, int]) -> None:
    source = read(video(**said))
    assert (source.width, source.height) == size


def test_a_cover_picture_is_not_the_film() -> None:
    cover = video(index=5, width=3000, height=3000, disposition={"attached_pic": 1})
    assert read(cover, video()).video_index == 0
    with pytest.raises(Problem, match="no video track"):
        read(cover, audio(1))


def test_sound_of_another_programme_and_empty_tracks_are_left_out() -> None:
    programmes = [{"streams": [{"index": 0}, {"index": 1}]}, {"streams": [{"index": 2}]}]
    source = read(video(), audio(1), audio(2), programs=programmes)
    assert [track.index for track in source.audio] == [1]
    assert read(video(), audio(7), taken=packets([])).audio == ()


def test_default_tracks_come_first() -> None:
    source = read(video(), audio(1), audio(2, disposition={"default": 1}))
    assert [track.index for track in source.audio] == [2, 1]


def test_hdr_and_interlace_are_seen() -> None:
    source = read(video(color_transfer="smpte2084", color_space="bt2020nc", field_order="tt"))
    assert (source.colour.hdr, source.interlaced) == ("pq", True)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"nb_frames": "200"}, "truncated_file"),
        ({"width": 16, "height": 16}, "not_a_video"),
        ({"width": 30000, "height": 30000}, "not_a_video"),
        ({"width": 1000, "sample_aspect_ratio": "60000:1"}, "not_a_video"),
        ({"codec_name": "unknown"}, "not_a_video"),
    ],
)
def test_what_is_refused(said: dict[str, Any], code: str) -> None:
    with pytest.raises(Problem) as refused:
        read(video(**said))
    assert refused.value.code == code


def test_damage_shortness_and_length_are_refused() -> None:
    with pytest.raises(Problem) as refused:
        read(video(), taken=packets([], flags="K_C"))
    assert refused.value.code == "truncated_file"
    with pytest.raises(Problem) as refused:
        read(video(), format={"format_name": "matroska,webm", "duration": "60.0"})
    assert refused.value.code == "truncated_file"
    with pytest.raises(Problem, match="fewer than two frames"):
        read(video(), taken=packets([], frames=1), format={"format_name": "mov,mp4"})
    with pytest.raises(Problem, match="more than 1000 frames"):
        packets([], frames=1001)


def test_frames_before_the_first_that_decodes_do_not_count() -> None:
    head = [{"best_effort_timestamp_time": "0.080000"}]
    described = {"streams": [video()], "format": {"format_name": "mpegts"}}
    source = interpret(described, packets([]), head, max_duration_s=60, max_pixels=10**8)
    assert (source.cadence.frames, source.cadence.start_s) == (98, pytest.approx(0.08))


def test_films_with_decoding_times_only() -> None:
    taken = Packets(video_index=0, max_frames=1000)
    for number in range(50):
        taken.add(f"0,N/A,{number / 25:.6f},0.040000,1000,K__")
    head = [{"best_effort_timestamp_time": "0.080000"}]
    described = {"streams": [video()], "format": {"format_name": "avi", "duration": "2.0"}}
    source = interpret(described, taken, head, max_duration_s=60, max_pixels=10**8)
    assert (source.cadence.frames, source.cadence.start_s) == (50, pytest.approx(0.08))


@pytest.mark.parametrize(
    ("said", "tag"),
    [("eng", "en"), ("fre", "fr"), ("fra", "fr"), ("de", "de"), ("pt-BR", "pt-BR"), ("gsw", "gsw"),
     ("und", "und"), ("", "und"), ("xx", "und"), ("not a language", "und"), ("EN_us", "en-us")],
)  # fmt: skip
def test_languages(said: str, tag: str) -> None:
    assert bcp47(said) == tag

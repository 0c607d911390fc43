"""What a master is, from what ffprobe says of it. Pure.

`interpret` refuses what cannot become a package, each with its code and a plain sentence, and
otherwise answers everything that the ladder and the recipe need to know.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from encoder.cadence import Cadence, cadence
from encoder.chunks import Entry
from encoder.language import bcp47
from runtime.errors import Problem

MIN_HEIGHT = 64
MIN_WIDTH = 32
MAX_SIDE = 16_384  # H.264 has no level for a longer one
MAX_AUDIO_TRACKS = 16
MAX_TEXT_TRACKS = 32

# Containers whose header says how long the film is; elsewhere ffprobe estimates.
_DECLARED = ("mov", "matroska", "avi", "flv", "mxf", "asf")
_HDR: dict[str, Literal["pq", "hlg"]] = {"smpte2084": "pq", "arib-std-b67": "hlg"}
_INTERLACED = ("tt", "bb", "tb", "bt")
# Letters with times; other subtitles are pictures.
_TEXTS = ("subrip", "ass", "ssa", "webvtt", "mov_text", "text")
# Where seeking meets every frame; in transport streams 8 of 10 chunks began elsewhere.
_SEEKABLE = ("mov", "matroska", "mxf")


@dataclass(frozen=True)
class AudioTrack:
    """A sound track: its stream number, BCP 47 language and channels."""

    index: int
    language: str
    channels: int


@dataclass(frozen=True)
class TextTrack:
    """Subtitles of letters: the stream number, BCP 47 language, and what they are for."""

    index: int
    language: str
    forced: bool = False
    for_the_deaf: bool = False


@dataclass(frozen=True)
class Colour:
    """How samples mean colours, in ffmpeg's names; None where the master does not say."""

    matrix: str | None = None
    primaries: str | None = None
    transfer: str | None = None
    hdr: Literal["pq", "hlg"] | None = None
    rgb: bool = False


@dataclass(frozen=True)
class Source:
    """A master that can be encoded.

    `width` and `height` are those of the shown picture: rotated as it asks, in square pixels.
    """

    video_index: int
    width: int
    height: int
    cadence: Cadence
    interlaced: bool
    colour: Colour
    audio: tuple[AudioTrack, ...]
    texts: tuple[TextTrack, ...] = ()
    passed_over: tuple[str, ...] = ()  # tracks of which nothing is made, each with the reason
    activity: tuple[int, ...] = ()  # bytes of its pictures, second by second
    shots_s: tuple[float, ...] = ()  # when its shots begin, as far as that is known (shots.py)
    seekable: bool = False  # decoding may begin at any of `entries`
    entries: tuple[Entry, ...] = ()  # at most one a second, in the order of time

    @property
    def has_audio(self) -> bool:
        """Whether there is sound to encode."""
        return bool(self.audio)

    @property
    def frame_rate(self) -> Fraction:
        """Frames per second, of the film and of all its rungs."""
        return self.cadence.rate

    @property
    def duration_s(self) -> float:
        """The film's length."""
        return self.cadence.duration_s


@dataclass
class Packets:
    """The times of all packets, as ffprobe lists them: `stream,pts,dts,duration,size,flags` a
    line."""

    video_index: int
    max_frames: int
    pts_s: list[float] = field(default_factory=list)
    dts_s: list[float] = field(default_factory=list)
    count: Counter[int] = field(default_factory=Counter)
    end_s: float = 0.0
    last_duration_s: float = 0.0
    video_count: int = 0
    damaged: bool = False
    keys: int = 0  # of its pictures
    video_bytes: Counter[int] = field(default_factory=Counter)  # by the whole second
    entries: dict[int, Entry] = field(default_factory=dict)  # the last of each second
    _latest_s: float = float("-inf")

    def add(self, line: str) -> None:
        """Takes one line; others than packets are passed over."""
        cells = line.split(",")
        if len(cells) < 6 or not cells[0].isdecimal():
            return
        stream, flags = int(cells[0]), cells[5]
        pts, dts, duration, size = (_seconds(cell) for cell in cells[1:5])
        self.count[stream] += 1
        self.damaged = self.damaged or "C" in flags
        shown = dts if pts is None else pts
        if shown is not None:
            self.end_s = max(self.end_s, shown + (duration or 0.0))
        if stream == self.video_index and "D" not in flags:
            self._add_video(pts, dts, duration)
            if shown is not None:
                self.video_bytes[int(shown)] += int(size or 0)
            self.keys += "K" in flags
            if "K" in flags and pts is not None:
                # MP4 is sought by decoding times, Matroska by those of showing: the earlier one
                # meets this key frame or, in the other, the one before.
                self.entries[int(pts)] = Entry(pts, pts if dts is None else min(pts, dts))

    def _add_video(self, pts: float | None, dts: float | None, duration: float | None) -> None:
        self.video_count += 1
        if self.video_count > self.max_frames:
            raise Problem("not_a_video", f"The film has more than {self.max_frames} frames.")
        if pts is not None:
            if pts >= self._latest_s:
                self._latest_s, self.last_duration_s = pts, duration or 0.0
            self.pts_s.append(pts)
        if dts is not None:
            self.dts_s.append(dts)


def choose_video(described: Mapping[str, Any]) -> Mapping[str, Any]:
    """The stream that is the film: of the moving pictures the largest, then the first.

    Raises Problem `not_a_video` when there is none.
    """
    films = [
        stream
        for stream in described.get("streams", ())
        if stream.get("codec_type") == "video"
        and not stream.get("disposition", {}).get("attached_pic")
        and stream.get("width")
        and stream.get("height")
    ]
    if not films:
        raise Problem("not_a_video", "The file has no video track.")
    film = max(films, key=lambda s: (s["width"] * s["height"], -s["index"]))
    if film.get("codec_name", "unknown") == "unknown":
        raise Problem("not_a_video", "The film's video codec is not known here.")
    return dict(film)


def interpret(
    described: Mapping[str, Any],
    packets: Packets,
    head: Sequence[Mapping[str, Any]],
    *,
    max_duration_s: float,
    max_pixels: int,
) -> Source:
    """The source that ffprobe described: its streams, its packets, its first frames.

    Raises Problem `not_a_video` or `truncated_file`.
    """
    film = choose_video(described)
    width, height = _shown_size(film)
    if width < MIN_WIDTH or height < MIN_HEIGHT:
        raise Problem(
            "not_a_video",
            f"The picture is {width}×{height}; the least is {MIN_WIDTH}×{MIN_HEIGHT}.",
        )
    pixels = max(film["width"] * film["height"], width * height)
    if pixels > max_pixels or max(film["width"], film["height"], width, height) > MAX_SIDE:
        raise Problem("not_a_video", f"The picture is {width}×{height}, larger than is taken here.")
    _refuse_cut_off(described, film, packets)
    rhythm = _cadence(film, packets, head)
    if rhythm.duration_s > max_duration_s:
        raise Problem(
            "not_a_video",
            f"The film lasts {rhythm.duration_s:.0f} s; at most {max_duration_s:.0f} s are taken.",
        )
    audio, texts = _audio(described, film, packets), _texts(described, packets)
    used = {film["index"], *(t.index for t in audio), *(t.index for t in texts)}
    return Source(
        video_index=film["index"],
        width=width,
        height=height,
        cadence=rhythm,
        interlaced=_interlaced(film, head),
        colour=_colour(film),
        audio=audio,
        texts=texts,
        passed_over=tuple(_passed_over(described, packets, used)),
        activity=_activity(packets, rhythm),
        seekable=str(described.get("format", {}).get("format_name", "")).startswith(_SEEKABLE),
        entries=tuple(sorted(packets.entries.values(), key=lambda entry: entry.shown_s)),
    )


def _activity(packets: Packets, rhythm: Cadence) -> tuple[int, ...]:
    first = int(rhythm.start_s)
    seconds = max(1, int(rhythm.duration_s))
    return tuple(packets.video_bytes[first + n] for n in range(seconds))


def _cadence(
    film: Mapping[str, Any], packets: Packets, head: Sequence[Mapping[str, Any]]
) -> Cadence:
    """Frame times are the packets' own where each has one, from the first frame that decodes on.
    Where only decoding times stand (AVI), frames follow each other and one is as long as another.
    """
    first_s = next((at for f in head if (at := _frame_s(f)) is not None), None)
    if len(packets.pts_s) == packets.video_count:
        times = sorted(packets.pts_s)
        if first_s is not None:
            times = [at for at in times if at > first_s - 0.001]
    else:
        times = sorted(packets.dts_s)
        if times and first_s is not None:
            times = [at - times[0] + first_s for at in times]
    if len(times) < 2:
        raise Problem("not_a_video", "The file has no moving picture: fewer than two frames.")
    declared = (_fraction(film.get("r_frame_rate")), _fraction(film.get("avg_frame_rate")))
    try:
        return cadence(times, packets.last_duration_s, [rate for rate in declared if rate])
    except ValueError:
        raise Problem("truncated_file", "The film's frames carry no usable times.") from None


def _refuse_cut_off(
    described: Mapping[str, Any], film: Mapping[str, Any], packets: Packets
) -> None:
    if packets.damaged:
        raise Problem("truncated_file", "The file is cut off or damaged: a packet is incomplete.")
    declared = int(film.get("nb_frames") or 0)
    found = packets.count[film["index"]]
    if found < declared * 0.99 - 1:
        raise Problem(
            "truncated_file",
            f"The file is cut off or damaged: it declares {declared} frames and has {found}.",
        )
    container = described.get("format", {})
    whole_s = _seconds(container.get("duration")) or 0.0
    start_s = _seconds(container.get("start_time")) or 0.0
    # Some count from the first frame, and some (Matroska) from zero, whenever that frame is shown.
    missing_s = whole_s - (packets.end_s - min(start_s, 0.0))
    names_length = str(container.get("format_name", "")).startswith(_DECLARED)
    if names_length and missing_s > max(1.0, 0.02 * whole_s):
        raise Problem(
            "truncated_file",
            f"The file is cut off or damaged: it declares {whole_s:.1f} s"
            f" and has {whole_s - missing_s:.1f} s.",
        )


def _shown_size(film: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height on a screen: square pixels at the coded height, then turned."""
    width, height = int(film["width"]), int(film["height"])
    ratio = _fraction(str(film.get("sample_aspect_ratio", "")).replace(":", "/"))
    if ratio:
        width = round(width * ratio)
    turned = any(
        round(float(side.get("rotation", 0))) % 180 == 90 for side in film.get("side_data_list", ())
    )
    return (height, width) if turned else (width, height)


def _interlaced(film: Mapping[str, Any], head: Sequence[Mapping[str, Any]]) -> bool:
    flagged = sum(1 for frame in head if str(frame.get("interlaced_frame", 0)) == "1")
    return film.get("field_order") in _INTERLACED or flagged * 2 > len(head)


def _colour(film: Mapping[str, Any]) -> Colour:
    def named(key: str) -> str | None:
        value = film.get(key)
        return value if value not in (None, "unknown", "reserved", "gbr") else None

    transfer = named("color_transfer")
    return Colour(
        matrix=named("color_space"),
        primaries=named("color_primaries"),
        transfer=transfer,
        hdr=_HDR.get(transfer or ""),
        rgb=film.get("color_space") == "gbr"
        or "rgb" in (fmt := str(film.get("pix_fmt")))
        or "gbr" in fmt,
    )


def _audio(
    described: Mapping[str, Any], film: Mapping[str, Any], packets: Packets
) -> tuple[AudioTrack, ...]:
    """The sound tracks of the film's own programme that hold anything, default ones first."""
    programme = next(
        (
            {stream["index"] for stream in programme.get("streams", ())}
            for programme in described.get("programs", ())
            if any(s["index"] == film["index"] for s in programme.get("streams", ()))
        ),
        None,
    )
    tracks = [
        stream
        for stream in described.get("streams", ())
        if stream.get("codec_type") == "audio"
        and stream.get("codec_name", "unknown") != "unknown"
        and int(stream.get("channels") or 0) > 0
        and int(stream.get("sample_rate") or 0) > 0
        and packets.count[stream["index"]] > 0
        and (programme is None or stream["index"] in programme)
    ]
    tracks.sort(key=lambda s: (not s.get("disposition", {}).get("default"), s["index"]))
    return tuple(
        AudioTrack(
            index=track["index"],
            language=bcp47(str(track.get("tags", {}).get("language", ""))),
            channels=int(track["channels"]),
        )
        for track in tracks[:MAX_AUDIO_TRACKS]
    )


def _texts(described: Mapping[str, Any], packets: Packets) -> tuple[TextTrack, ...]:
    """Subtitles that can become WebVTT, those for everybody first."""
    tracks = []
    for stream in described.get("streams", ()):
        if stream.get("codec_name") in _TEXTS and packets.count[stream["index"]] > 0:
            told = stream.get("disposition", {})
            tracks.append(
                TextTrack(
                    index=stream["index"],
                    language=bcp47(str(stream.get("tags", {}).get("language", ""))),
                    forced=bool(told.get("forced")),
                    for_the_deaf=bool(told.get("hearing_impaired")),
                )
            )
    tracks.sort(key=lambda track: (track.forced, track.for_the_deaf, track.index))
    return tuple(tracks[:MAX_TEXT_TRACKS])


def _passed_over(
    described: Mapping[str, Any], packets: Packets, used: Collection[int]
) -> Iterator[str]:
    """A sentence for each track of which nothing is made."""
    for stream in described.get("streams", ()):
        kind, codec = stream.get("codec_type", "unknown"), stream.get("codec_name", "unknown")
        if stream["index"] in used:
            continue
        if kind == "video" and stream.get("disposition", {}).get("attached_pic"):
            why = "a cover picture"
        elif kind == "video":
            why = f"other pictures ({codec}) beside the film"
        elif not packets.count[stream["index"]]:
            why = f"empty ({kind})"
        elif kind == "audio":
            why = f"sound ({codec}) of another programme, beyond {MAX_AUDIO_TRACKS}, or unknown"
        elif kind == "subtitle":
            why = f"subtitles ({codec}) that are pictures, or beyond {MAX_TEXT_TRACKS}"
        else:
            why = f"{kind} ({codec}), such as a timecode"
        yield f"Track {stream['index']} is passed over: {why}."


def _frame_s(frame: Mapping[str, Any]) -> float | None:
    return _seconds(frame.get("best_effort_timestamp_time"))


def _seconds(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def _fraction(text: Any) -> Fraction | None:
    """A positive ratio such as 24000/1001; None for 0/0, 0/1 and everything else."""
    try:
        ratio = Fraction(str(text))
    except (ValueError, ZeroDivisionError):
        return None
    return ratio if ratio > 0 else None

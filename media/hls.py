"""HLS playlists (RFC 8216bis) as we write them; `hls_reader` reads anyone's.

A *pathway* is a place from which the same package can be read. The multivariant playlist names
every rendition once per pathway; renditions carry no PATHWAY-ID, so each pathway has AUDIO and
SUBTITLES groups of its own, and stable ids say what is the same thing elsewhere
(draft-pantos-content-steering, 3).

Values are checked before they are written: a quoted string holds no quote and a line no line
break, so nothing that comes from outside can add an attribute or a tag.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from media.hls_reader import (
    Alternative,
    IFrames,
    MediaPlaylist,
    Multivariant,
    Segment,
    Variant,
    read_media,
    read_multivariant,
)
from media.inventory import Rendition
from media.protection import CLEAR_KEY, METHODS, Locked, key_uri

__all__ = [
    "Alternative",
    "IFrames",
    "MediaPlaylist",
    "Multivariant",
    "PathwayBase",
    "Segment",
    "Variant",
    "check_pathways",
    "iframe_name",
    "iframe_playlist",
    "media_playlist",
    "multivariant",
    "read_media",
    "read_multivariant",
    "target_duration",
]

# EXT-X-MAP in a playlist of whole frames wants 6 (RFC 8216bis, 8), as much as any of ours.
VERSION = 6
MULTIVARIANT_PATH = "hls/master.m3u8"  # in a package

_URI = re.compile(r"[!$-;=?-~][!#-;=?-~]*")  # printable ASCII but " < >, and no # in front
_BASE_URL = re.compile(r"([!$-;=@-~]*/)?")  # neither query nor fragment
_FOR_THE_DEAF = "public.accessibility.transcribes-spoken-dialog," + (
    "public.accessibility.describes-music-and-sound"
)
_PATHWAY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True)
class PathwayBase:
    """A place that has the package. `base_url` is the package's own, absolute or as seen from the
    manifest, and ends with "/". `id` None means a manifest without pathways.

    ValueError for an id or address that a manifest cannot hold.
    """

    id: str | None
    base_url: str

    def __post_init__(self) -> None:
        if self.id is not None and not _PATHWAY_ID.fullmatch(self.id):
            raise ValueError(f"{self.id!r} is no pathway id")
        if not _BASE_URL.fullmatch(self.base_url):
            raise ValueError(f"{self.base_url!r} is not the address of a folder")


def check_pathways(bases: Sequence[PathwayBase], steering_url: str | None) -> None:
    """Pathways and a steering server that one manifest can name. ValueError for no pathway, for
    two of one name, and for nameless ones beside others or with steering."""
    if len({base.id for base in bases}) != len(bases) or not bases:
        raise ValueError("a manifest names at least one pathway, and none twice")
    if any(base.id is None for base in bases) and (len(bases) > 1 or steering_url is not None):
        raise ValueError("pathways that can be chosen have names")
    if steering_url is not None:
        _line(steering_url)


def multivariant(
    renditions: Sequence[Rendition],
    bases: Sequence[PathwayBase],
    *,
    steering_url: str | None = None,
) -> str:
    """The multivariant playlist of these renditions, the first pathway's variants first.

    Within a pathway variants ascend in bandwidth: a player that knows nothing yet begins with
    the first, and the lowest one starts soonest on every line; all climb after one segment.
    ValueError when there is no rendition, or the pathways do not fit together.
    """
    if not renditions:
        raise ValueError("a multivariant playlist names a rendition")
    check_pathways(bases, steering_url)
    lines = ["#EXTM3U", f"#EXT-X-VERSION:{VERSION}", "#EXT-X-INDEPENDENT-SEGMENTS"]
    if steering_url is not None:
        server = _attributes(SERVER_URI=_quoted(steering_url), PATHWAY_ID=_quoted(bases[0].id))
        lines.append(f"#EXT-X-CONTENT-STEERING:{server}")
    for locked in dict.fromkeys(rendition.locked for rendition in renditions):
        lines += _keys(locked, "EXT-X-SESSION-KEY")
    for base in bases:
        lines += _pathway(renditions, base)
    return "\n".join(lines) + "\n"


def media_playlist(
    init_uri: str | None,
    segments: Sequence[Segment],
    *,
    target_duration_s: int | None = None,
    locked: Locked | None = None,
) -> str:
    """The complete playlist of one rendition.

    Text has no `init_uri`. The target duration is the longest segment, rounded (RFC 8216bis,
    4.4.3.1), or a larger one if given: audio and video want equal ones (Apple HLS Authoring
    Specification 8.2).
    """
    if not segments:
        raise ValueError("a media playlist has a segment")
    if not all(
        math.isfinite(segment.duration_s) and segment.duration_s > 0 for segment in segments
    ):
        raise ValueError("a segment's duration is a positive number of seconds")
    longest = max(target_duration(segments), target_duration_s or 1)
    lines = [
        "#EXTM3U",
        f"#EXT-X-VERSION:{VERSION}",
        f"#EXT-X-TARGETDURATION:{longest}",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-INDEPENDENT-SEGMENTS",
    ]
    lines += _keys(locked)
    if init_uri is not None:
        lines.append(f"#EXT-X-MAP:URI={_quoted(_line(init_uri))}")
    for segment in segments:
        # Six decimals: rounded to milliseconds, an hour of 1001/30000 frames drifts by 0.2 s.
        lines += [f"#EXTINF:{segment.duration_s:.6f},", _line(segment.uri)]
    return "\n".join([*lines, "#EXT-X-ENDLIST"]) + "\n"


def iframe_playlist(
    init_uri: str, frames: Sequence[Segment], *, locked: Locked | None = None
) -> str:
    """The playlist of one rendition's key frames (RFC 8216bis, 4.4.3.6): parts of its segments,
    each of which lasts until the next one is shown. ValueError for a whole segment."""
    if not frames or any(frame.part is None for frame in frames):
        raise ValueError("an I-frame playlist names parts of segments")
    lines = [
        "#EXTM3U",
        f"#EXT-X-VERSION:{VERSION}",
        f"#EXT-X-TARGETDURATION:{target_duration(frames)}",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-I-FRAMES-ONLY",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        *_keys(locked),
        f"#EXT-X-MAP:URI={_quoted(_line(init_uri))}",
    ]
    for frame in frames:
        assert frame.part is not None
        offset, length = frame.part
        lines += [f"#EXTINF:{frame.duration_s:.6f},", f"#EXT-X-BYTERANGE:{length}@{offset}"]
        lines.append(_line(frame.uri))
    return "\n".join([*lines, "#EXT-X-ENDLIST"]) + "\n"


def _keys(locked: Locked | None, name: str = "EXT-X-KEY") -> list[str]:
    """Which key it takes (RFC 8216bis, 4.4.4.4); where to get it, the session says."""
    if locked is None:
        return []
    fields = _attributes(
        METHOD=METHODS[locked.scheme],
        URI=_quoted(key_uri(locked.key_id)),
        KEYID=f"0x{locked.key_id.upper()}",
        KEYFORMAT=_quoted(CLEAR_KEY),
        KEYFORMATVERSIONS=_quoted("1"),
    )
    return [f"#{name}:{fields}"]


def target_duration(segments: Sequence[Segment]) -> int:
    """The longest segment in whole seconds, half a second rounded up."""
    return max(1, math.floor(max(segment.duration_s for segment in segments) + 0.5))


def _pathway(renditions: Sequence[Rendition], base: PathwayBase) -> Iterator[str]:
    """The alternatives and variants of one pathway."""
    videos = sorted((r for r in renditions if r.kind == "video"), key=_rank)
    ranges = any(video.video_range for video in videos)
    groups = _audio_groups([r for r in renditions if r.kind == "audio"], base)
    texts = [r for r in renditions if r.kind == "text"]
    subtitles = None if not texts else "subs" if base.id is None else f"subs-{base.id}"
    for group_id, members in groups.items():
        for audio, name in zip(members, _names(members), strict=True):
            # Radio: the variant is the group's first member, which then has no address here.
            carried = not videos and audio is members[0]
            yield _alternative(
                audio, base, group_id, name, default=audio is members[0], carried=carried
            )
    for text, name in zip(texts, _names(texts), strict=True):
        yield _subtitles(text, base, subtitles, name)
    for group_id, members in list(groups.items()) or [(None, [])]:
        for main in videos or members[:1]:
            sound = _Group(group_id, members)
            yield from _variant(main, base, sound, _Group(subtitles, texts), ranges=ranges)
    for video in videos:
        if video.iframe_bandwidth is not None:
            yield _iframe_variant(video, base, ranges=ranges)


def _audio_groups(
    audios: Sequence[Rendition], base: PathwayBase
) -> dict[str | None, list[Rendition]]:
    """Audio by codec, as a group's members must all play where one does: `audio-aac-{pathway}`."""
    groups: dict[str | None, list[Rendition]] = {}
    for audio in audios:
        codec = audio.rendition_id.split("-")[1]
        name = f"audio-{codec}" if base.id is None else f"audio-{codec}-{base.id}"
        groups.setdefault(name, []).append(audio)
    return groups


def _names(members: Sequence[Rendition]) -> list[str]:
    """Names for people, no two alike in a group (4.4.6.1.1): `en`, `de`, `en 3`."""
    names: list[str] = []
    for number, member in enumerate(members, start=1):
        language = member.language or "und"
        names.append(f"{language} {number}" if language in names else language)
    return names


def _alternative(
    audio: Rendition,
    base: PathwayBase,
    group_id: str | None,
    name: str,
    *,
    default: bool,
    carried: bool,
) -> str:
    return "#EXT-X-MEDIA:" + _attributes(
        TYPE="AUDIO",
        GROUP_ID=_quoted(group_id),
        NAME=_quoted(name),
        LANGUAGE=_quoted(audio.language or "und"),
        DEFAULT="YES" if default else "NO",
        AUTOSELECT="YES",
        CHANNELS=_quoted(str(audio.channels)) if audio.channels else None,
        STABLE_RENDITION_ID=_quoted(audio.rendition_id),
        URI=None if carried else _quoted(_line(_playlist_of(audio, base))),
    )


def _subtitles(text: Rendition, base: PathwayBase, group_id: str | None, name: str) -> str:
    """Shown when somebody asks for them; forced ones (4.4.6.1) by players themselves."""
    return "#EXT-X-MEDIA:" + _attributes(
        TYPE="SUBTITLES",
        GROUP_ID=_quoted(group_id),
        NAME=_quoted(name),
        LANGUAGE=_quoted(text.language or "und"),
        DEFAULT="NO",
        AUTOSELECT="YES",
        FORCED="YES" if text.forced else None,
        CHARACTERISTICS=_quoted(_FOR_THE_DEAF) if text.for_the_deaf else None,
        STABLE_RENDITION_ID=_quoted(text.rendition_id),
        URI=_quoted(_line(_playlist_of(text, base))),
    )


@dataclass(frozen=True)
class _Group:
    """Renditions of which one at a time plays; `id` None: there are none."""

    id: str | None
    members: Sequence[Rendition]


def _variant(
    main: Rendition, base: PathwayBase, audio: _Group, subtitles: _Group, *, ranges: bool
) -> tuple[str, str]:
    """The variant; where not all are SDR, each says its range (Apple 9.16)."""
    group = audio.members
    has_picture = main.width is not None and main.height is not None
    fields = _attributes(
        BANDWIDTH=str(_worst(main, audio, subtitles, lambda r: r.bandwidth)),
        AVERAGE_BANDWIDTH=str(_worst(main, audio, subtitles, lambda r: r.average_bandwidth)),
        CODECS=_quoted(",".join(dict.fromkeys(r.codecs for r in (main, *group)))),
        RESOLUTION=f"{main.width}x{main.height}" if has_picture else None,
        FRAME_RATE=f"{main.frame_rate:.3f}" if main.frame_rate else None,
        VIDEO_RANGE=(main.video_range or "SDR") if has_picture and ranges else None,
        AUDIO=_quoted(audio.id),
        SUBTITLES=_quoted(subtitles.id),
        STABLE_VARIANT_ID=_quoted(main.rendition_id),
        PATHWAY_ID=_quoted(base.id),
    )
    return f"#EXT-X-STREAM-INF:{fields}", _line(_playlist_of(main, base))


def _iframe_variant(video: Rendition, base: PathwayBase, *, ranges: bool) -> str:
    return "#EXT-X-I-FRAME-STREAM-INF:" + _attributes(
        BANDWIDTH=str(video.iframe_bandwidth),
        CODECS=_quoted(video.codecs),
        RESOLUTION=f"{video.width}x{video.height}",
        VIDEO_RANGE=(video.video_range or "SDR") if ranges else None,
        STABLE_VARIANT_ID=_quoted(iframe_name(video.rendition_id)),
        PATHWAY_ID=_quoted(base.id),
        URI=_quoted(_line(f"{base.base_url}hls/{iframe_name(video.rendition_id)}.m3u8")),
    )


def iframe_name(rendition_id: str) -> str:
    """What the key frames of a rendition are called: its playlist, and its stable id."""
    return f"{rendition_id}-iframes"


def _worst(
    main: Rendition, audio: _Group, subtitles: _Group, rate: Callable[[Rendition], int]
) -> int:
    """The rate of the worst combination that plays (Apple 9.13): audio and subtitles come on top
    of video, but each in place of others of its kind."""
    sound = max((rate(member) for member in audio.members), default=0)
    text = max((rate(member) for member in subtitles.members), default=0)
    return text + (max(rate(main), sound) if main.kind == "audio" else rate(main) + sound)


def _playlist_of(rendition: Rendition, base: PathwayBase) -> str:
    return f"{base.base_url}hls/{rendition.rendition_id}.m3u8"


def _rank(rendition: Rendition) -> tuple[bool, int, str]:
    """From the lowest up; what every player plays comes first."""
    return not rendition.codecs.startswith("avc"), rendition.bandwidth, rendition.rendition_id


def _attributes(**fields: str | None) -> str:
    """An attribute list (RFC 8216bis, 4.2); fields that are None are left out."""
    return ",".join(
        f"{name.replace('_', '-')}={value}" for name, value in fields.items() if value is not None
    )


def _quoted(value: str | None) -> str | None:
    if value is None:
        return None
    if '"' in value or not value.isprintable():
        raise ValueError(f"{value!r} cannot stand in a playlist")
    return f'"{value}"'


def _line(uri: str) -> str:
    if not _URI.fullmatch(uri):
        raise ValueError(f"{uri!r} is not an address that a playlist can hold")
    return uri

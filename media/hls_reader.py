"""HLS playlists (RFC 8216bis) as anyone writes them, read into small values through `m3u8`.

What is counted is bounded before it is parsed, and every defect is a ValueError.
"""

import math
import re
from dataclasses import dataclass
from urllib.parse import urljoin

import m3u8

# A ten-hour film in 2 s segments has 18,000; sixty-four renditions on sixteen pathways, 1024.
MAX_PLAYLIST_CHARS = 8 * 1024 * 1024
MAX_SEGMENTS = 100_000
MAX_VARIANTS = 2048

# What may be in a playlist of anyone, counted before it is parsed: memory and time are bounded.
_MAX_TAGS = {
    "#EXT": 3 * MAX_SEGMENTS,
    "#EXTINF": MAX_SEGMENTS,
    "#EXT-X-STREAM-INF": MAX_VARIANTS,
    "#EXT-X-MEDIA:": MAX_VARIANTS,
    "#EXT-X-I-FRAME-STREAM-INF": MAX_VARIANTS,
    "#EXT-X-KEY": 64,  # each is compared with all before it
    "#EXT-X-MAP": 64,
}
_MAX_BPS = 10**12
_KEY_ID = re.compile(r"^#EXT-X-KEY:.*\bKEYID=0[xX]([0-9A-Fa-f]{32})\b", re.MULTILINE)


@dataclass(frozen=True)
class Segment:
    """A media segment, as a playlist names it; `part` are offset and length in bytes, where it is
    not all of the file."""

    uri: str
    duration_s: float
    part: tuple[int, int] | None = None


@dataclass(frozen=True)
class Variant:
    """An EXT-X-STREAM-INF that was read; `uri` is absolute. Rates in bits per second."""

    uri: str
    bandwidth: int
    average_bandwidth: int | None
    codecs: str | None
    resolution: tuple[int, int] | None
    frame_rate: float | None
    audio: str | None
    subtitles: str | None
    pathway_id: str | None
    stable_id: str | None


@dataclass(frozen=True)
class IFrames:
    """An EXT-X-I-FRAME-STREAM-INF that was read; `uri` is absolute."""

    uri: str
    bandwidth: int
    codecs: str | None
    pathway_id: str | None
    stable_id: str | None


@dataclass(frozen=True)
class Alternative:
    """An EXT-X-MEDIA that was read; `uri` is absolute, None when the variants carry it."""

    type: str
    group_id: str
    name: str
    uri: str | None
    language: str | None
    channels: str | None
    default: bool
    stable_id: str | None


@dataclass(frozen=True)
class Multivariant:
    """A multivariant playlist that was read. `first_pathway` is the one to start with."""

    variants: tuple[Variant, ...]
    media: tuple[Alternative, ...]
    independent_segments: bool
    steering_url: str | None
    first_pathway: str | None
    iframes: tuple[IFrames, ...] = ()


@dataclass(frozen=True)
class MediaPlaylist:
    """A media playlist that was read; URIs are absolute. `init_uri` None: no EXT-X-MAP."""

    target_duration_s: int
    init_uri: str | None
    segments: tuple[Segment, ...]
    vod: bool
    ended: bool
    independent_segments: bool
    iframes_only: bool = False
    key_id: str | None = None  # that its EXT-X-KEY names, in lower-case hex


def read_multivariant(text: str, base_url: str) -> Multivariant:
    """The multivariant playlist at `base_url`. ValueError when it is not one, or is too large."""
    parsed = _parse(text)
    if not parsed.playlists:
        raise ValueError("this is not a multivariant playlist")
    steering = parsed.content_steering
    return Multivariant(
        variants=tuple(_read_variant(item, base_url) for item in parsed.playlists),
        media=tuple(_read_alternative(item, base_url) for item in parsed.media),
        independent_segments=bool(parsed.is_independent_segments),
        steering_url=urljoin(base_url, steering.uri) if steering else None,
        first_pathway=steering.pathway_id if steering else None,
        iframes=tuple(_read_iframes(item, base_url) for item in parsed.iframe_playlists),
    )


def read_media(text: str, base_url: str) -> MediaPlaylist:
    """The media playlist at `base_url`. ValueError when it is not one, or is too large."""
    parsed = _parse(text)
    if parsed.is_variant or not 0 < (parsed.target_duration or 0) < 3600:
        raise ValueError("this is not a media playlist")
    maps = {item.uri for item in parsed.segment_map}
    if len(maps) > 1:
        raise ValueError("a playlist with several initialization segments is not read")
    iframes_only = bool(parsed.is_i_frames_only)
    segments = []
    for item in parsed.segments:
        if not item.uri or not 0 < (item.duration or 0) < math.inf:
            raise ValueError("a segment without address or duration")
        if item.byterange and not iframes_only:
            raise ValueError("a segment that is a part of a file")
        part = _read_part(item.byterange) if item.byterange else None
        segments.append(Segment(urljoin(base_url, item.uri), float(item.duration), part))
    init = next(iter(maps), None)
    return MediaPlaylist(
        target_duration_s=int(parsed.target_duration),
        init_uri=urljoin(base_url, init) if init is not None else None,
        segments=tuple(segments),
        vod=parsed.playlist_type == "vod",
        ended=bool(parsed.is_endlist),
        independent_segments=bool(parsed.is_independent_segments),
        iframes_only=iframes_only,
        key_id=_read_key_id(text),
    )


def _read_key_id(text: str) -> str | None:
    """That of the first EXT-X-KEY which names one."""
    found = _KEY_ID.search(text)
    return found[1].lower() if found else None


def _read_part(text: str) -> tuple[int, int]:
    """`n@o` (4.4.4.2): offset and length. That of the part before is not looked up."""
    length, at, offset = text.partition("@")
    if not at or not length.isdecimal() or not offset.isdecimal():
        raise ValueError("an EXT-X-BYTERANGE without length and offset")
    return int(offset), int(length)


def _parse(text: str) -> m3u8.M3U8:
    """The package's own objects. It was written for friendly playlists, so whatever it trips over
    becomes one ValueError."""
    if len(text) > MAX_PLAYLIST_CHARS:
        raise ValueError(f"a playlist has at most {MAX_PLAYLIST_CHARS} characters")
    for tag, limit in _MAX_TAGS.items():
        if text.count(tag) > limit:
            raise ValueError(f"a playlist with more than {limit} of {tag} is not read")
    if not text.lstrip("\ufeff").startswith("#EXTM3U"):
        raise ValueError("a playlist starts with #EXTM3U")
    try:
        return m3u8.loads(text)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"the playlist cannot be read: {error}") from None


def _read_variant(item: m3u8.Playlist, base_url: str) -> Variant:
    info = item.stream_info
    if not 0 < (info.bandwidth or 0) < _MAX_BPS:
        raise ValueError("a variant says no BANDWIDTH, or one that cannot be")
    if not math.isfinite(info.frame_rate or 0.0):
        raise ValueError("a variant has a FRAME-RATE that cannot be")
    return Variant(
        uri=urljoin(base_url, item.uri),
        bandwidth=info.bandwidth,
        average_bandwidth=info.average_bandwidth,
        codecs=info.codecs,
        resolution=info.resolution,
        frame_rate=info.frame_rate,
        audio=info.audio,
        subtitles=info.subtitles,
        pathway_id=info.pathway_id,
        stable_id=info.stable_variant_id,
    )


def _read_iframes(item: m3u8.IFramePlaylist, base_url: str) -> IFrames:
    info = item.iframe_stream_info
    if not item.uri or not 0 < (info.bandwidth or 0) < _MAX_BPS:
        raise ValueError("an I-frame playlist says no URI or BANDWIDTH, or one that cannot be")
    return IFrames(
        uri=urljoin(base_url, item.uri),
        bandwidth=info.bandwidth,
        codecs=info.codecs,
        pathway_id=info.pathway_id,
        stable_id=info.stable_variant_id,
    )


def _read_alternative(item: m3u8.Media, base_url: str) -> Alternative:
    if not item.type or not item.group_id:
        raise ValueError("an alternative says no TYPE or GROUP-ID")
    return Alternative(
        type=item.type,
        group_id=item.group_id,
        name=item.name or "",
        uri=urljoin(base_url, item.uri) if item.uri else None,
        language=item.language,
        channels=item.channels,
        default=item.default == "YES",
        stable_id=item.stable_rendition_id,
    )

"""MPEG-DASH manifests (ISO/IEC 23009-1) as we write them; `dash_reader` reads anyone's.

The package's MPD is static, of the live profile: numbered segments by SegmentTemplate, their
durations exact by SegmentTimeline. A session's MPD is the package's with one BaseURL per pathway
and the steering server written in (ETSI TS 103 998), so that segments stay relative to whichever
pathway the player is on.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from xml.etree import ElementTree as ET

from media.dash_reader import NAMESPACE, Mpd, Representation, Timeline, parse, read_mpd, tag
from media.hls import PathwayBase, check_pathways
from media.inventory import WHOLE_TEXT, Rendition
from media.protection import CLEAR_KEY_UUID, Locked, as_uuid

__all__ = [
    "Mpd",
    "PathwayBase",
    "Representation",
    "Thumbnails",
    "Timeline",
    "frame_rate",
    "mpd",
    "read_mpd",
    "session_mpd",
]

MPD_PATH = "dash/manifest.mpd"  # in a package
PROFILES = "urn:mpeg:dash:profile:isoff-live:2011,urn:mpeg:dash:profile:cmaf:2019"
# Shaka Player begins only with this much in its buffer, and a segment is appended whole: two
# seconds mean one segment.
MIN_BUFFER_S = 2.0

_CHANNEL_SCHEME = "urn:mpeg:mpegB:cicp:ChannelConfiguration"
_CHANNELS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 11, 8: 12}  # ISO/IEC 23091-3, table 2
_ACCESSIBILITY_SCHEME = "urn:tva:metadata:cs:AudioPurposeCS:2007"
_ROLE_SCHEME = "urn:mpeg:dash:role:2011"

_CENC = "urn:mpeg:cenc:2013"
_LAURL = "https://dashif.org/CPS"
_CLEAR_KEY_SCHEME = f"urn:uuid:{CLEAR_KEY_UUID}"

ET.register_namespace("", NAMESPACE)
ET.register_namespace("cenc", _CENC)
ET.register_namespace("dashif", _LAURL)


@dataclass(frozen=True)
class Thumbnails:
    """Sprites: `grid` is columns and rows of pictures of `size`, one every `every_s` seconds;
    `bandwidth` is the peak of the files, in bits per second."""

    grid: tuple[int, int]
    size: tuple[int, int]
    every_s: float
    bandwidth: int


def mpd(
    renditions: Sequence[Rendition],
    timelines: Mapping[str, Timeline],
    duration_s: float,
    thumbnails: Thumbnails | None = None,
) -> str:
    """The package's `dash/manifest.mpd`: segments are `../{rendition_id}/{number}.m4s`, and
    subtitles one file, `../{rendition_id}/whole.vtt`, as players of DASH want them.

    One AdaptationSet for each kind, codec and language, in the order of the renditions; for each
    track of subtitles one.
    ValueError when there is no rendition, or one without timeline.
    """
    if not renditions:
        raise ValueError("an MPD names a rendition")
    coded = [r for r in renditions if r.kind != "text"]
    missing = [r.rendition_id for r in coded if r.rendition_id not in timelines]
    if missing:
        raise ValueError(f"no timeline for {', '.join(missing)}")
    root = ET.Element(
        tag("MPD"),
        profiles=PROFILES,
        type="static",
        mediaPresentationDuration=_duration(duration_s),
        minBufferTime=_duration(MIN_BUFFER_S),
    )
    period = ET.SubElement(root, tag("Period"), id="0", start="PT0S")
    sets: dict[tuple[str, str, str | None], list[Rendition]] = {}
    for rendition in coded:
        codec = rendition.rendition_id.split("-")[1]
        sets.setdefault((rendition.kind, codec, rendition.language), []).append(rendition)
    mains = {kind: language for kind, _, language in reversed(sets)}
    for number, ((kind, _, language), members) in enumerate(sets.items()):
        role = "main" if language == mains[kind] else "dub"
        period.append(_adaptation_set(number, members, role, timelines))
    for text in renditions:
        if text.kind == "text":
            period.append(_subtitles(len(period), text))
    if thumbnails is not None:
        period.append(_thumbnails(len(period), thumbnails))
    return _text(root)


def session_mpd(
    package_mpd: str,
    bases: Sequence[PathwayBase],
    *,
    steering_url: str | None = None,
    license_url: str | None = None,
    allowed: Collection[str] | None = None,
) -> str:
    """The package's MPD for one session: every pathway a BaseURL, the address of licences where it
    is encrypted, renditions outside `allowed`
    gone, small pictures not. ValueError when nothing remains, or the pathways do not fit
    together."""
    check_pathways(bases, steering_url)
    root = parse(package_mpd)
    if allowed is not None:
        _keep_allowed(root, allowed)
    locations = []
    for base in bases:
        location = ET.Element(tag("BaseURL"))
        if base.id is not None:
            location.set("serviceLocation", base.id)
        location.text = f"{base.base_url}dash/"
        locations.append(location)
    if steering_url is not None:
        # dash.js and Shaka Player look for it in the MPD itself; TS 103 998 shows it after BaseURL.
        steering = ET.Element(
            tag("ContentSteering"),
            defaultServiceLocation=str(bases[0].id),
            queryBeforeStart="false",
        )
        steering.text = steering_url
        locations.append(steering)
    if license_url is not None:
        for protection in root.iter(tag("ContentProtection")):
            if protection.get("schemeIdUri") == _CLEAR_KEY_SCHEME:
                ET.SubElement(protection, f"{{{_LAURL}}}Laurl").text = license_url
    root[0:0] = locations  # our MPD has no ProgramInformation, which alone may come before
    return _text(root)


def _adaptation_set(
    number: int, members: Sequence[Rendition], role: str, timelines: Mapping[str, Timeline]
) -> ET.Element:
    """The members in ascending order. Children stand in the order of the schema (5.3.3.3)."""
    first = members[0]
    element = ET.Element(
        tag("AdaptationSet"),
        id=str(number),
        contentType=first.kind,
        mimeType=f"{first.kind}/mp4",
        segmentAlignment="true",
        startWithSAP="1",
    )
    if first.language is not None:
        element.set("lang", first.language)
    heights = [m.height for m in members if m.height]
    widths = [m.width for m in members if m.width]
    if heights and widths:
        element.set("maxWidth", str(max(widths)))
        element.set("maxHeight", str(max(heights)))
    if first.locked is not None:
        for protection in _protection(first.locked):
            element.append(protection)
    ET.SubElement(element, tag("Role"), schemeIdUri=_ROLE_SCHEME, value=role)
    for member in sorted(members, key=lambda m: (m.bandwidth, m.rendition_id)):
        element.append(_representation(member, timelines[member.rendition_id]))
    return element


def _protection(locked: Locked) -> Iterator[ET.Element]:
    """Which key it takes (23001-7, 11.2), and that Clear Key gives it out (DASH-IF IOP 7.6)."""
    yield ET.Element(
        tag("ContentProtection"),
        {
            "schemeIdUri": "urn:mpeg:dash:mp4protection:2011",
            "value": locked.scheme,
            f"{{{_CENC}}}default_KID": as_uuid(locked.key_id),
        },
    )
    yield ET.Element(tag("ContentProtection"), schemeIdUri=_CLEAR_KEY_SCHEME, value="ClearKey1.0")


def _subtitles(number: int, text: Rendition) -> ET.Element:
    """One file for all of the period (DASH-IF IOP 6.4.5): what is on the side has no segments."""
    element = ET.Element(
        tag("AdaptationSet"),
        id=str(number),
        contentType="text",
        mimeType="text/vtt",
        lang=text.language or "und",
    )
    if text.for_the_deaf:
        ET.SubElement(element, tag("Accessibility"), schemeIdUri=_ACCESSIBILITY_SCHEME, value="2")
    role = "forced-subtitle" if text.forced else "caption" if text.for_the_deaf else "subtitle"
    ET.SubElement(element, tag("Role"), schemeIdUri=_ROLE_SCHEME, value=role)
    representation = ET.SubElement(
        element,
        tag("Representation"),
        id=text.rendition_id,
        bandwidth=str(text.average_bandwidth),
    )
    location = ET.SubElement(representation, tag("BaseURL"))
    location.text = f"../{text.rendition_id}/{WHOLE_TEXT}"
    return element


def _thumbnails(number: int, sprites: Thumbnails) -> ET.Element:
    """Tiles of small pictures (DASH-IF IOP 6.2.6)."""
    element = ET.Element(
        tag("AdaptationSet"), id=str(number), contentType="image", mimeType="image/jpeg"
    )
    columns, rows = sprites.grid
    ET.SubElement(
        element,
        tag("SegmentTemplate"),
        timescale="1000",
        duration=str(round(sprites.every_s * columns * rows * 1000)),
        startNumber="1",
        media="../thumbs/$Number$.jpg",
    )
    representation = ET.SubElement(
        element,
        tag("Representation"),
        id="thumbs",
        bandwidth=str(sprites.bandwidth),
        width=str(sprites.size[0] * columns),
        height=str(sprites.size[1] * rows),
    )
    ET.SubElement(
        representation,
        tag("EssentialProperty"),
        schemeIdUri="http://dashif.org/guidelines/thumbnail_tile",
        value=f"{columns}x{rows}",
    )
    return element


def _representation(rendition: Rendition, timeline: Timeline) -> ET.Element:
    element = ET.Element(
        tag("Representation"),
        id=rendition.rendition_id,
        codecs=rendition.codecs,
        bandwidth=str(rendition.bandwidth),
    )
    optional = {
        "width": rendition.width,
        "height": rendition.height,
        "frameRate": frame_rate(rendition.frame_rate) if rendition.frame_rate else None,
        "audioSamplingRate": rendition.sample_rate,
    }
    for name, value in optional.items():
        if value is not None:
            element.set(name, str(value))
    if rendition.channels in _CHANNELS:
        ET.SubElement(
            element,
            tag("AudioChannelConfiguration"),
            schemeIdUri=_CHANNEL_SCHEME,
            value=str(_CHANNELS[rendition.channels]),
        )
    template = ET.SubElement(
        element,
        tag("SegmentTemplate"),
        timescale=str(timeline.timescale),
        initialization=f"../{rendition.rendition_id}/init.mp4",
        media=f"../{rendition.rendition_id}/$Number$.m4s",
        startNumber="1",
    )
    template.append(_timeline(timeline))
    return element


def _timeline(timeline: Timeline) -> ET.Element:
    """Runs of equal durations collapsed: `r` counts the repetitions after the first."""
    element = ET.Element(tag("SegmentTimeline"))
    for duration, run in groupby(timeline.durations):
        entry = ET.SubElement(element, tag("S"), d=str(duration))
        repeated = sum(1 for _ in run) - 1
        if repeated:
            entry.set("r", str(repeated))
    if len(element) == 0:
        raise ValueError("a timeline has a segment")
    element[0].attrib = {"t": str(timeline.start), **element[0].attrib}
    return element


def frame_rate(frames_per_s: float) -> str:
    """`25`, or `30000/1001`, for a rate that was rounded to three decimals or is exact."""
    whole = round(frames_per_s)
    television = Fraction(round(frames_per_s * 1.001) * 1000, 1001)
    for rate in (Fraction(whole), television):
        if abs(rate - Fraction(frames_per_s)) < Fraction(1, 1000):
            break
    else:
        rate = Fraction(frames_per_s).limit_denominator(1001)
    return str(rate)


def _keep_allowed(root: ET.Element, allowed: Collection[str]) -> None:
    kept = 0
    for period in root.findall(tag("Period")):
        for adaptation_set in period.findall(tag("AdaptationSet")):
            if adaptation_set.get("contentType") == "image":
                continue
            for representation in adaptation_set.findall(tag("Representation")):
                if representation.get("id") not in allowed:
                    adaptation_set.remove(representation)
            members = len(adaptation_set.findall(tag("Representation")))
            kept += members
            if not members:
                period.remove(adaptation_set)
    if not kept:
        raise ValueError("no rendition of the package is allowed")


def _duration(value_s: float) -> str:
    """An xs:duration in seconds, to the nanosecond."""
    if not math.isfinite(value_s) or value_s < 0:
        raise ValueError(f"{value_s} is not a duration")
    return f"PT{value_s:.9f}".rstrip("0").rstrip(".") + "S"


def _text(root: ET.Element) -> str:
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, "unicode") + "\n"

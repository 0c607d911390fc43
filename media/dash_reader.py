"""MPEG-DASH manifests (ISO/IEC 23009-1) as anyone writes them, every segment by its address.

Read are static MPDs of one period with SegmentTemplate and SegmentTimeline; other ways of
addressing are refused, not guessed at. Every defect is a ValueError, and all is bounded.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal
from urllib.parse import urljoin
from xml.etree import ElementTree as ET

from media.hls import PathwayBase
from media.hls_reader import MAX_SEGMENTS

NAMESPACE = "urn:mpeg:dash:schema:mpd:2011"

MAX_MPD_CHARS = 8 * 1024 * 1024
MAX_REPRESENTATIONS = 256
MAX_ALL_SEGMENTS = 4 * MAX_SEGMENTS
MAX_ADDRESS_CHARS = 2048

_DURATION = re.compile(
    r"P(?=.)(?:(\d{1,4})D)?(?:T(?=.)(?:(\d{1,6})H)?(?:(\d{1,8})M)?(?:(\d{1,9}(?:\.\d{1,9})?)S)?)?",
    re.ASCII,
)
_TEMPLATE_FIELD = re.compile(r"\$([A-Za-z]*)(?:%0([0-9])d)?\$")
_KINDS: dict[str, Literal["video", "audio"]] = {"video": "video", "audio": "audio"}
_NUMBER = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True)
class Timeline:
    """Consecutive segments of a representation, in ticks of `timescale` per second, from `start`
    of the period on."""

    timescale: int
    durations: tuple[int, ...]
    start: int = 0


@dataclass(frozen=True)
class Representation:
    """A representation that was read. URLs are absolute, on the MPD's first pathway."""

    id: str
    kind: Literal["video", "audio"]
    codecs: str
    bandwidth: int
    width: int | None
    height: int | None
    frame_rate: str | None
    language: str | None
    init_url: str
    segment_urls: tuple[str, ...]
    timeline: Timeline
    key_id: str | None = None  # its default KID, in lower-case hex


@dataclass(frozen=True)
class Mpd:
    """A static MPD of one period that was read. Seconds are exact, as written."""

    duration_s: Fraction
    period_start_s: Fraction
    representations: tuple[Representation, ...]
    pathways: tuple[PathwayBase, ...]
    steering_url: str | None
    first_pathway: str | None


def read_mpd(text: str, base_url: str) -> Mpd:
    """The MPD at `base_url`; of its AdaptationSets, those of video and audio. ValueError."""
    root = parse(text)
    if root.get("type", "static") != "static":
        raise ValueError("a live MPD is not read")
    periods = root.findall(tag("Period"))
    if len(periods) != 1:
        raise ValueError(f"an MPD of {len(periods)} periods is not read")
    pathways = tuple(
        PathwayBase(item.get("serviceLocation"), urljoin(base_url, _address(item)))
        for item in root.findall(tag("BaseURL"))
    )
    steering = root.find(tag("ContentSteering"))
    base = _moved(periods[0], pathways[0].base_url if pathways else base_url)
    return Mpd(
        duration_s=seconds(root.get("mediaPresentationDuration", "")),
        period_start_s=seconds(periods[0].get("start", "PT0S")),
        representations=tuple(_representations(periods[0], base)),
        pathways=pathways,
        steering_url=urljoin(base_url, _address(steering)) if steering is not None else None,
        first_pathway=steering.get("defaultServiceLocation") if steering is not None else None,
    )


def parse(text: str) -> ET.Element:
    """The MPD's root element. ValueError when it is none, or is too large."""
    if len(text) > MAX_MPD_CHARS:
        raise ValueError(f"an MPD has at most {MAX_MPD_CHARS} characters")
    if "<!DOCTYPE" in text:  # only there can entities be declared, which expand without end
        raise ValueError("an MPD has no document type")
    try:
        root = ET.fromstring(text)
    except (ET.ParseError, ValueError) as error:
        raise ValueError(f"the MPD cannot be read: {error}") from None
    if root.tag != tag("MPD"):
        raise ValueError("this is not an MPD")
    return root


def tag(name: str) -> str:
    """The element's name in the namespace of MPDs, as ElementTree wants it."""
    return f"{{{NAMESPACE}}}{name}"


def seconds(text: str) -> Fraction:
    """An xs:duration of days and less, exactly. ValueError."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is not a duration")
    days, hours, minutes, rest = match.groups(default="0")
    return int(days) * 86_400 + int(hours) * 3600 + int(minutes) * 60 + Fraction(rest)


def _representations(period: ET.Element, base: str) -> Iterator[Representation]:
    """Each with what it inherits: attributes from its set, the template also from the period."""
    representations, segments = 0, 0
    for adaptation_set in period.findall(tag("AdaptationSet")):
        set_base = _moved(adaptation_set, base)
        for element in adaptation_set.findall(tag("Representation")):
            attributes = {**adaptation_set.attrib, **element.attrib}
            kind = _KINDS.get(
                attributes.get("mimeType", attributes.get("contentType", "")).partition("/")[0]
            )
            if kind is None:
                continue
            template = _Template([element, adaptation_set, period])
            read = _representation(kind, attributes, template, _moved(element, set_base))
            read = replace(read, key_id=_key_id(element) or _key_id(adaptation_set))
            representations, segments = representations + 1, segments + len(read.segment_urls)
            if representations > MAX_REPRESENTATIONS or segments > MAX_ALL_SEGMENTS:
                raise ValueError("an MPD with this many representations or segments is not read")
            yield read


def _key_id(element: ET.Element) -> str | None:
    for protection in element.findall(tag("ContentProtection")):
        text = protection.get("{urn:mpeg:cenc:2013}default_KID", "").replace("-", "").lower()
        if re.fullmatch(r"[0-9a-f]{32}", text):
            return text
    return None


class _Template:
    """The SegmentTemplates of a representation and of what it stands in, the nearest first: a
    missing attribute or timeline is the next one's (5.3.9.1)."""

    def __init__(self, places: Sequence[ET.Element]) -> None:
        found = [place.find(tag("SegmentTemplate")) for place in places]
        self._levels = [level for level in found if level is not None]

    def get(self, name: str, default: str) -> str:
        return next((level.attrib[name] for level in self._levels if name in level.attrib), default)

    def timeline(self) -> Timeline:
        found = [level.find(tag("SegmentTimeline")) for level in self._levels]
        nearest = next((timeline for timeline in found if timeline is not None), None)
        if nearest is None:
            raise ValueError("a representation has no SegmentTimeline")
        return _timeline(nearest, _number(self.get("timescale", "1")))

    def address(self, name: str, base: str, fields: Mapping[str, str | int]) -> str:
        return urljoin(base, _fill(self.get(name, ""), fields))


def _representation(
    kind: Literal["video", "audio"], attributes: Mapping[str, str], template: _Template, base: str
) -> Representation:
    identifier = attributes.get("id", "")
    if not 0 < len(identifier) <= 200:
        raise ValueError("a representation has no id, or a very long one")
    timeline = template.timeline()
    number, at, urls = _number(template.get("startNumber", "1")), timeline.start, []
    common = {"RepresentationID": identifier, "Bandwidth": attributes.get("bandwidth", "")}
    for duration in timeline.durations:
        urls.append(template.address("media", base, {**common, "Number": number, "Time": at}))
        number, at = number + 1, at + duration
    return Representation(
        id=identifier,
        kind=kind,
        codecs=attributes.get("codecs", ""),
        bandwidth=_number(attributes.get("bandwidth", "")),
        width=_number(attributes["width"]) if "width" in attributes else None,
        height=_number(attributes["height"]) if "height" in attributes else None,
        frame_rate=attributes.get("frameRate"),
        language=attributes.get("lang"),
        init_url=template.address("initialization", base, common),
        segment_urls=tuple(urls),
        timeline=timeline,
    )


def _timeline(element: ET.Element, timescale: int) -> Timeline:
    """Runs written out. ValueError for gaps and overlaps, and for runs without a count."""
    durations: list[int] = []
    start, end = 0, 0
    for entry in element.findall(tag("S")):
        at = _number(entry.get("t", str(end)))
        if durations and at != end:
            raise ValueError(f"the timeline goes from {end} to {at}: a gap or an overlap")
        if not durations:
            start = end = at
        duration, count = _number(entry.get("d", "")), 1 + _number(entry.get("r", "0"))
        if not duration or len(durations) + count > MAX_SEGMENTS:
            raise ValueError("a timeline's segment has no duration, or there are too many")
        durations += [duration] * count
        end += duration * count
    if not durations or not timescale:
        raise ValueError("a timeline has a segment and a timescale")
    return Timeline(timescale, tuple(durations), start)


def _fill(template: str, fields: Mapping[str, str | int]) -> str:
    """An address with the template's fields in it (5.3.9.4.4); `$$` is a dollar."""

    def value(match: re.Match[str]) -> str:
        name, width = match.groups()
        if not name:
            return "$"
        if name not in fields:
            raise ValueError(f"${name}$ cannot stand in {template!r}")
        return str(fields[name]).zfill(int(width or 0))

    if not 0 < len(template) <= MAX_ADDRESS_CHARS:
        raise ValueError("a SegmentTemplate names no address, or a very long one")
    return _TEMPLATE_FIELD.sub(value, template)


def _moved(element: ET.Element, base: str) -> str:
    """The base for what lies within: by the element's first BaseURL, if it has one."""
    location = element.find(tag("BaseURL"))
    return urljoin(base, _address(location)) if location is not None else base


def _address(element: ET.Element) -> str:
    address = (element.text or "").strip()
    if len(address) > MAX_ADDRESS_CHARS:
        raise ValueError(f"an address has at most {MAX_ADDRESS_CHARS} characters")
    return address


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a number that is read here")
    return int(text)

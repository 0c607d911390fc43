"""Subtitles: SubRip and WebVTT as anyone writes them in, WebVTT (W3C) as we write it out. Pure.

The input is hostile: it is bounded before it is parsed, and of its markup nothing is kept but the
tags that WebVTT has, each closed where it should be. A cue that cannot be read is passed over, as
players do.
"""

import html
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

MAX_BYTES = 16 * 1024 * 1024
MAX_CUES = 100_000
MAX_TEXT = 2000  # characters of a cue
_MAX_S = 100 * 3600.0

# Byte order marks first; then what is no UTF-8 is what old programs for Windows wrote.
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_TIMES = re.compile(
    r"\s*(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
    r"\s*-->\s*(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})([^\n]*)"
)
_TAG = re.compile(r"<(/?)(\w+)[^<>]*>")
_KEPT = ("b", "i", "u")
_SETTING = re.compile(r"(?:vertical|line|position|size|align|region):[A-Za-z0-9%.,-]{1,20}")


@dataclass(frozen=True)
class Cue:
    """Text that is shown from `start_s` to `end_s`, in WebVTT's markup; `settings` place it."""

    start_s: float
    end_s: float
    text: str
    settings: str = ""


def read_subtitles(raw: bytes) -> list[Cue]:
    """The cues of a file, in the order of time. ValueError when it is too large, or has none."""
    if len(raw) > MAX_BYTES:
        raise ValueError(f"subtitles have at most {MAX_BYTES >> 20} MiB")
    text = _decoded(raw).replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    cues = sorted(_cues(text), key=lambda cue: (cue.start_s, cue.end_s))
    if not cues:
        raise ValueError("there is no cue in it")
    return cues


@dataclass(frozen=True)
class TextSegment:
    """A WebVTT segment of HLS that was read: its cues in the time of the film, by its own
    X-TIMESTAMP-MAP; `mapped` is False where it has none."""

    cues: tuple[Cue, ...]
    mapped: bool


def read_segment(raw: bytes) -> TextSegment:
    """The segment. ValueError when it is no WebVTT, or too large."""
    if len(raw) > MAX_BYTES:
        raise ValueError(f"subtitles have at most {MAX_BYTES >> 20} MiB")
    text = raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    head, _, _ = text.partition("\n\n")
    if not re.match(r"WEBVTT(?=[ \t\n]|$)", text):
        raise ValueError("it does not begin with WEBVTT")
    map_line = re.search(r"^X-TIMESTAMP-MAP=(.*)$", head, re.MULTILINE)
    by_s = _mapped(map_line[1]) if map_line else 0.0
    return TextSegment(tuple(shifted(list(_cues(text)), by_s)), map_line is not None)


def _mapped(text: str) -> float:
    """Seconds from a cue's time to the film's (RFC 8216bis, 3.1.4)."""
    said = dict(part.split(":", 1) for part in text.split(",") if ":" in part)
    local = re.fullmatch(r"(?:(\d{1,3}):)?(\d{2}):(\d{2})\.(\d{3})", said.get("LOCAL", ""))
    ticks = said.get("MPEGTS", "")
    if local is None or not re.fullmatch(r"\d{1,10}", ticks):
        raise ValueError("its X-TIMESTAMP-MAP cannot be read")
    return int(ticks) / 90_000 - _seconds(local.groups())


def write_webvtt(cues: Sequence[Cue], timestamp_map: bool = False) -> str:
    """A WebVTT file of these cues; with `timestamp_map` as HLS wants segments (8216bis, 3.1.4):
    the cues' own time is that of the film, whose first picture is at 0 in every track of ours."""
    head = "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n" if timestamp_map else "WEBVTT\n"
    return head + "".join(
        f"\n{_time(cue.start_s)} --> {_time(cue.end_s)}{' ' if cue.settings else ''}"
        f"{cue.settings}\n{cue.text}\n"
        for cue in cues
    )


def shifted(cues: Sequence[Cue], by_s: float) -> list[Cue]:
    """The cues that much later; what then lies before 0 is not seen."""
    return [
        replace(cue, start_s=max(0.0, cue.start_s + by_s), end_s=cue.end_s + by_s)
        for cue in cues
        if cue.end_s + by_s > 0
    ]


def clipped(cues: Sequence[Cue], end_s: float) -> list[Cue]:
    """What of the cues is seen of a film that ends then."""
    return [
        replace(cue, end_s=min(cue.end_s, end_s))
        for cue in cues
        if cue.start_s < end_s and cue.end_s > cue.start_s
    ]


def segments(cues: Sequence[Cue], edges_s: Sequence[float]) -> list[str]:
    """A file for each stretch between two edges, with all cues that are seen in it: one that lasts
    longer stands in several, with its own times (RFC 8216bis, 3.1.4)."""
    seen: list[list[Cue]] = [[] for _ in edges_s[1:]]
    for cue in cues:
        first = bisect_right(edges_s, cue.start_s) - 1
        after = bisect_left(edges_s, cue.end_s)
        for number in range(max(first, 0), min(after, len(seen))):
            seen[number].append(cue)
    return [write_webvtt(those, timestamp_map=True) for those in seen]


def spread_chars(cues: Sequence[Cue], segment_s: float) -> int:
    """About how many characters segments of that length have together."""
    return sum(int(len(c.text) * (1 + (c.end_s - c.start_s) / segment_s)) for c in cues)


def _decoded(raw: bytes) -> str:
    for mark, name in _MARKS:
        if raw.startswith(mark):
            return raw.decode(name, "replace")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("windows-1252", "replace")


def _cues(text: str) -> Iterator[Cue]:
    count = 0
    for block in re.split(r"\n[ \t]*\n", text):
        lines = block.strip("\n").split("\n")
        at = next((n for n, line in enumerate(lines[:3]) if "-->" in line), None)
        if at is None:
            continue
        found = _TIMES.fullmatch(lines[at])
        if found is None:
            continue
        start, end = _seconds(found.groups()[:4]), _seconds(found.groups()[4:8])
        said = _marked_up("\n".join(line for line in lines[at + 1 :] if line.strip()))
        if said and start < end <= _MAX_S:
            count += 1
            if count > MAX_CUES:
                raise ValueError(f"subtitles have at most {MAX_CUES} cues")
            settings = " ".join(_SETTING.findall(found[9] or ""))
            yield Cue(start, end, said, settings)


def _seconds(parts: Sequence[str | None]) -> float:
    hours, minutes, seconds, thousandths = parts
    whole = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    return whole + int((thousandths or "0").ljust(3, "0")) / 1000


def _marked_up(text: str) -> str:
    """The text with bold, italics and underlines alone, and nothing that a parser could take for
    more."""
    out: list[str] = []
    opened: list[str] = []
    at = 0
    text = text[:MAX_TEXT]
    for tag in _TAG.finditer(text):
        out.append(_plain(text[at : tag.start()]))
        at = tag.end()
        closing, name = tag[1], tag[2].lower()
        if name not in _KEPT:
            continue
        if not closing:
            opened.append(name)
            out.append(f"<{name}>")
        elif name in opened:
            while (last := opened.pop()) != name:
                out.append(f"</{last}>")
            out.append(f"</{name}>")
    out.append(_plain(text[at:]))
    out += [f"</{name}>" for name in reversed(opened)]
    return "".join(out).strip()


def _plain(text: str) -> str:
    """What stands between tags, escaped once: SubRip has no escapes, WebVTT does."""
    text = re.sub(r"\{\\an?\d\}", "", html.unescape(text))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _time(seconds: float) -> str:
    thousandths = round(seconds * 1000)
    minutes, rest = divmod(thousandths, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}.{rest % 1000:03}"

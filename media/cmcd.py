"""What players say with each request: Common Media Client Data (CTA-5004, version 2 in CTA-5004-A).

It comes as a structured-field dictionary (RFC 8941 3.2) in the query argument `CMCD`, percent-
encoded, or divided over four header fields. Version 2 gives some numbers once per track, as inner
lists: `br=(5000;v 128;a)`. Players differ in the details, so reading is lenient: unknown keys are
taken no notice of, a member that makes no sense is left out, and nothing is ever raised. What is
read is bounded in bytes and members, and numbers are bounded too.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote, unquote_to_bytes

MAX_BYTES = 2048  # a player's own words are some 200 to 400
MAX_MEMBERS = 64  # versions 1 and 2 know 50 keys or so
MAX_NUMBER = 10**9  # of kbit/s or milliseconds: beyond any player's truth
MAX_TEXT = 128
MAX_NEXT = 8  # objects in one `nor`
MAX_PATH = 200  # as long as a package's paths are (inventory.FilePath)

HEADERS = (b"cmcd-request", b"cmcd-object", b"cmcd-status", b"cmcd-session")
_HEADER_SET = frozenset(HEADERS)
_STRING = r'"(?:[^"\\]|\\.)*"'
_MEMBER = re.compile(
    r"\s*([A-Za-z*][A-Za-z0-9_.*-]{0,63})"
    rf'(?:=({_STRING}|\((?:[^()"\\]|{_STRING})*\)|[^,;"()]*))?'
    r"(?:;[^,]*)?\s*(?:,|$)"
)
_ITEM = re.compile(rf'({_STRING}|[^\s";()]+)((?:;[^\s";()]+(?:{_STRING})?)*)')
_NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,3})?")
_TOKEN = re.compile(r"[A-Za-z*][A-Za-z0-9_.:*/-]{0,15}")
_RANGE = re.compile(r"([0-9]{1,15})-([0-9]{0,15})")
_FILE_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*){0,4}")


class Cmcd(NamedTuple):
    """What a player said, as far as it makes sense; None or empty where it said nothing. Rates in
    kbit/s, times in milliseconds. `next_paths` are relative to the requested object: see
    `resolve`."""

    object_type: str = ""  # ot: m a v av i c tt k o
    bitrate_kbps: int | None = None  # br
    top_bitrate_kbps: int | None = None  # tb
    buffer_ms: int | None = None  # bl
    starved: bool = False  # bs: the buffer ran empty since the request before
    starved_ms: int | None = None  # bsd, version 2: how long
    deadline_ms: int | None = None  # dl
    duration_ms: int | None = None  # d
    throughput_kbps: int | None = None  # mtp: what the player measures
    wanted_kbps: int | None = None  # rtp: what it asks to be sent at most
    startup: bool = False  # su: needed soon, to start or to recover
    startup_ms: int | None = None  # msd, version 2: from the wish to play to the first picture
    rate: float | None = None  # pr: 1 is real time
    session_id: str = ""  # sid: the player's own, not ours
    content_id: str = ""  # cid
    streaming_format: str = ""  # sf: d h s o
    stream_type: str = ""  # st: v l
    version: int = 1  # v
    next_paths: tuple[str, ...] = ()  # nor
    next_range: tuple[int, int | None] | None = None  # nrr: first and last byte


def raw(query: bytes, headers: Mapping[bytes, bytes]) -> bytes:
    """The CMCD of a request, percent-encoded and bounded, b"" where there is none: what is kept
    until there is time to `read` it. `query` is without its `?`, header names are in lower case.
    Costs under half a microsecond."""
    if query:
        start = 5 if query.startswith(b"CMCD=") else query.find(b"&CMCD=") + 6
        if start >= 6 or query.startswith(b"CMCD="):
            end = query.find(b"&", start)
            return query[start : len(query) if end < 0 else end][: 3 * MAX_BYTES]
    if _HEADER_SET.isdisjoint(headers):
        return b""
    fields = [headers[name] for name in HEADERS if name in headers]
    return b",".join(fields)[:MAX_BYTES].replace(b"%", b"%25")


def read(encoded: bytes) -> Cmcd | None:
    """What `raw` has taken says; None when no member of it is known. Never raises. Of more than
    MAX_BYTES or MAX_MEMBERS the rest is not read."""
    text = unquote_to_bytes(encoded)[:MAX_BYTES].decode("latin-1")
    said: dict[str, Any] = {}
    offset = 0
    for _ in range(MAX_MEMBERS):
        if offset >= len(text):
            break
        member = _MEMBER.match(text, offset)
        if member is None:  # to the next comma, and on
            offset = text.find(",", offset) + 1
            if offset == 0:
                break
            continue
        offset = member.end()
        known = _KEYS.get(member[1])
        if known is not None:
            name, take = known
            value = take(member[2])
            if value is not None:
                said[name] = value
    return Cmcd(**said) if said else None


def resolve(path: str, following: str) -> str | None:
    """The path in the same package that `following` means beside `path`; both are relative to the
    package (`v-avc-720/3.m4s`). None for everything that leaves the package, is absolute, or is no
    path of a package's file. Whether there is such a file, the inventory knows."""
    if len(following) > MAX_PATH:
        return None
    folders = path.split("/")[:-1]
    for element in following.split("/"):
        if element == "..":
            if not folders:
                return None
            folders.pop()
        elif element != ".":
            folders.append(element)
    found = "/".join(folders)
    # An absolute path has left an empty element, which no path of a package has.
    return found if len(found) <= MAX_PATH and _FILE_PATH.fullmatch(found) else None


def _items(value: str | None) -> list[tuple[str, str]]:
    """The items of an inner list, or the one item, each with its parameters."""
    if value is None:
        return []
    if not value.startswith("("):
        return [(value.strip(), "")]
    return [(item[1], item[2]) for item in _ITEM.finditer(value[1:-1])]


def _number(value: str | None, choose: Callable[[Sequence[float]], float]) -> float | None:
    numbers = [float(item) for item, _ in _items(value) if _NUMBER.fullmatch(item)]
    numbers = [number for number in numbers if 0 <= number <= MAX_NUMBER]
    return choose(numbers) if numbers else None


def _most(value: str | None) -> int | None:
    if value is not None and len(value) < 10 and value.isascii() and value.isdigit():
        return int(value)  # as nearly all of them are
    number = _number(value, max)
    return None if number is None else int(number)


def _least(value: str | None) -> int | None:
    """Of several buffers the shortest is the one that will run empty."""
    if value is None or not value.startswith("("):
        return _most(value)
    number = _number(value, min)
    return None if number is None else int(number)


def _rate(value: str | None) -> float | None:
    return _number(value, max)


def _true(value: str | None) -> bool | None:
    """`bs`, `bs=?1`, in version 2 also `bs=(?1;v)`; `true` is no boolean, and some send it."""
    if value is None:
        return True
    said = any(item in ("?1", "true") for item, _ in _items(value))
    return True if said else None


def _string(value: str | None) -> str | None:
    """Quoted, as it has to be, or not."""
    if value is None:
        return None
    return _unquoted(value.strip())[:MAX_TEXT] or None


def _word(value: str | None) -> str | None:
    """A token; the few that quote it are understood."""
    text = _string(value)
    return text if text is not None and _TOKEN.fullmatch(text) else None


def _following(value: str | None) -> tuple[str, ...] | None:
    paths = [unquote(_unquoted(item))[: MAX_PATH + 1] for item, _ in _items(value)]
    return tuple(path for path in paths[:MAX_NEXT] if path) or None


def _span(value: str | None) -> tuple[int, int | None] | None:
    found = _RANGE.fullmatch(_string(value) or "")
    if found is None:
        return None
    first, last = int(found[1]), int(found[2]) if found[2] else None
    return (first, last) if last is None or last >= first else None


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text


_KEYS: dict[str, tuple[str, Callable[[str | None], Any]]] = {
    "ot": ("object_type", _word),
    "br": ("bitrate_kbps", _most),
    "tb": ("top_bitrate_kbps", _most),
    "bl": ("buffer_ms", _least),
    "bs": ("starved", _true),
    "bsd": ("starved_ms", _most),
    "dl": ("deadline_ms", _least),
    "d": ("duration_ms", _most),
    "mtp": ("throughput_kbps", _most),
    "rtp": ("wanted_kbps", _most),
    "su": ("startup", _true),
    "msd": ("startup_ms", _most),
    "pr": ("rate", _rate),
    "sid": ("session_id", _string),
    "cid": ("content_id", _string),
    "sf": ("streaming_format", _word),
    "st": ("stream_type", _word),
    "v": ("version", _most),
    "nor": ("next_paths", _following),
    "nrr": ("next_range", _span),
}

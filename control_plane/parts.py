"""How a master is cut into parts, and what it is called in the store. Pure."""

import re
import unicodedata
from dataclasses import dataclass

from media.api import MAX_PARTS

MAX_STEM_CHARS = 89
MAX_NAME_CHARS = MAX_STEM_CHARS + 11
_MEBIBYTE = 1024**2
_ENDING = re.compile(r"[A-Za-z0-9]{1,10}")
_NOT_IN_A_KEY = re.compile(r"[^A-Za-z0-9 ._()+@=-]+")


@dataclass(frozen=True)
class Span:
    """Part `number` holds bytes `[offset, offset + bytes)` of the master."""

    number: int
    offset: int
    bytes: int


def part_size(total_bytes: int, preferred_bytes: int) -> int:
    """The preferred size, or as many whole mebibytes as keep within MAX_PARTS parts."""
    needed = -(-total_bytes // MAX_PARTS)
    return max(preferred_bytes, -(-needed // _MEBIBYTE) * _MEBIBYTE)


def part_count(total_bytes: int, part_bytes: int) -> int:
    """Number of parts; all but the last have `part_bytes`."""
    return -(-total_bytes // part_bytes)


def span(number: int, total_bytes: int, part_bytes: int) -> Span | None:
    """The span of part `number`, counted from 1; None when there is no such part."""
    offset = (number - 1) * part_bytes
    if number < 1 or offset >= total_bytes:
        return None
    return Span(number, offset, min(part_bytes, total_bytes - offset))


def safe_name(filename: str) -> str:
    """The file name as one element of a store key: its last path element in plain ASCII, with its
    ending, never empty, hidden or longer than MAX_NAME_CHARS."""
    last = re.split(r"[/\\]", filename)[-1]
    stem, _, ending = last.rpartition(".")
    if not stem or not _ENDING.fullmatch(ending):
        stem, ending = last.rstrip("."), ""
    stem = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    stem = _NOT_IN_A_KEY.sub("_", stem).lstrip(" .()+@=-")[:MAX_STEM_CHARS].strip()
    return f"{stem or 'master'}.{ending}" if ending else stem or "master"


def subtitles_key(master: str, language: str) -> str:
    """Where subtitles beside the master of this key lie."""
    return f"{master}.{language.lower()}.vtt"


def subtitles_of(master: str, languages: str) -> dict[str, str]:
    """Languages and keys; `languages` as the database has them."""
    return {one: subtitles_key(master, one) for one in languages.split(",") if one}


def master_key(title_id: str, filename: str, upload_id: str, *, taken: bool = False) -> str:
    """`masters/{title_id}/{filename}`. When an earlier master of the title has that name, part of
    the upload's id goes in front: masters are never written over."""
    name = safe_name(filename)
    return f"masters/{title_id}/{upload_id[-8:]}-{name}" if taken else f"masters/{title_id}/{name}"

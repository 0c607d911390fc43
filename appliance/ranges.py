"""Byte ranges and conditional requests (RFC 9110, 13 and 14), as pure functions.

One range is answered with 206. Several ranges are answered with the whole file, which a server
may always do (14.2): no player asks for them, and multipart answers cost more than they give.
"""

import re

# Numbers may be far larger than any file (14.1.2), but are no longer than is read in no time.
_RANGE = re.compile(rb"[Bb][Yy][Tt][Ee][Ss]=[ \t]*(\d{0,100})-(\d{0,100})[ \t]*")


class NotSatisfiable(Exception):
    """The range lies outside the file: 416."""


def wanted_span(header: bytes | None, size: int) -> tuple[int, int] | None:
    """`(start, end)`, end exclusive, of one satisfiable range; None for the whole file.

    A malformed header counts as absent. Raises NotSatisfiable.
    """
    if header is None:
        return None
    match = _RANGE.fullmatch(header)
    if match is None or match.group(1) == match.group(2) == b"":
        return None
    first, last = match.groups()
    if not first:  # the last N bytes
        count = min(int(last), size)
        if count == 0:
            raise NotSatisfiable
        return size - count, size
    start = int(first)
    end = min(int(last) + 1, size) if last else size
    if last and int(last) < start:
        return None
    if start >= size:
        raise NotSatisfiable
    return start, end


def has_current(if_none_match: bytes | None, etag: bytes) -> bool:
    """The client's copy is current: 304 (weak comparison, 13.1.2)."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix(b"W/") for tag in if_none_match.split(b",")]
    return b"*" in tags or etag in tags


def is_current(if_match: bytes | None, etag: bytes) -> bool:
    """The file is the one that the client means: else 412 (strong comparison, 13.1.1)."""
    if if_match is None:
        return True
    tags = [tag.strip() for tag in if_match.split(b",")]
    return b"*" in tags or etag in tags


def range_applies(if_range: bytes | None, etag: bytes) -> bool:
    """The Range is to be honoured (strong comparison, 13.1.5; a date never matches: there is no
    Last-Modified here)."""
    return if_range is None or if_range.strip() == etag

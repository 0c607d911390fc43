"""Heads of answers on the data port. What depends on the file alone is built once. Pure."""

import functools
import json

from appliance.access_log import what
from appliance.http1 import REASONS
from appliance.want import FileWant
from media.inventory import content_type
from runtime.errors import Problem

CORS = (
    b"Access-Control-Allow-Origin: *\r\n"
    b"Access-Control-Expose-Headers: Content-Length, Content-Range, ETag, Cache-Status, "
    b"CMSD-Static, CMSD-Dynamic, Retry-After\r\n"
    b"Timing-Allow-Origin: *\r\n"
)
_MAX_AGES = 4096  # remembered; all there are, for tokens of an hour
PREFLIGHT = (
    CORS + b"Access-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n"
    b"Access-Control-Allow-Headers: *\r\n"
    b"Access-Control-Max-Age: 86400\r\n"
)


class Listed:
    """A file that an inventory lists, with what every answer for it has in common: `fields`, whole
    lines, and `whole`, the head of a 200 as far as it is the same for everyone. The access log has
    `quoted` for its path, and `hit` for an answer with all of it."""

    __slots__ = (
        "etag", "fields", "hit", "key", "quoted", "rendition_id", "size", "viewed", "want", "whole",
    )  # fmt: skip

    def __init__(self, want: FileWant, rendition_id: str | None, cmsd_static: bytes) -> None:
        """`cmsd_static` is the value of CMSD-Static."""
        self.want = want
        self.key = want.key
        self.quoted = json.dumps("/" + want.object_key)
        self.size = want.max_bytes if want.size is None else want.size
        self.hit = what(b"GET", self.quoted, 200, self.size, "hit")
        self.rendition_id = rendition_id
        self.viewed = 0  # bytes that viewers took, since its worker last looked
        self.etag = b'"%b"' % want.sha256.encode()
        self.fields = (
            b"Content-Type: %b\r\nETag: %b\r\nAccept-Ranges: bytes\r\nCMSD-Static: %b\r\n%b"
        ) % (content_type(want.path).encode(), self.etag, cmsd_static, CORS)
        self.whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b" % (self.size, self.fields)


class _MaxAges(dict[int, bytes]):
    """Lines of Cache-Control by the seconds that an answer may be kept."""

    def __missing__(self, life_s: int) -> bytes:
        if len(self) >= _MAX_AGES:
            self.clear()
        line = b"Cache-Control: private, max-age=%d, immutable\r\n" % max(life_s, 0)
        self[life_s] = line
        return line


MAX_AGES = _MaxAges()


@functools.lru_cache(maxsize=256)
def error(code: str, retry_s: int | None = None, detail: str = "") -> tuple[int, bytes, bytes]:
    """Status, header lines and body of an error: short JSON with its stable code, not stored."""
    problem = Problem(code, detail, retry_after_s=retry_s)
    body = json.dumps({"code": code, "detail": problem.detail}).encode()
    status = problem.status if problem.status in REASONS else 500
    fields = b"Content-Type: application/problem+json\r\nCache-Control: no-store\r\n" + CORS
    if problem.retry_after_s is not None:
        fields += b"Retry-After: %d\r\n" % problem.retry_after_s
    if status == 405:
        fields += b"Allow: GET, HEAD, OPTIONS\r\n"
    return status, fields, body

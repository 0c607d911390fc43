"""Heads of answers on the data port, built once per file or error. Pure."""

import json

from appliance.gate import FileWant
from appliance.http1 import REASONS
from media.inventory import content_type
from runtime.errors import Problem

CORS = (
    b"Access-Control-Allow-Origin: *\r\n"
    b"Access-Control-Expose-Headers: Content-Length, Content-Range, ETag, Cache-Status, "
    b"CMSD-Static, CMSD-Dynamic\r\n"
    b"Timing-Allow-Origin: *\r\n"
)
PREFLIGHT = (
    CORS + b"Access-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n"
    b"Access-Control-Allow-Headers: *\r\n"
    b"Access-Control-Max-Age: 86400\r\n"
)


def etag_of(want: FileWant) -> bytes:
    """The strong entity tag: the file's SHA-256."""
    return b'"%b"' % want.sha256.encode()


def file_fields(want: FileWant, max_age_s: int, cache_status: bytes) -> bytes:
    """Header lines of a file's answer. The package never changes, and the token ends with it:
    so the answer may be kept as long as the token lives."""
    return b"".join(
        (
            b"Content-Type: %b\r\n" % content_type(want.path).encode(),
            b"ETag: %b\r\n" % etag_of(want),
            b"Accept-Ranges: bytes\r\n",
            b"Cache-Control: private, max-age=%d, immutable\r\n" % max(0, max_age_s),
            b"Cache-Status: %b\r\n" % cache_status,
            CORS,
        )
    )


def error(code: str, retry_s: int | None = None) -> tuple[int, bytes, bytes]:
    """Status, header lines and body of an error: short JSON with its stable code, not stored."""
    problem = Problem(code, retry_after_s=retry_s)
    body = json.dumps({"code": code, "detail": problem.detail}).encode()
    status = problem.status if problem.status in REASONS else 500
    fields = b"Content-Type: application/problem+json\r\nCache-Control: no-store\r\n" + CORS
    if problem.retry_after_s is not None:
        fields += b"Retry-After: %d\r\n" % problem.retry_after_s
    if status == 405:
        fields += b"Allow: GET, HEAD, OPTIONS\r\n"
    return status, fields, body

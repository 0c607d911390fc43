"""The access log's lines: JSON, put together from parts that were quoted before. Pure.

`json.dumps` of nine fields takes several microseconds, half of what a hit may take in all. But a
path is the same for every request of a file, a session for every request of a token, and a second
has many requests. So each part is made once, by whoever remembers the file or the token, and a
line is one f-string of half a microsecond:

    {"ts":"2026-01-02T03:04:05.678Z","method":"GET","path":"/titles/…","status":200,"bytes":65536,
     "cache":"hit","ms":0.31,"session_id":"ses_…","scope":"play"}
"""

import json
import time
from collections.abc import Iterable
from typing import Literal

NOBODY = '"session_id":null,"scope":null'
Cache = Literal["hit", "fill", "miss", "-"]

_CENTI = tuple(f"{number:02d}" for number in range(100))
_METHODS = {name: json.dumps(name.decode()) for name in (b"GET", b"HEAD", b"OPTIONS", b"POST")}


def quoted(text: bytes) -> str:
    """Bytes of a request as a JSON string of latin-1 characters, so that nothing is lost and no
    byte ends a line or a string."""
    return json.dumps(text.decode("latin-1"))


def method_part(method: bytes) -> str:
    """A method, quoted."""
    known = _METHODS.get(method)
    return quoted(method) if known is None else known


def session_part(session_id: str, scope: Literal["play", "fill"]) -> str:
    """Whose token it was; to be made once a token."""
    return f'"session_id":{json.dumps(session_id)},"scope":"{scope}"'


class Stamps:
    """Time stamps (RFC 3339, UTC, milliseconds) that work out the calendar once a second, and the
    text once a millisecond."""

    def __init__(self) -> None:
        self._second = self._millis = -1
        self._calendar = self._stamp = ""

    def stamp(self, now_s: float) -> str:
        """The stamp of a Unix time, cut to the millisecond."""
        millis = int(now_s * 1000)
        if millis != self._millis:
            self._millis = millis
            second, rest = divmod(millis, 1000)
            if second != self._second:
                self._second = second
                self._calendar = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._stamp = f"{self._calendar}.{rest:03d}Z"
        return self._stamp


def what(method: bytes | None, path: str, status: int, sent: int, cache: Cache) -> str:
    """What was asked for and answered, without a method if it was no request. `path` is a JSON
    string."""
    asked = '""' if method is None else method_part(method)
    return f'"method":{asked},"path":{path},"status":{status},"bytes":{sent},"cache":"{cache}"'


# An answer on record: its beginning (Unix time), how many microseconds it took, `what` it was, and
# whose: a `session_part`, or NOBODY.
Record = tuple[float, int, str, str]


class Lines:
    """Makes lines of records, many at a time: a line among others costs a fraction of one that
    comes alone, when the processor has to fetch all this code for it."""

    def __init__(self) -> None:
        self._stamps = Stamps()

    def __call__(self, records: Iterable[Record]) -> str:
        """Their lines, in the same order, each with its end. Times are in milliseconds, cut to two
        decimals."""
        stamp = self._stamps.stamp
        return "".join(
            [
                f'{{"ts":"{stamp(began_s)}",{said},'
                f'"ms":{us // 1000}.{_CENTI[us % 1000 // 10]},{who}}}\n'
                for began_s, us, said, who in records
            ]
        )

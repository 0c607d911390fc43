"""Traces of requests in files: read and written one request at a time.

csv       time_s,key,bytes, with that line in front: ours. Read is any CSV with a line of names
          in front, if the names are known (`_COLUMNS`), and one of time, key, bytes without.
          libCacheSim reads ours, too.
oracle    libCacheSim's oracleGeneral: records of 24 bytes without a head, little endian: time
          (u32, s), object (u64), bytes (u32), and the number of the request that wants the same
          object next, -1 if none does (i64). Its keys are numbers.
"""

import csv
import struct
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Literal, NamedTuple

from appliance.admit import fingerprint

Format = Literal["csv", "oracle"]

MAX_KEY = 1024  # characters
_MAX_LINE = 4096
_MAX_BYTES = 1 << 40
_RECORD = struct.Struct("<IQIq")
_AT_ONCE = 4096  # records
_NOT_AGAIN = -1
_COLUMNS = {
    "time_s": ("time_s", "time", "timestamp", "clock_time", "real_time"),
    "key": ("key", "obj_id", "object_id", "id", "lbn"),
    "bytes": ("bytes", "size", "obj_size", "object_size"),
}


class Request(NamedTuple):
    """Somebody wants the whole of a file."""

    time_s: float
    key: str
    bytes: int


def format_of(path: Path) -> Format:
    """By the name: what ends in `.csv` or `.txt` is CSV."""
    return "csv" if path.suffix.lower() in (".csv", ".txt") else "oracle"


def read(path: Path, kind: Format) -> Iterator[Request]:
    """The requests, in order. ValueError for what is none, with its number; OSError."""
    if kind == "csv":
        with path.open(encoding="utf-8", newline="") as file:
            yield from _read_csv(file)
    else:
        with path.open("rb") as file:
            yield from _read_oracle(file)


def write(path: Path, kind: Format, requests: Iterable[Request]) -> int:
    """The file has them; returns how many. `oracle` remembers every key and eight bytes for each
    request meanwhile. ValueError for one that the format cannot hold; OSError."""
    if kind == "csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            return _write_csv(file, requests)
    with path.open("w+b") as file:
        return _write_oracle(file, requests)


def _read_csv(file: IO[str]) -> Iterator[Request]:
    columns = {"time_s": 0, "key": 1, "bytes": 2}
    reader = csv.reader(_lines(file))
    for row in _rows(reader):
        if reader.line_num == 1 and (named := _named(row)):
            columns = named
            continue
        try:
            time_s, size = float(row[columns["time_s"]]), int(row[columns["bytes"]])
            key = row[columns["key"]]
            if not (0 <= time_s < 1e15 and 0 <= size <= _MAX_BYTES and 0 < len(key) <= MAX_KEY):
                raise ValueError
        except (ValueError, IndexError):
            raise ValueError(f"line {reader.line_num} is no request") from None
        yield Request(time_s, key, size)


def _rows(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    try:
        yield from filter(None, reader)
    except csv.Error as error:
        raise ValueError(f"it is no CSV: {error}") from None


def _lines(file: IO[str]) -> Iterator[str]:
    number = 0
    while line := file.readline(_MAX_LINE + 1):
        number += 1
        if len(line) > _MAX_LINE:
            raise ValueError(f"line {number} is longer than {_MAX_LINE} characters")
        yield line


def _named(row: list[str]) -> dict[str, int]:
    """Which column is which, by names in front; empty if these are no names."""
    names = [name.strip().lstrip("#").strip().lower() for name in row]
    found = {
        column: names.index(name)
        for column, known in _COLUMNS.items()
        for name in reversed(known)
        if name in names
    }
    if found and len(found) < len(_COLUMNS):
        missing = min(_COLUMNS.keys() - found)
        raise ValueError(f"no column is called {' or '.join(_COLUMNS[missing])}")
    return found


def _write_csv(file: IO[str], requests: Iterable[Request]) -> int:
    writer, count = csv.writer(file, lineterminator="\n"), 0
    writer.writerow(Request._fields)
    for count, one in enumerate(requests, 1):
        if not 0 < len(one.key) <= MAX_KEY:
            raise ValueError(f"request {count}: a key has 1 to {MAX_KEY} characters")
        writer.writerow(one)
    return count


def _read_oracle(file: IO[bytes]) -> Iterator[Request]:
    number = 0
    while data := file.read(_AT_ONCE * _RECORD.size):
        if len(data) % _RECORD.size:
            raise ValueError(f"the last of its records of {_RECORD.size} bytes is cut off")
        for time_s, name, size, _ in _RECORD.iter_unpack(data):
            number += 1
            yield Request(float(time_s), str(name), size)


def _write_oracle(file: IO[bytes], requests: Iterable[Request]) -> int:
    last: dict[int, int] = {}
    following = array("q")
    for number, one in enumerate(requests, 1):
        name = _number_of(one.key)
        try:
            file.write(_RECORD.pack(int(one.time_s), name, one.bytes, _NOT_AGAIN))
        except struct.error:
            raise ValueError(f"request {number}: its time or its bytes need 33 bits") from None
        following.append(_NOT_AGAIN)
        if name in last:
            following[last[name] - 1] = number
        last[name] = number
    after = iter(following)
    for start in range(0, len(following), _AT_ONCE):
        file.seek(start * _RECORD.size)
        records = _RECORD.iter_unpack(file.read(_AT_ONCE * _RECORD.size))
        data = b"".join(_RECORD.pack(*one[:3], at) for one, at in zip(records, after, strict=False))
        file.seek(start * _RECORD.size)
        file.write(data)
    return len(following)


def _number_of(key: str) -> int:
    """The key itself if it is a number of 64 bits, else one that stands for it."""
    if key.isascii() and key.isdecimal() and len(key) <= 20 and (number := int(key)) < 1 << 64:
        return number
    return fingerprint(key)

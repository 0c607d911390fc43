"""Networks of sites from files, such as a route reflector exports: CSV or TOML, 100,000 and more.

network,site,path_length,med        [[network]]
192.0.2.0/24,north,2,10             network = "192.0.2.0/24"
                                    site = "north"
"""

import csv
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from media.networks import parse_network
from media.places import Route
from runtime.errors import Problem

MAX_FILE_BYTES = 256 * 1024**2
_COLUMNS = ("network", "site", "path_length", "med")


def read_routes(files: Iterable[str]) -> tuple[Route, ...]:
    """All routes of the files, in their order. Raises Problem `bad_setting`, which names the file
    and the line."""
    return tuple(route for file in files for route in _read(Path(file)))


def _read(path: Path) -> Iterator[Route]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise _wrong(path, "is larger than 256 MiB")
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(path, f"cannot be read: {error}") from None
    rows = _toml(path, text) if path.suffix == ".toml" else _csv(text)
    for where, row in rows:
        try:
            route = Route.model_validate(row)
            parse_network(route.network)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise _wrong(path, f"{where}: {field}: {first['msg']}") from None
        except ValueError as error:
            raise _wrong(path, f"{where}: {error}") from None
        yield route


def _csv(text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Lines of two to four columns; a heading, empty lines and comments are passed over."""
    for number, row in enumerate(csv.reader(text.splitlines(), skipinitialspace=True), 1):
        if not row or row[0].startswith("#") or (number == 1 and row[0] == _COLUMNS[0]):
            continue
        named = {str(n): cell for n, cell in enumerate(row[len(_COLUMNS) :], len(_COLUMNS))}
        named |= dict(zip(_COLUMNS, (cell.strip() for cell in row), strict=False))
        yield f"line {number}", {name: cell for name, cell in named.items() if cell}


def _toml(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        tables = tomllib.loads(text).get("network", [])
    except tomllib.TOMLDecodeError as error:
        raise _wrong(path, str(error)) from None
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise _wrong(path, "wants tables [[network]]")
    for number, table in enumerate(tables, 1):
        yield f"network {number}", table


def _wrong(path: Path, what: str) -> Problem:
    return Problem("bad_settings", f"steering.routes_files: {path} {what}.")

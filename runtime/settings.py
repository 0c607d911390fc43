"""Settings: flag > NEARCAST_ROOM__KEY > nearcast.toml > default. Unknown keys are errors.

Each room declares a `Settings` model (its keys, types, bounds and defaults); `nearcast.toml` has
one table per room. Nested tables and lists are written as JSON in the environment.
"""

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from runtime.errors import Problem


class Settings(BaseModel):
    """Base of every room's settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


S = TypeVar("S", bound=BaseModel)


def load(
    model: type[S],
    room: str,
    *,
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> S:
    """The room's settings. Raises Problem `bad_settings` with one sentence that names the key."""
    given = _from_file(file, room)
    given |= _from_environment(os.environ if environ is None else environ, room)
    given |= {key: value for key, value in (flags or {}).items() if value is not None}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise Problem("bad_settings", f"There is no setting {room}.{key}.") from None
        raise Problem("bad_settings", f"The setting {room}.{key}: {first['msg']}.") from None


def _from_file(file: Path | None, room: str) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        tables = tomllib.loads(file.read_text())
    except OSError as error:
        raise Problem("bad_settings", f"{file} cannot be read: {error.strerror}.") from None
    except tomllib.TOMLDecodeError as error:
        raise Problem("bad_settings", f"{file} is not TOML: {error}.") from None
    table = tables.get(room, {})
    if not isinstance(table, dict):
        raise Problem("bad_settings", f"{file}: [{room}] is not a table.")
    return table


def _from_environment(environ: Mapping[str, str], room: str) -> dict[str, Any]:
    prefix = f"NEARCAST_{room.upper()}__"
    return {
        name.removeprefix(prefix).lower(): _value(text)
        for name, text in environ.items()
        if name.startswith(prefix)
    }


def _value(text: str) -> Any:
    """JSON where it is JSON of a list or table, else the text, which pydantic converts."""
    if text[:1] in "[{":
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text

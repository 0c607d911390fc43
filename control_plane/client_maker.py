"""Makes `runtime/control_api.py`, the typed client of this API, from the route table.

Run it after a change of routes: `python -m control_plane.client_maker`.
"""

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel

import runtime
from control_plane.http_accounts import AccountsHttp
from control_plane.http_artwork import ArtworkHttp
from control_plane.http_catalog import CatalogHttp
from control_plane.http_fleet import FleetHttp
from control_plane.http_jobs import JobsHttp
from control_plane.http_playback import PlaybackHttp
from control_plane.http_self import SelfHttp
from control_plane.http_uploads import UploadsHttp
from control_plane.routes import table
from runtime.api import Route
from runtime.openapi import operation_of

MODULE = Path(runtime.__file__).with_name("control_api.py")
COMMAND = "python -m control_plane.client_maker"

_WIDTH = 100
_METHOD = " " * 4
_BODY = " " * 8
T = TypeVar("T")

_HEAD = f'''"""The control plane's API, one method per operation.

Made of the route table by `{COMMAND}`; not to be changed by hand.
"""

from urllib.parse import quote

'''

_CLASS = '''

class ControlApi:
    """Calls of the control plane through a client, by its tokens and time-outs; `timeout_s` is for
    the whole of one call. A keyword that is None is not sent. All raise Problem, also for what may
    go wrong with any call: that nobody is signed in, say."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def __aenter__(self) -> "ControlApi":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
'''

_TAIL = '''

def _part(value: str) -> str:
    """The value as one segment of a path. Raises Problem for one that would lead elsewhere."""
    if value in ("", ".", ".."):
        raise Problem("not_found", f"There is nothing called {value!r}.")
    return quote(value, safe="")


def _given(**fields: str | float | None) -> dict[str, str]:
    """The query: only what is given."""
    return {name: str(value) for name, value in fields.items() if value is not None}
'''


def routes() -> list[Route]:
    """The route table, of handlers that serve nothing: only their names are looked at."""
    return table(
        _idle(AccountsHttp),
        _idle(CatalogHttp),
        _idle(ArtworkHttp),
        _idle(UploadsHttp),
        _idle(JobsHttp),
        _idle(PlaybackHttp),
        _idle(FleetHttp),
        _idle(SelfHttp),
    )


def has_method(route: Route) -> bool:
    """Whether the client has a method for it. It has none for streams, in either direction (who
    PUTs to a route that names no body sends bytes as they come: `Client.send`), nor for what only
    browsers ask."""
    streams = route.media_type == "text/event-stream"
    streams |= route.method == "PUT" and route.body is None and route.takes is None
    return not streams and route.method != "OPTIONS"


def module_of(routes: Sequence[Route]) -> str:
    """The text of the module, formatted as the house formats. Raises ValueError for two operations
    of one name, TypeError for a query that no address can carry."""
    named = [route for route in routes if has_method(route)]
    names = [operation_of(route) for route in named]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"several operations are called {', '.join(twice)}")
    everywhere = set.intersection(*(set(route.errors) for route in named if route.answer))
    methods = [_method(route, everywhere) for route in named]
    return _HEAD + _imports(named) + _CLASS + "".join(f"\n{one}" for one in methods) + _TAIL


def _imports(routes: Sequence[Route]) -> str:
    models = {model for route in routes for model in (route.body, route.answer) if model}
    modules: dict[str, list[str]] = {"runtime.client": ["Client"], "runtime.errors": ["Problem"]}
    for model in models:
        modules.setdefault(model.__module__, []).append(model.__name__)
    lines = []
    for module, names in sorted(modules.items()):
        line = f"from {module} import {', '.join(sorted(names))}"
        if len(line) > _WIDTH:
            listed = "".join(f"    {name},\n" for name in sorted(names))
            line = f"from {module} import (\n{listed})"
        lines.append(f"{line}\n")
    return "".join(lines)


def _method(route: Route, everywhere: set[str]) -> str:
    in_path = re.findall(r"{(\w+)}", route.path)
    query = {} if route.query is None else _fields(route.query)
    signature = ["self", *(f"{name}: str" for name in in_path)]
    path = re.sub(r"{(\w+)}", r"{_part(\1)}", route.path)
    call = [f'"{route.method}"', f'{"f" if in_path else ""}"{path}"']
    if route.answer is not None:
        call.append(route.answer.__name__)
    if route.body is not None:
        signature.append(f"body: {route.body.__name__}")
        call.append("body=body")
    elif route.takes is not None:
        signature.append("data: bytes")
        call.append("body=data")
    signature.append("*")
    signature += [f"{name}: {kind} | None = None" for name, kind in query.items()]
    signature.append("timeout_s: float | None = None")
    if query:
        call.append(f"query=_given({', '.join(f'{name}={name}' for name in query)})")
    call.append("timeout_s=timeout_s")
    answer, start = _answer(route)
    return (
        _bracketed(f"{_METHOD}async def {operation_of(route)}(", signature, f") -> {answer}:")
        + _docstring(route, everywhere)
        + _bracketed(f"{_BODY}{start}(", call, ")")
    )


def _answer(route: Route) -> tuple[str, str]:
    """The type of the answer, and the statement that gets it, up to its arguments."""
    if route.answer is not None:
        return route.answer.__name__, "return await self.client.call"
    if route.media_type is not None:
        return "bytes", "return await self.client.call_raw"
    return "None", "await self.client.call_raw"


def _docstring(route: Route, everywhere: set[str]) -> str:
    codes = ", ".join(f"`{code}`" for code in route.errors if code not in everywhere)
    text = f'"""{route.summary}.' + (f" Raises Problem {codes}." if codes else "") + '"""'
    lines = textwrap.wrap(text, _WIDTH - len(_BODY), break_on_hyphens=False)
    return "".join(f"{_BODY}{line}\n" for line in lines)


def _fields(model: type[BaseModel]) -> dict[str, str]:
    """The query's names and the types of their values."""
    return {
        field.alias or name: _kind(field.annotation) for name, field in model.model_fields.items()
    }


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    if annotation in (str, int, float):
        return str(annotation.__name__)
    among = [one for one in get_args(annotation) if one is not NoneType]
    if len(among) != 1:
        raise TypeError(f"{annotation} is no type of a query")
    return _kind(among[0])


def _bracketed(start: str, parts: Sequence[str], end: str) -> str:
    """A bracket on one line, or its parts on one line of their own, or each on its own."""
    line = f"{start}{', '.join(parts)}{end}"
    if len(line) <= _WIDTH:
        return f"{line}\n"
    indent = " " * (len(start) - len(start.lstrip()))
    inner = f"{indent}    {', '.join(parts)}"
    if len(inner) <= _WIDTH:
        return f"{start}\n{inner}\n{indent}{end}\n"
    listed = "".join(f"{indent}    {part},\n" for part in parts)
    return f"{start}\n{listed}{indent}{end}\n"


def _idle(kind: type[T]) -> T:
    return kind.__new__(kind)


if __name__ == "__main__":
    MODULE.write_text(module_of(routes()))

"""`nearcast trace`: what a cache would have held of a trace."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer
from rich.table import Table

from appliance.evict import Admission, PolicyName
from lab.replay import Cache, replay
from lab.trace import Format, format_of, read
from runtime.console import JsonOption, out, perform, print_json
from runtime.errors import Problem

_POLICIES: tuple[PolicyName, ...] = get_args(PolicyName)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_UNITS = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?) ?([kmgt]?i?)b?", re.IGNORECASE)

app = typer.Typer()
trace = typer.Typer(
    help="Traces of requests.\n\nExample: nearcast trace replay requests.csv --bytes 10GB",
    no_args_is_help=True,
)
app.add_typer(trace, name="trace")


@app.callback()
def _room() -> None:
    """Commands of the lab."""


@trace.command("replay")
def replay_trace(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="time_s,key,bytes, or oracleGeneral")
    ],
    size: Annotated[str, typer.Option("--bytes", help="Of the cache, such as 500MB or 2GiB.")],
    policy: Annotated[
        list[str] | None,
        typer.Option("--policy", help="lru, sieve or s3fifo; may be given again; else all."),
    ] = None,
    admission: Annotated[str, typer.Option("--admission", help="all or second_hit.")] = "all",
    kind: Annotated[
        str, typer.Option("--format", help="csv or oracle; else told by the name.")
    ] = "",
    json: JsonOption = False,
) -> None:
    """Replay a trace through the caches that ship, and count hits.

    A trace is CSV with the columns time_s, key and bytes, or libCacheSim's oracleGeneral. A miss is
    held at once.

    Example: nearcast trace replay requests.csv --policy lru --bytes 10GB
    """

    async def run() -> dict[str, Any]:
        return _replayed(file, size, policy or [], admission, kind)

    said = perform(run(), json=json)
    if json:
        print_json(said)
    else:
        _show(said)


def _replayed(
    file: Path, size: str, policies: list[str], admission: str, kind: str
) -> dict[str, Any]:
    for given, known in (
        *((name, _POLICIES) for name in policies),
        (admission, get_args(Admission)),
        (kind or format_of(file), get_args(Format)),
    ):
        if given not in known:
            raise Problem("bad_request", f"There is no {given!r}; there are {', '.join(known)}.")
    budget_bytes = bytes_of(size)
    names = cast("list[PolicyName]", policies) or _POLICIES
    caches = {
        name: Cache(name, budget_bytes, admission=cast("Admission", admission)) for name in names
    }
    try:
        replay(read(file, cast("Format", kind) or format_of(file)), caches.values())
    except (ValueError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise Problem("bad_request", f"{file} is no trace that can be replayed: {why}.") from None
    rows = [{"policy": name} | asdict(cache.counts) for name, cache in caches.items()]
    return {"budget_bytes": budget_bytes, "admission": admission, "rows": rows}


def bytes_of(text: str) -> int:
    """`10GB` is 10**10, `1GiB` is 2**30. Raises Problem `bad_request`."""
    if (said := _SIZE.fullmatch(text.strip())) is None:
        raise Problem("bad_request", f"{text!r} is no size; 10GB is one.")
    unit = said[2].lower()
    if unit == "i" or (count := int(float(said[1]) * (_UNITS | _BINARY_UNITS)[unit])) < 1:
        raise Problem("bad_request", f"{text!r} is no size; 10GB is one.")
    return count


def _show(said: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("policy", "requests", "hits", "of requests", "of bytes", "evictions"):
        table.add_column(heading, justify="left" if heading == "policy" else "right")
    for row in said["rows"]:
        table.add_row(
            row["policy"],
            f"{row['requests']:,}",
            f"{row['hits']:,}",
            f"{row['hits'] / max(1, row['requests']):.2%}",
            f"{row['hit_bytes'] / max(1, row['bytes']):.2%}",
            f"{row['evictions']:,}",
        )
    out.print(table)

"""`nearcast bench`: us beside our peers, on this machine."""

import enum
from typing import Annotated

import typer
from rich.table import Table

from lab import machine
from lab.bench import Row, document, failed
from runtime.console import JsonOption, err, out, perform, print_json
from runtime.log import configure

app = typer.Typer()
bench = typer.Typer(help="Us beside our peers, on this machine.", no_args_is_help=True)
app.add_typer(bench, name="bench")


class Peer(enum.StrEnum):
    """Whom we are measured against."""

    nginx = "nginx"
    varnish = "varnish"


@app.callback()
def _room() -> None:
    """Commands of the lab."""


@bench.command()
def serve(
    against: Annotated[Peer, typer.Option("--against", help="The peer.")] = Peer.nginx,
    case: Annotated[
        list[str] | None, typer.Option("--case", help="Only this case; may be given again.")
    ] = None,
    pairs: Annotated[int, typer.Option("--pairs", min=1, help="Alternating pairs.")] = 5,
    seconds: Annotated[int, typer.Option("--seconds", min=1, help="Of each reading.")] = 3,
    json: JsonOption = False,
) -> None:
    """Serve files that are held: requests, latency and CPU beside a peer that does the same work.

    Ends with 1 when a bar is missed.

    Example: nearcast bench serve --against nginx --case 64k --case 1m
    """
    from lab.serve import bench_serve
    from lab.stand import Effort

    configure("lab", "bench", "error")
    with err.status("Starting …") as status:
        rows = perform(
            bench_serve(
                against.value,
                case or [],
                Effort(pairs, seconds),
                lambda name: status.update(f"Measuring {name} …"),
            ),
            json=json,
        )
    _tell("serve", rows, json)


def _tell(name: str, rows: list[Row], json: bool) -> None:
    if json:
        print_json(document(name, machine.describe(), rows))
    else:
        out.print(_table(rows))
    if failed(rows):
        raise typer.Exit(1)


def _table(rows: list[Row]) -> Table:
    peers = " / ".join(sorted({row.peer_name for row in rows}))
    table = Table("", "case", "unit", "ours", peers, "ratio", "min – max", "bar")
    marks = {True: "[green]✓[/green]", False: "[red]✗[/red]", None: "–"}
    for row in rows:
        if row.skipped:
            table.add_row("–", row.case, row.unit, row.skipped)
            continue
        sign = "≥" if row.better == "more" else "≤"
        what = "" if row.bar_of == "ratio" else "ours "
        table.add_row(
            marks[row.ok],
            row.case,
            row.unit,
            f"{row.ours:,}",
            f"{row.peer:,}",
            f"{row.ratio}",
            f"{row.ratio_min} – {row.ratio_max}",
            "" if row.bar is None else f"{what}{sign} {row.bar:,}",
        )
    return table

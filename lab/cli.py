"""`nearcast bench`: us beside our peers, on this machine."""

import asyncio
import contextlib
import enum
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from lab import machine
from lab.bench import Effort, Row, document, failed, shown, shown_bar, shown_span
from lab.report import DOCS, write_results
from runtime.console import JsonOption, err, out, perform, print_json
from runtime.log import configure

if TYPE_CHECKING:
    from lab.chaos import Outcome

_TABLE_COLUMNS = 110

app = typer.Typer()
bench = typer.Typer(
    help="Us beside our peers, on this machine.\n\nExample: nearcast bench serve",
    no_args_is_help=True,
)
app.add_typer(bench, name="bench")


class Peer(enum.StrEnum):
    """Whom we are measured against."""

    nginx = "nginx"
    varnish = "varnish"


@app.callback()
def _room() -> None:
    """Commands of the lab."""


AgainstOption = Annotated[Peer, typer.Option("--against", help="The peer.")]
CaseOption = Annotated[
    list[str] | None, typer.Option("--case", help="Only this case; may be given again.")
]
PairsOption = Annotated[int, typer.Option("--pairs", min=1, help="Alternating pairs.")]
SecondsOption = Annotated[int, typer.Option("--seconds", min=1, help="Of each reading.")]
DocOption = Annotated[
    bool, typer.Option("--doc", help="Write the figures into docs/benchmarks.md.")
]
RunBench = Callable[
    [str, Sequence[str], Effort, Callable[[str], None]], Coroutine[Any, Any, list[Row]]
]


@bench.command()
def serve(
    against: AgainstOption = Peer.nginx,
    case: CaseOption = None,
    pairs: PairsOption = 5,
    seconds: SecondsOption = 3,
    doc: DocOption = False,
    json: JsonOption = False,
) -> None:
    """Serve files that are held: requests, latency and CPU beside a peer that does the same work.

    Ends with 1 when a bar is missed.

    Example: nearcast bench serve --against nginx --case 64k --case 1m
    """
    from lab.serve import bench_serve

    _run(
        "serve", bench_serve, against.value, case or [], Effort(pairs, seconds), doc=doc, json=json
    )


@bench.command()
def fill(
    against: AgainstOption = Peer.nginx,
    case: CaseOption = None,
    pairs: PairsOption = 5,
    seconds: SecondsOption = 2,
    doc: DocOption = False,
    json: JsonOption = False,
) -> None:
    """Bring files that nobody holds yet: distinct ones, and one that 500 clients want at once.

    Ends with 1 when a bar is missed.

    Example: nearcast bench fill --against varnish --case herd
    """
    from lab.fill import bench_fill

    _run("fill", bench_fill, against.value, case or [], Effort(pairs, seconds), doc=doc, json=json)


@bench.command()
def encode(
    film: Annotated[
        list[Path] | None,
        typer.Option("--film", exists=True, dir_okay=False, help="A film; may be given again."),
    ] = None,
    case: CaseOption = None,
    pairs: PairsOption = 5,
    json: JsonOption = False,
) -> None:
    """Encode films: wall time beside one ffmpeg command, and the film's own ladder beside the fixed
    one. Made scenes are always among the films.

    Ends with 1 when a bar is missed.

    Example: nearcast bench encode --film film.mp4 --case ladder
    """
    from lab.encode import bench_encode

    films = [path.resolve() for path in film or []]

    async def run(
        _: str, cases: Sequence[str], effort: Effort, tell: Callable[[str], None]
    ) -> list[Row]:
        return await bench_encode(films, cases, effort, tell)

    _run("encode", run, "ffmpeg", case or [], Effort(pairs, 0), doc=False, json=json)


@bench.command()
def steer(
    case: CaseOption = None,
    pairs: PairsOption = 5,
    seconds: SecondsOption = 3,
    json: JsonOption = False,
) -> None:
    """Rank appliances for viewers, and answer their players: how fast, and how evenly.

    Ends with 1 when a bar is missed.

    Example: nearcast bench steer --case rank
    """
    from lab.steer import bench_steer

    effort = Effort(pairs, seconds)
    _run("steer", bench_steer, "aiohttp", case or [], effort, doc=False, json=json)


@bench.command()
def control(
    case: CaseOption = None,
    database: Annotated[
        str, typer.Option("--database", help="An empty one, by SQLAlchemy URL; SQLite without it.")
    ] = "",
    state: Annotated[str, typer.Option("--state", help="redis://…; in memory without it.")] = "",
    pairs: PairsOption = 5,
    seconds: SecondsOption = 3,
    json: JsonOption = False,
) -> None:
    """Press play in a crowd, look at home pages, and come six times as many as are borne.

    Ends with 1 when a bar is missed.

    Example: nearcast bench control --case starts
    """
    from lab.control import Where, bench_control

    async def run(
        against: str, cases: Sequence[str], effort: Effort, tell: Callable[[str], None]
    ) -> list[Row]:
        return await bench_control(Where(database, state), cases, effort, tell)

    _run("control", run, "", case or [], Effort(pairs, seconds), doc=False, json=json)


@bench.command()
def play(
    players: Annotated[
        int, typer.Option("--players", min=1, max=20_000, help="Virtual players, in all regions.")
    ] = 1000,
    over: Annotated[
        float, typer.Option("--over", min=0, max=3600, help="Seconds in which they arrive.")
    ] = 20.0,
    speed: Annotated[
        float | None,
        typer.Option(
            "--speed",
            min=0.1,
            max=100,
            help="Of their clocks; else a film takes 40 s.",
        ),
    ] = None,
    buffer: Annotated[
        float, typer.Option("--buffer", min=4, max=120, help="Seconds that they load ahead.")
    ] = 20.0,
    film: Annotated[
        Path | None,
        typer.Option("--film", exists=True, dir_okay=False, help="A film; else one is made."),
    ] = None,
    film_s: Annotated[
        float, typer.Option("--film-s", min=4, max=3600, help="Seconds of the film that is made.")
    ] = 40.0,
    seed: Annotated[int, typer.Option("--seed", help="Of arrivals and regions.")] = 1,
    json: JsonOption = False,
) -> None:
    """Thousands of players watch a film of a CDN that runs for it on this machine.

    Each opens a session, chooses its rungs by BOLA, and follows steering: starts, stalls, bit rates
    and bytes are counted, and what the players themselves cost. Ends with 1 when a bar is missed.

    Example: nearcast bench play --players 2000 --over 40
    """
    import uvloop

    from lab.play import Crowd, bench_play

    crowd = Crowd(players, over, speed, buffer, seed)
    chosen_film = film.resolve() if film else None

    async def run(
        against: str, cases: Sequence[str], effort: Effort, tell: Callable[[str], None]
    ) -> list[Row]:
        with tempfile.TemporaryDirectory(prefix="nearcast-play-") as folder:
            return await bench_play(crowd, chosen_film, Path(folder), film_s, tell)

    _run("play", run, "", [], Effort(1, 0), doc=False, json=json, loop=uvloop.run)


@app.command()
def chaos(
    scenario: Annotated[
        str,
        typer.Argument(help="kill, hang, drain, partition, steering, store or control."),
    ],
    viewers: Annotated[
        int, typer.Option("--viewers", min=1, max=200, help="Virtual players from the start on.")
    ] = 6,
    buffer: Annotated[
        float, typer.Option("--buffer", min=1, max=120, help="Seconds that they load ahead.")
    ] = 10.0,
    film: Annotated[
        Path | None,
        typer.Option("--film", exists=True, dir_okay=False, help="40 s or more; else made."),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", help="A new folder that keeps logs and all; else nothing is kept."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Break a part of a CDN while people watch, and count who notices.

    A CDN of four appliances runs for it on this machine, with viewers in three regions who play in
    real time: stalls, failed requests and wrong bytes are counted. Ends with 1 when a viewer was
    let down.

    Example: nearcast chaos kill --viewers 12
    """
    from lab.chaos import document as outcome_document
    from lab.chaos import run_chaos

    configure("lab", "chaos", "error")
    with contextlib.ExitStack() as stack:
        data = keep
        if data is None:
            data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nearcast-chaos-")))
        status = stack.enter_context(err.status("Starting …"))
        run = run_chaos(
            scenario,
            data.absolute(),
            viewers=viewers,
            buffer_s=buffer,
            film=film.resolve() if film else None,
            tell=status.update,
        )
        outcome = perform(run, json=json)
    if json:
        print_json(outcome_document(outcome))
    else:
        _show_outcome(outcome)
    if outcome.complaints:
        raise typer.Exit(1)


def _show_outcome(outcome: "Outcome") -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("region", "started", "stalls", "longest", "failed", "wrong bytes", "served by"):
        right = heading in ("started", "stalls", "longest", "failed", "wrong bytes")
        table.add_column(heading, justify="right" if right else "left")
    for one in outcome.players:
        table.add_row(
            one.region,
            f"{one.startup_s:.2f} s",
            str(len(one.stalls_s)),
            f"{max(one.stalls_s, default=0.0):.2f} s",
            str(one.failed_requests),
            str(one.wrong_bytes),
            " → ".join(f"{name} ({at_s:.0f} s)" for at_s, name in one.path),
        )
    Console(highlight=False, width=max(out.width, _TABLE_COLUMNS)).print(table)
    if outcome.victim:
        moved = "nobody moved" if outcome.moved_s is None else f"all moved in {outcome.moved_s} s"
        out.print(f"{outcome.victim}: {moved}; at the end it served {outcome.returned} again.")
    for complaint in outcome.complaints:
        out.print(f"[red]✗[/red] {complaint}")
    if not outcome.complaints:
        out.print("[green]✓[/green] Nobody noticed.")


def _run(
    name: str,
    run: RunBench,
    against: str,
    cases: Sequence[str],
    effort: Effort,
    *,
    doc: bool,
    json: bool,
    loop: Callable[[Coroutine[Any, Any, list[Row]]], list[Row]] = asyncio.run,
) -> None:
    """Measures, tells and, with `doc`, writes it down."""
    configure("lab", "bench", "error")
    with err.status("Starting …") as status:

        def tell(case: str) -> None:
            status.update(f"Measuring {case} …")

        rows = perform(run(against, cases, effort, tell), json=json, run=loop)
    said = document(name, machine.describe(), rows)
    if doc:
        write_results(DOCS, against, effort, said)
    if json:
        print_json(said)
    else:
        Console(highlight=False, width=max(out.width, _TABLE_COLUMNS)).print(_table(rows))
        for row in rows:
            if row.skipped:
                out.print(f"{row.case} was left out: {row.skipped}.")
    if failed(rows):
        raise typer.Exit(1)


def _table(rows: list[Row]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("", "case", "unit", "ours", "peer", "", "ratio", "min – max", "bar"):
        right = heading in ("ours", "peer", "ratio")
        table.add_column(heading, justify="right" if right else "left", no_wrap=True)
    marks = {True: "[green]✓[/green]", False: "[red]✗[/red]", None: "–"}
    for row in rows:
        if row.skipped:
            table.add_row("–", row.case, row.unit, "", "", "", "", "", shown_bar(row))
            continue
        table.add_row(
            marks[row.ok],
            row.case,
            row.unit,
            shown(row.ours),
            shown(row.peer),
            row.peer_name,
            shown(row.ratio),
            shown_span(row),
            shown_bar(row),
        )
    return table

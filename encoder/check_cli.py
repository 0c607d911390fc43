"""`nearcast check`: conformance of a package, rule by rule."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from encoder.conformance import Conformance, RuleResult, check_package
from media.protection import ContentKey, read_licence
from runtime.console import JsonOption, out, perform, print_json
from runtime.errors import Problem

app = typer.Typer()

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="DIR|URL",
        help="A package's folder, or the address of a package, HLS playlist or MPD.",
    ),
]


@app.command()
def check(
    source: SourceArgument,
    keys: Annotated[
        Path | None,
        typer.Option("--keys", help="A Clear Key licence: what is encrypted is decoded, too."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check a package against the rules of HLS and DASH, and against its own bytes.

    Ends with 0 only when no rule fails. Advice (a rule marked "should") is shown, but is no
    failure; rules that find nothing to look at are skipped.

    Example: nearcast check ./package
    """
    found = perform(_check(source, keys), json=json)
    if json:
        print_json(found)
    else:
        out.print(_table(found))
        out.print(_summary(found))
    if not found.ok:
        raise typer.Exit(1)


async def _check(source: str, keys: Path | None) -> Conformance:
    return await check_package(source, keys=() if keys is None else _read(keys))


def _read(path: Path) -> tuple[ContentKey, ...]:
    try:
        return read_licence(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Problem("bad_request", f"{path} has no keys: {error}.") from None


def _table(found: Conformance) -> Table:
    table = Table(title=Text(found.source), title_justify="left", box=None, pad_edge=False)
    for heading in ("", "rule", "clause", "what was seen"):
        table.add_column(heading)
    for rule in found.rules:
        seen = Text(rule.seen)
        if rule.ok is False:
            seen = Text(f"{rule.sentence} ", style="bold") + seen
        table.add_row(_mark(rule), rule.id, Text(rule.clause, style="dim"), seen)
    return table


def _mark(rule: RuleResult) -> Text:
    match rule.ok, rule.severity:
        case True, _:
            return Text("pass", style="green")
        case None, _:
            return Text("skip", style="dim")
        case _, "should":
            return Text("note", style="yellow")
    return Text("FAIL", style="bold red")


def _summary(found: Conformance) -> Text:
    passed = sum(1 for rule in found.rules if rule.ok)
    skipped = sum(1 for rule in found.rules if rule.ok is None)
    text = f"{passed} of {len(found.rules)} rules pass, {skipped} skipped"
    if found.ok:
        return Text(f"{text}: the package conforms.", style="green")
    return Text(f"{text}, {len(found.failed)} fail.", style="bold red")

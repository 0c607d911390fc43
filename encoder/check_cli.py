"""`nearcast check`: conformance of a package, rule by rule."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from encoder.conformance import Conformance, RuleResult, check_package
from runtime.console import JsonOption, out, perform, print_json

app = typer.Typer()

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="DIR|URL",
        help="A package's folder, or the address of a package, HLS playlist or MPD.",
    ),
]


@app.command()
def check(source: SourceArgument, json: JsonOption = False) -> None:
    """Check a package against the rules of HLS and DASH, and against its own bytes.

    Ends with 0 only when no rule fails. Advice (a rule marked "should") is shown, but is no
    failure; rules that find nothing to look at are skipped.

    Example: nearcast check ./package
    """
    found = perform(check_package(source), json=json)
    if json:
        print_json(found)
    else:
        out.print(_table(found))
        out.print(_summary(found))
    if not found.ok:
        raise typer.Exit(1)


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

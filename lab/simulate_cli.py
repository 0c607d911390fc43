"""`nearcast simulate`: a seeded world, and what the decisions that ship make of it."""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from lab.simulate import clairvoyant
from lab.simulate.picture import picture
from lab.simulate.scenario import Scenario, read
from lab.simulate.several import Case, play_all
from lab.simulate.summary import COLUMNS, Summary, summaries
from lab.simulate.variants import VARIANTS, Variant
from runtime.console import JsonOption, err, out, perform, print_json
from runtime.errors import Problem

_USUAL = ("plan", "lru", "clairvoyant")
_MOST_CASES = 200
_MOST_SEED = 2**32
_TABLE_WIDTH = 120

T = TypeVar("T")

app = typer.Typer()


@app.callback()
def _room() -> None:
    """Commands of the lab."""


@app.command()
def simulate(
    scenario: Annotated[
        str, typer.Argument(help="isp, national, launch, outage, planet, or a TOML file.")
    ],
    variant: Annotated[
        list[str] | None,
        typer.Option(
            "--variant",
            help=f"{', '.join(VARIANTS)}; may be given again; else {', '.join(_USUAL)}.",
        ),
    ] = None,
    seed: Annotated[
        list[int] | None,
        typer.Option("--seed", min=0, max=_MOST_SEED, help="May be given again; else 1."),
    ] = None,
    days: Annotated[
        int | None, typer.Option("--days", min=1, max=366, help="After the warm-up.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", dir_okay=False, help="An SVG picture to write.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Play a seeded world with the decisions that ship: who serves, what is held, what is filled.

    Variants say what decides, and are played side by side, one on each core; clairvoyant shows
    what could have been. With several seeds, figures are medians, with the least and the most.

    Example: nearcast simulate national --variant plan --variant lru --seed 1 --seed 2 --plot n.svg
    """

    async def prepared() -> list[Case]:
        return _cases(scenario, variant or [], seed or [1], days)

    async def written(text: str) -> None:
        assert plot is not None
        try:
            plot.write_text(text)
        except OSError as error:
            raise Problem("bad_request", f"{plot} cannot be written: {error.strerror}.") from None

    async def played() -> list[Summary]:
        with _bars(quiet=json or not err.is_terminal) as tell:
            return summaries(play_all(cases, tell))

    cases = perform(prepared(), json=json)
    if plot is not None:
        perform(written(""), json=json)  # better known now than in an hour
    found = perform(played(), json=json, run=_at_once)
    world = cases[0].scenario
    if plot is not None:
        perform(written(picture(world, found)), json=json)
    if json:
        print_json(_document(world, found))
    else:
        _show(found)


def _at_once(work: Coroutine[Any, Any, T]) -> T:
    """What the work returns, which waits for nothing. asyncio would not let Ctrl-C interrupt it."""
    try:
        work.send(None)
    except StopIteration as done:
        return cast("T", done.value)
    raise RuntimeError("It waits.")


def _cases(
    name: str, variants: Sequence[str], seeds: Sequence[int], days: int | None
) -> list[Case]:
    scenario = read(name)
    if days is not None:
        clock = scenario.clock.model_copy(update={"days": days})
        scenario = scenario.model_copy(update={"clock": clock})
    if len(set(seeds)) * max(len(variants), 1) > _MOST_CASES:
        raise Problem("bad_request", f"More than {_MOST_CASES} runs are too many at once.")
    chosen: list[Variant] = []
    for wanted in dict.fromkeys(variants or _USUAL):
        if wanted not in VARIANTS:
            raise Problem(
                "bad_request", f"There is no variant {wanted!r}; there are {', '.join(VARIANTS)}."
            )
        if variants or not VARIANTS[wanted].all_knowing or clairvoyant.can_see(scenario):
            chosen.append(VARIANTS[wanted])
    return [Case(scenario, one, seed) for seed in dict.fromkeys(seeds) for one in chosen]


@contextmanager
def _bars(quiet: bool) -> Iterator[Callable[[Case, float], None]]:
    """A progress bar for each run, on standard error."""
    columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(
        TextColumn("{task.description}"), *columns, console=err, transient=True, disable=quiet
    ) as bars:
        tasks: dict[tuple[str, int], Any] = {}

        def tell(case: Case, done: float) -> None:
            key = case.variant.name, case.seed
            if key not in tasks:
                tasks[key] = bars.add_task(f"{case.variant.name}, seed {case.seed}", total=1.0)
            bars.update(tasks[key], completed=done)

        yield tell


def _document(scenario: Scenario, found: Sequence[Summary]) -> dict[str, Any]:
    return {
        "scenario": scenario.model_dump(mode="json"),
        "rows": [
            {
                "variant": one.variant,
                "about": VARIANTS[one.variant].about,
                "seeds": [outcome.seed for outcome in one.outcomes],
                "figures": {
                    column.name: None
                    if (span := one.span(column)) is None
                    else {"median": span.median, "min": span.least, "max": span.most}
                    for column in COLUMNS
                },
                "runs": [asdict(outcome) for outcome in one.outcomes],
            }
            for one in found
        ],
    }


def _show(found: Sequence[Summary]) -> None:
    table = Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), leading=int(len(found[0].outcomes) > 1)
    )
    table.add_column("variant")
    for column in COLUMNS:
        words = f"{column.title} {column.unit}".split()
        table.add_column("\n".join(words), justify="right", no_wrap=True)
    for one in found:
        table.add_row(one.variant, *(one.told(column) for column in COLUMNS))
    # Lines that a narrow terminal breaks are better than figures that are cut off.
    Console(width=max(out.width, _TABLE_WIDTH), highlight=False).print(table)
    out.print("After the warm-up. The peak is the busiest hour of each day.")

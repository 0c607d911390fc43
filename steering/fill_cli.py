"""Commands about plans and their filling: `nearcast fill status|plan|pin|unpin`."""

import re
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.console import RenderableType
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Column, Table

from media.fill_window import FillWindow
from media.fills import ApplianceFill, FillPlan, FillStatus, PackageFill, Pin, PinRequest
from media.fleet import PlanItem
from media.ids import ID
from runtime.console import DataOption, JsonOption, out, perform, print_json, signed_in, size_text
from runtime.control_api import ControlApi
from runtime.errors import Problem
from runtime.titles import all_titles, find_title

app = typer.Typer()
fill = typer.Typer(
    help="What appliances are to hold, and how far they are.\n\nExample: nearcast fill status",
    no_args_is_help=True,
)
app.add_typer(fill, name="fill")

_DEFAULT_DATA = Path(".nearcast")
_BAR = 20  # characters
_STATES = {"none": "no plan", "waiting": "waits for its hours"}
What = Annotated[
    str, typer.Argument(metavar="PACKAGE|TITLE", help="A package's id, or a title's name or id.")
]


class FillPlans(BaseModel):
    """The plans of some appliances."""

    plans: tuple[FillPlan, ...]


@fill.command()
def status(data: DataOption = _DEFAULT_DATA, json: JsonOption = False) -> None:
    """Show how far each appliance is with its plan, and which packages have copies enough.

    Example: nearcast fill status
    Example: nearcast fill status --json
    """

    async def ask() -> tuple[FillStatus, dict[str, str]]:
        async with signed_in(data) as control_plane:
            told = await control_plane.fills()
            return told, {} if json else await _names(control_plane)

    told, names = perform(ask(), json=json)
    if json:
        print_json(told)
        return
    _print_appliances(told.appliances)
    _print_packages(told.packages, names)
    listed = {package.package_id for package in told.packages}
    for pin in told.pins:
        if pin.package_id not in listed:
            out.print(f"{pin.package_id} is pinned{escape(_where(pin))}, and not published.")


@fill.command()
def plan(
    appliance_id: Annotated[
        str | None, typer.Argument(metavar="[APPLIANCE]", help="An appliance; none: all of them.")
    ] = None,
    data: DataOption = _DEFAULT_DATA,
    json: JsonOption = False,
) -> None:
    """Show what appliances are to hold, in the order in which they fill it, and why.

    Example: nearcast fill plan north-1
    """

    async def ask() -> tuple[FillPlans, dict[str, str]]:
        async with signed_in(data) as control_plane:
            if appliance_id is None:
                roster = await control_plane.fleet()
                ids = [entry.report.appliance_id for entry in roster.appliances]
            else:
                ids = [appliance_id]
            plans = [await control_plane.fill_plan(one) for one in ids]
            return FillPlans(plans=tuple(plans)), {} if json else await _names(control_plane)

    told, names = perform(ask(), json=json)
    if json:
        print_json(told)
        return
    for one in told.plans:
        _print_plan(one, names)
    if not told.plans:
        out.print("No appliance has reported yet.")


@fill.command()
def pin(
    what: What,
    site: Annotated[list[str] | None, typer.Option(help="Only there; may be given again.")] = None,
    region: Annotated[
        list[str] | None, typer.Option(help="Only there; may be given again.")
    ] = None,
    boost: Annotated[
        float,
        typer.Option(
            min=0,
            max=1_000_000,
            help="Times its bytes that viewers will take a day, until they show.",
        ),
    ] = 0.0,
    in_window: Annotated[
        bool, typer.Option("--in-window", help="Wait for the hours in which plans are filled.")
    ] = False,
    data: DataOption = _DEFAULT_DATA,
    json: JsonOption = False,
) -> None:
    """Have a package in the plans before all others, and filled at any hour.

    Example: nearcast fill pin "Big Film" --site north --site west
    """

    async def order() -> Pin:
        async with signed_in(data) as control_plane:
            asked = PinRequest(
                urgent=not in_window,
                sites=tuple(site or ()),
                regions=tuple(region or ()),
                boost=boost,
            )
            package_id = await _package(control_plane, what)
            return await control_plane.pin_package(package_id, asked)

    for one in (*(site or ()), *(region or ())):
        if not re.fullmatch(r"[a-z0-9-]{1,32}", one):
            raise typer.BadParameter(f"{one!r} is not the name of a site or region")
    made = perform(order(), json=json)
    if json:
        print_json(made)
    else:
        hours = "at any hour" if made.urgent else "in the hours for it"
        out.print(f"{made.package_id} is pinned{_where(made)}, and filled {hours}.")


@fill.command()
def unpin(what: What, data: DataOption = _DEFAULT_DATA, json: JsonOption = False) -> None:
    """Leave a package to what viewers ask for again. What is held of it stays for now.

    Example: nearcast fill unpin "Big Film"
    """

    async def order() -> str:
        async with signed_in(data) as control_plane:
            package_id = await _package(control_plane, what)
            await control_plane.unpin_package(package_id)
            return package_id

    package_id = perform(order(), json=json)
    if json:
        print_json({"package_id": package_id, "pinned": False})
    else:
        out.print(f"{package_id} is not pinned any more.")


async def _package(control_plane: ControlApi, what: str) -> str:
    """The package that is meant. Raises Problem."""
    if re.fullmatch(rf"pkg_{ID}", what):
        return what
    title = await find_title(control_plane, what)
    if title.package_id is None:
        raise Problem("title_not_ready")
    return title.package_id


async def _names(control_plane: ControlApi) -> dict[str, str]:
    """The titles' names, by id."""
    return {title.title_id: title.name async for title in all_titles(control_plane)}


def _print_appliances(appliances: tuple[ApplianceFill, ...]) -> None:
    if not appliances:
        out.print("No appliance has reported yet.")
        return
    name = Column("Appliance", no_wrap=True)
    table = Table(name, "Site", "State", "Filled", "", "Missing", "Packages", "Hours", box=None)
    for one in appliances:
        filled = max(0, one.wanted_bytes - one.missing_bytes)
        share = filled / one.wanted_bytes if one.wanted_bytes else 0.0 if one.missing_files else 1.0
        table.add_row(
            one.appliance_id,
            one.site,
            _state(one),
            _bar(share),
            f"{int(100 * share)} %",
            f"{size_text(one.missing_bytes)}, {one.missing_files} files"
            if one.missing_files
            else "nothing",
            str(one.items),
            _hours(one.window, is_open=one.window_open),
        )
    out.print(table)


def _print_packages(packages: tuple[PackageFill, ...], names: dict[str, str]) -> None:
    if not packages:
        out.print("No package is published.")
        return
    package = Column("Package", no_wrap=True)
    table = Table(package, "Title", "Size", "Copies", "Live", "Pinned", box=None)
    for one in packages:
        table.add_row(
            one.package_id,
            escape(names.get(one.title_id, one.title_id)),
            size_text(one.total_bytes),
            f"{one.held_by} of {one.wanted_by}",
            "live" if one.live else "not yet",
            "" if one.pin is None else f"yes{_where(one.pin)}",
        )
    out.print(table)


def _print_plan(plan: FillPlan, names: dict[str, str]) -> None:
    size = size_text(sum(item.bytes for item in plan.items))
    rate = "" if plan.rate_bps is None else f", at most {plan.rate_bps / 1e6:g} Mbit/s"
    out.print(
        f"[bold]{plan.appliance_id}[/bold]: {len(plan.items)} packages, {size}, "
        f"{_hours(plan.window) or 'at any hour'}{rate}"
    )
    _print_items(plan.items, names)
    if plan.left_out:
        out.print("Left out, what would come next:")
        _print_items(plan.left_out, names)


def _print_items(items: tuple[PlanItem, ...], names: dict[str, str]) -> None:
    if not items:
        return
    package = Column("Package", no_wrap=True)
    table = Table("", package, "Title", "Size", "Of it", "First from", "Why", box=None)
    for number, item in enumerate(items, 1):
        table.add_row(
            str(number),
            item.package_id,
            escape(names.get(item.title_id, item.title_id)),
            size_text(item.bytes),
            "all" if item.renditions is None else f"{len(item.renditions)} renditions",
            ", ".join(item.sources),
            escape(_why(item)),
        )
    out.print(table)


def _why(item: PlanItem) -> str:
    return ", ".join(filter(None, (item.why, "urgent" if item.urgent else "")))


def _state(one: ApplianceFill) -> str:
    if not one.alive:
        return "silent"
    told = _STATES.get(one.state, one.state)
    return told if one.is_current else f"{told} (an older plan)"


def _bar(share: float) -> RenderableType:
    """Where a person looks."""
    return ProgressBar(total=1.0, completed=share, width=_BAR) if out.is_terminal else ""


def _hours(window: FillWindow | None, *, is_open: bool | None = None) -> str:
    if window is None:
        return ""
    now = "" if is_open is None else ", open" if is_open else ", shut"
    return f"{window}{now}"


def _where(pin: Pin) -> str:
    places = (*pin.sites, *pin.regions)
    return f" at {', '.join(places)}" if places else ""

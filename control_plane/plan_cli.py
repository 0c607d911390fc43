"""Commands of plans: what accounts may play."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from media.accounts import Plan, PlanLimits, Plans
from runtime.api import valid
from runtime.console import DataOption, JsonOption, out, perform, print_json, signed_in

app = typer.Typer(no_args_is_help=True, add_completion=False)
plan_app = typer.Typer(
    no_args_is_help=True,
    help="What accounts may play: height, codecs, streams at once, regions.\n\n"
    "Example: nearcast plan set basic --height 720 --streams 2",
    add_completion=False,
)
app.add_typer(plan_app, name="plan")

PlanArgument = Annotated[str, typer.Argument(metavar="PLAN", help="Its name.")]


class PlanCodec(StrEnum):
    """What `--codec` takes."""

    avc = "avc"
    hevc = "hevc"
    av1 = "av1"
    vp9 = "vp9"


@plan_app.command("list")
def plan_list(data: DataOption = Path(".nearcast"), json: JsonOption = False) -> None:
    """List the plans.

    Example: nearcast plan list
    """

    async def work() -> Plans:
        async with signed_in(data) as api:
            return await api.plans()

    found = perform(work(), json=json)
    if json:
        print_json(found)
    elif found.plans:
        _show(found.plans)
    else:
        out.print("There are no plans: every account may play everything.")


@plan_app.command("set")
def plan_set(
    plan: PlanArgument,
    height: Annotated[
        int | None, typer.Option("--height", help="Of pictures, at most; any without it.")
    ] = None,
    codec: Annotated[
        list[PlanCodec] | None, typer.Option("--codec", help="May be given again; any without it.")
    ] = None,
    streams: Annotated[
        int | None, typer.Option("--streams", help="At the same time; any number without it.")
    ] = None,
    region: Annotated[
        list[str] | None, typer.Option("--region", help="May be given again; any without it.")
    ] = None,
    data: DataOption = Path(".nearcast"),
    json: JsonOption = False,
) -> None:
    """Make a plan, or change one: sessions that run keep what they have.

    Example: nearcast plan set basic --height 720 --codec avc --streams 2
    """

    async def work() -> Plan:
        codecs = [one.value for one in codec or ()] or None
        limits = valid(
            PlanLimits, max_height=height, codecs=codecs, streams=streams, regions=region or None
        )
        async with signed_in(data) as api:
            return await api.put_plan(plan, limits)

    made = perform(work(), json=json)
    if json:
        print_json(made)
    else:
        _show((made,))


@plan_app.command("remove")
def plan_remove(
    plan: PlanArgument, data: DataOption = Path(".nearcast"), json: JsonOption = False
) -> None:
    """Remove a plan that no account has.

    Example: nearcast plan remove basic
    """

    async def work() -> None:
        async with signed_in(data) as api:
            await api.delete_plan(plan)

    perform(work(), json=json)
    if json:
        print_json({"name": plan})
    else:
        out.print(f"{plan} is removed.")


def _show(plans: tuple[Plan, ...]) -> None:
    table = Table("plan", "height", "codecs", "streams", "regions", box=None)
    for plan in plans:
        limits = (plan.max_height, plan.codecs, plan.streams, plan.regions)
        table.add_row(plan.name, *(_limit(limit) for limit in limits))
    out.print(table)


def _limit(limit: int | tuple[str, ...] | None) -> str:
    if limit is None:
        return "any"
    return str(limit) if isinstance(limit, int) else ", ".join(limit)

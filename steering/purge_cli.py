"""Commands about purges: `nearcast fleet purge` and `nearcast fleet purges`."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.markup import escape
from rich.table import Column, Table

from media.api import NewPurge
from media.ids import ID
from media.purges import PurgeDetails, PurgeJobs, PurgeProgress
from runtime.console import DataOption, JsonOption, out, perform, print_json, signed_in
from runtime.control_api import ControlApi
from runtime.errors import Problem
from runtime.titles import find_title, is_title_id

_LOOK_S = 0.25  # between two looks at a purge that is waited for
_PATIENCE_S = 30.0  # a service that was restarted is back by then
_AWAY = ("unavailable", "steering_unavailable")


def purge(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[TITLE|PACKAGE]", help="A title's name or id, or a package's id."),
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(help="Files to purge: * is any run, ? one character, $ escapes."),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until every appliance has obeyed.")
    ] = False,
    data: DataOption = Path(".nearcast"),
    json: JsonOption = False,
) -> None:
    """Have all appliances drop what they hold of a title, of a package, or of what a pattern
    matches in titles/{title}/{package}/{path}. What is asked for afterwards is filled anew.

    Example: nearcast fleet purge "Big Film" --wait
    Example: nearcast fleet purge --pattern 'titles/*/v-avc-720/*' --json
    """
    if (name is None) == (pattern is None):
        raise typer.BadParameter("give either a title or package, or --pattern")
    tell = _teller() if wait and not json else _say_nothing

    async def order() -> PurgeDetails:
        async with signed_in(data) as control_plane:
            target = await _target(control_plane, name, pattern)
            ordered = await control_plane.start_purge(target)
            return await _ended(control_plane, ordered, tell) if wait else ordered

    _show_purge(perform(order(), json=json), json)


def purges(
    job_id: Annotated[
        str | None, typer.Argument(metavar="[JOB]", help="One of them, appliance by appliance.")
    ] = None,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Who has not begun it never will.")
    ] = False,
    data: DataOption = Path(".nearcast"),
    json: JsonOption = False,
) -> None:
    """List purges, show one, or cancel it.

    Example: nearcast fleet purges
    Example: nearcast fleet purges job_01jd0000000000000000000000 --cancel
    """
    if job_id is None:
        if cancel:
            raise typer.BadParameter("name the purge to cancel")
        _list_purges(data, json)
        return
    if not re.fullmatch(rf"job_{ID}", job_id):
        raise typer.BadParameter(f"{job_id} is not the id of a purge")

    async def ask() -> PurgeDetails:
        async with signed_in(data) as control_plane:
            if cancel:
                return await control_plane.cancel_purge(job_id)
            return await control_plane.purge(job_id)

    _show_purge(perform(ask(), json=json), json)


def _list_purges(data: Path, json: bool) -> None:
    async def ask() -> PurgeJobs:
        async with signed_in(data) as control_plane:
            return await control_plane.purges()

    listed = perform(ask(), json=json)
    if json:
        print_json(listed)
        return
    job = Column("Purge", no_wrap=True)
    table = Table(job, "Of", "State", "Obeyed", "Awaited", "Files", "Ordered", box=None)
    for one in listed.purges:
        table.add_row(
            one.job_id,
            escape(str(one)) + (" (deleted)" if one.forbidden_until else ""),
            one.state,
            str(one.obeyed),
            str(one.awaited),
            str(one.files),
            f"{one.created_at:%Y-%m-%d %H:%M:%S}",
        )
    out.print(table if listed.purges else "Nothing was purged lately.")


async def _target(control_plane: ControlApi, name: str | None, pattern: str | None) -> NewPurge:
    """What is meant by a name or a pattern. Raises Problem."""
    try:
        if pattern is not None:
            return NewPurge(pattern=pattern)
        assert name is not None
        if re.fullmatch(rf"pkg_{ID}", name):
            return NewPurge(package_id=name)
        # A title that was deleted may be purged, too: its id is enough.
        is_id = is_title_id(name)
        return NewPurge(
            title_id=name if is_id else (await find_title(control_plane, name)).title_id
        )
    except ValidationError as error:
        why = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise Problem("invalid_field", f"--pattern: {why}.") from None


async def _ended(
    control_plane: ControlApi, ordered: PurgeDetails, tell: Callable[[PurgeDetails], None]
) -> PurgeDetails:
    """The purge when it is complete. Raises Problem `purge_incomplete` when it never will be. That
    steering is away for a while is no end of it."""
    seen, patient_until = ordered, asyncio.get_running_loop().time() + _PATIENCE_S
    tell(seen)
    while not seen.is_over:
        await asyncio.sleep(_LOOK_S)
        try:
            seen = await control_plane.purge(ordered.job_id)
        except Problem as problem:
            now = asyncio.get_running_loop().time()
            if problem.code not in _AWAY or now > patient_until:
                raise
        else:
            patient_until = asyncio.get_running_loop().time() + _PATIENCE_S
            tell(seen)
    if seen.state != "complete":
        raise Problem("purge_incomplete", f"{seen.job_id} {seen.state}. {seen.why}".rstrip())
    return seen


def _teller() -> Callable[[PurgeDetails], None]:
    """Says of each appliance whatever is new."""
    told: dict[str, str] = {}

    def tell(purge: PurgeDetails) -> None:
        for one in purge.appliances:
            line = _progress(one)
            if told.get(one.appliance_id) != line:
                told[one.appliance_id] = line
                out.print(f"{one.appliance_id}: {line}")

    return tell


def _say_nothing(purge: PurgeDetails) -> None:
    pass


def _progress(one: PurgeProgress) -> str:
    if one.state == "complete":
        return "complete" if one.files is None else f"complete, {one.files} files"
    return one.state if one.alive else f"{one.state}, away"


def _show_purge(purge: PurgeDetails, json: bool) -> None:
    if json:
        print_json(purge)
        return
    what = escape(str(purge))
    out.print(f"{purge.job_id}, purge of {what}: {purge.state}, {purge.files} files so far")
    for one in purge.appliances:
        out.print(f"  {one.appliance_id}: {_progress(one)}")
    if purge.why:
        out.print(escape(purge.why))

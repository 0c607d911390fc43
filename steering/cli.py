"""Commands about steering: `nearcast steer` and `nearcast fleet list|show|drain|restore`; those
about purges are in `steering.purge_cli`, those about joining in `steering.enrol_cli`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.markup import escape
from rich.table import Column, Table
from typer.core import TyperGroup

from media.api import SteerAnswer
from media.fleet import DrainRequest, Quality, Roster, RosterEntry
from runtime.console import DataOption, JsonOption, out, perform, print_json, signed_in, size_text
from runtime.errors import Problem
from runtime.titles import find_title
from steering import enrol_cli, purge_cli
from steering.decisions import Replay, read_log, replay

app = typer.Typer(help="Ask steering, and look after the appliances.")
fleet = typer.Typer(
    help="The appliances of the cluster.\n\nExample: nearcast fleet list", no_args_is_help=True
)
app.add_typer(fleet, name="fleet")
fleet.command()(purge_cli.purge)
fleet.command()(purge_cli.purges)
fleet.command()(enrol_cli.invite)
fleet.command()(enrol_cli.invitations)
fleet.command()(enrol_cli.withdraw)
fleet.command()(enrol_cli.enrol)
fleet.command()(enrol_cli.forget)

_DEFAULT_DATA = Path(".nearcast")
_CODES = {"H": "health", "C": "content", "D": "draining", "L": "load"}
Appliance = Annotated[str, typer.Argument(metavar="ID", help="The appliance's id.")]


class _TitleFirst(TyperGroup):
    """`nearcast steer TITLE` is `nearcast steer title TITLE`, which nobody has to type."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["title", *args]
        return super().parse_args(ctx, args)


steering = typer.Typer(
    cls=_TitleFirst,
    help="Which appliances would serve a viewer, and why.\n\n"
    'Example: nearcast steer "Big Film" --region north\n\n'
    "Example: nearcast steer replay .nearcast/steering/decisions.jsonl --without north-1",
    no_args_is_help=True,
)
app.add_typer(steering, name="steer")


@steering.command("title")
def steer(
    title: Annotated[str, typer.Argument(help="The title's id, or its name.")],
    region: Annotated[str | None, typer.Option(help="Rank for a viewer in this region.")] = None,
    client: Annotated[str | None, typer.Option(help="Rank for this client address.")] = None,
    data: DataOption = _DEFAULT_DATA,
    json: JsonOption = False,
) -> None:
    """Show which appliances would serve a viewer of TITLE, and why.

    Example: nearcast steer "Big Film" --region north
    Example: nearcast steer ttl_01jd0000000000000000000000 --client 192.0.2.7 --json
    """
    if (region is None) == (client is None):
        raise typer.BadParameter("give either --region or --client")

    async def ask() -> SteerAnswer:
        async with signed_in(data) as control_plane:
            found = await find_title(control_plane, title)
            return await control_plane.steer_title(found.title_id, region=region, client=client)

    answer = perform(ask(), json=json)
    if json:
        print_json(answer)
    else:
        _print_ranking(answer)


@steering.command("replay")
def replay_log(
    log: Annotated[
        list[Path],
        typer.Argument(exists=True, dir_okay=False, help="Decision logs, the oldest first."),
    ],
    without: Annotated[
        list[str] | None,
        typer.Option("--without", metavar="ID", help="As if this appliance had been dead."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Take all decisions of a log once more, and tell what would have happened in an outage.

    Without --without every decision is as it was, or steering has changed since.

    Example: nearcast steer replay .nearcast/steering/decisions.jsonl --without north-1
    """

    async def run() -> Replay:
        try:
            return replay(read_log(log), without or ())
        except (ValueError, OSError) as error:
            raise Problem("bad_request", f"{error}.") from None

    found = perform(run(), json=json)
    if json:
        print_json(
            asdict(found)
            | {
                "by_appliance": {
                    name: share._asdict() for name, share in found.by_appliance.items()
                }
            }
        )
    else:
        _print_replay(found)


@fleet.command("list")
def list_appliances(data: DataOption = _DEFAULT_DATA, json: JsonOption = False) -> None:
    """List all appliances, dead ones too.

    Example: nearcast fleet list --json
    """
    roster = perform(_roster(data), json=json)
    if json:
        print_json(roster)
        return
    table = Table(
        Column("Appliance", no_wrap=True),
        *("Site", "Region", "State", "Load", "Packages", "Disk", "Heard"),
        box=None,
    )
    for entry in roster.appliances:
        report = entry.report
        table.add_row(
            report.appliance_id,
            report.site,
            entry.region,
            _state(entry),
            f"{report.load:.2f}",
            str(entry.packages_held),
            f"{size_text(report.used_bytes)} / {size_text(report.budget_bytes)}",
            f"{entry.age_s:.0f} s ago",
        )
    out.print(table if roster.appliances else "No appliance has reported yet.")


@fleet.command()
def show(
    appliance_id: Appliance, data: DataOption = _DEFAULT_DATA, json: JsonOption = False
) -> None:
    """Show everything that one appliance reports.

    Example: nearcast fleet show north-1
    """

    async def find() -> RosterEntry:
        for entry in (await _roster(data)).appliances:
            if entry.report.appliance_id == appliance_id:
                return entry
        raise Problem("unknown_appliance", f"There is no appliance {appliance_id}.")

    entry = perform(find(), json=json)
    if json:
        print_json(entry)
        return
    table = Table("Field", "Value", title=f"{appliance_id}: {_state(entry)}", box=None)
    for field, value in _flat(entry).items():
        table.add_row(field, escape(_told(value)))
    out.print(table)
    out.print(how_it_plays(entry.report.quality))


@fleet.command()
def drain(
    appliance_id: Appliance, data: DataOption = _DEFAULT_DATA, json: JsonOption = False
) -> None:
    """Send no more viewers to an appliance; those who play there move on.

    Example: nearcast fleet drain north-1
    """
    _set_drain(appliance_id, True, data, json)


@fleet.command()
def restore(
    appliance_id: Appliance, data: DataOption = _DEFAULT_DATA, json: JsonOption = False
) -> None:
    """Let a drained appliance have viewers again.

    Example: nearcast fleet restore north-1
    """
    _set_drain(appliance_id, False, data, json)


async def _roster(data: Path) -> Roster:
    async with signed_in(data) as control_plane:
        return await control_plane.fleet()


def _set_drain(appliance_id: str, draining: bool, data: Path, json: bool) -> None:
    async def change() -> None:
        async with signed_in(data) as control_plane:
            await control_plane.drain_appliance(appliance_id, DrainRequest(draining=draining))

    perform(change(), json=json)
    if json:
        print_json({"appliance_id": appliance_id, "draining": draining})
    elif draining:
        out.print(f"{appliance_id} gets no new viewers; those who play there move on.")
    else:
        out.print(f"{appliance_id} gets viewers again.")


def _print_replay(found: Replay) -> None:
    lost = f" without {', '.join(found.without)}" if found.without else ""
    out.print(
        f"{found.decisions} decisions{lost}: {found.same} as they were, {found.moved} viewers "
        f"elsewhere, {found.farther} of them at another site, {found.stranded} nowhere."
    )
    if not found.by_appliance:
        return
    table = Table("Appliance", "First then", "First now", "Load", box=None)
    for name, share in found.by_appliance.items():
        load = found.most_load.get(name)
        table.add_row(
            name, str(share.then), str(share.now), "" if load is None else f"≤ {load:.2f}"
        )
    out.print(table)


def _print_ranking(answer: SteerAnswer) -> None:
    where = answer.region if answer.site is None else f"{answer.region}, site {answer.site}"
    name = Column("Appliance", no_wrap=True)
    table = Table("", name, "Site", "Score", "Why", title=f"Viewer in region {where}", box=None)
    for number, pathway in enumerate(answer.pathways, 1):
        table.add_row(
            str(number),
            pathway.appliance_id,
            pathway.site,
            f"{pathway.score:.2f}",
            escape(", ".join(pathway.reasons)),
        )
    for skipped in answer.skipped:
        why = escape(f"{_CODES[skipped.code]}: {skipped.why}")
        table.add_row(skipped.code, skipped.appliance_id, "", "", why, style="dim")
    out.print(table)
    if not answer.pathways:
        out.print("No appliance can serve this title now.")


def how_it_plays(quality: Quality) -> str:
    """One sentence of what players have said of an appliance since it booted."""
    if quality.requests == 0:
        return "Players: none has said how it plays (CMCD) since this boot."
    said = [
        f"{quality.sessions} sessions",
        f"{quality.starved_requests / quality.requests:.2%} of requests with an empty buffer",
    ]
    if quality.starved_sessions:
        said.append(f"{quality.starved_sessions} sessions stalled")
    if quality.startups:
        said.append(f"start-up {quality.startup_ms / quality.startups / 1000:.1f} s")
    if quality.buffers:
        said.append(f"buffer {quality.buffer_ms / quality.buffers / 1000:.1f} s")
    if quality.throughputs:
        said.append(f"throughput {quality.throughput_kbps / quality.throughputs / 1000:.1f} Mbit/s")
    return f"Players: {', '.join(said)}."


def _told(value: object) -> str:
    """A field's value for people: messages in a list are one line each."""
    if isinstance(value, tuple):
        return "\n".join(_told(one) for one in value) or "none"
    if isinstance(value, BaseModel):
        return ", ".join(f"{name} {_told(part)}" for name, part in value)
    return str(value)


def _state(entry: RosterEntry) -> str:
    if not entry.alive:
        return "out" if entry.report.state == "out" else "silent"
    return "draining" if entry.draining else entry.report.state


def _flat(model: BaseModel, prefix: str = "") -> dict[str, Any]:
    """The fields of a model; those of a model inside it carry its name."""
    fields: dict[str, Any] = {}
    for name, value in model:
        if isinstance(value, BaseModel):
            fields |= _flat(value, f"{name}.")
        else:
            fields[f"{prefix}{name}"] = value
    return fields

"""The `nearcast` command: one table of names, and the room that has each.

Rooms are imported when one of their commands runs, so that `--help` is quick and a room that
cannot be imported spoils its own commands only.
"""

import contextlib
import dataclasses
import difflib
import importlib
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from nearcast import __version__
from nearcast.settings import ClusterSettings
from runtime.console import (
    DataOption,
    JsonOption,
    err,
    out,
    perform,
    print_json,
    running_cluster,
)
from runtime.errors import Problem
from runtime.settings import load

if TYPE_CHECKING:
    from nearcast.cluster import Cluster
    from nearcast.demo import DemoResult

app = typer.Typer(add_completion=False)
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Settings, such as nearcast.toml.")
]

# name -> (module, its one-line help); the module's `app` has a command or group of this name.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("nearcast.cli", "Everything on this machine: a film, a CDN, a playing page."),
    "up": ("nearcast.cli", "The local cluster, until Ctrl-C."),
    "upload": ("control_plane.cli", "Upload a film, and encode it."),
    "titles": ("control_plane.cli", "List the catalog."),
    "title": ("control_plane.cli", "Show, publish, unpublish or delete a title."),
    "jobs": ("control_plane.job_cli", "List the encode jobs."),
    "job": ("control_plane.job_cli", "Show, cancel or retry an encode job."),
    "play": ("control_plane.cli", "Open a session, in ffplay or as an address."),
    "steer": ("steering.cli", "Rank the appliances for a client, with reasons."),
    "fleet": ("steering.cli", "The appliances: let them in, drain them, purge what they hold."),
    "appliance": ("nearcast.cli", "Run this machine's appliance, which was enrolled before."),
    "fill": ("steering.fill_cli", "What appliances are to hold, and how far they are."),
    "user": ("control_plane.user_cli", "The accounts: add, change, remove; the first admin."),
    "plan": ("control_plane.plan_cli", "What accounts may play."),
    "key": ("control_plane.user_cli", "Keys for programs, in place of a password."),
    "audit": ("control_plane.user_cli", "What operators and admins did."),
    "backup": ("control_plane.backup_cli", "Write what the control plane knows into a file."),
    "restore": ("control_plane.backup_cli", "Put a backup where no service runs."),
    "encode": ("encoder.cli", "Encode a film into a package; no services needed."),
    "check": ("encoder.cli", "Check a package against the standards, rule by rule."),
    "bench": ("lab.cli", "Measure us beside nginx or varnish, on this machine."),
    "trace": ("lab.trace_cli", "Replay a trace of requests through the caches that ship."),
    "simulate": ("lab.simulate_cli", "Play a seeded world with the decisions that ship."),
    "chaos": ("lab.cli", "Break a part while people watch, and count who notices."),
    "doctor": ("nearcast.cli", "What this machine has and lacks, and how to get it."),
}


def main() -> None:
    """Runs the command that the arguments name."""
    arguments = sys.argv[1:]
    name = arguments[0] if arguments else "--help"
    if name in COMMANDS:
        room = importlib.import_module(COMMANDS[name][0]).app
        typer.main.get_group(room)(args=arguments, prog_name="nearcast")
    elif name in ("--help", "-h"):
        _help()
    elif name == "--version":
        print(__version__)
    else:
        close = difflib.get_close_matches(name, COMMANDS, 1)
        hint = (
            f" Did you mean `nearcast {close[0]}`?" if close else " `nearcast --help` lists them."
        )
        err.print(f"[red]error:[/red] There is no command {name!r}.{hint}")
        sys.exit(2)


def _help() -> None:
    table = Table(box=None, show_header=False, padding=(0, 2))
    for name, (_, line) in COMMANDS.items():
        table.add_row(f"[bold]{name}[/bold]", line)
    out.print("Nearcast: a video pipeline with its own CDN.\n\nUsage: nearcast COMMAND …\n")
    out.print(table)
    out.print("\nExample: nearcast up, then nearcast upload film.mp4 --title Film --wait")
    out.print("Each command explains itself: nearcast COMMAND --help")


@app.command()
def demo(
    film: Annotated[Path | None, typer.Option("--film", help="Your own film.")] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Check a play end to end, print the result, and exit.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Data folder; with --once a fresh temporary one by default."),
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Everything on this machine: store, control plane, steering, encoder, four appliances.

    Example: nearcast demo --film holiday.mp4
    """
    from nearcast.demo import run_demo

    settings = _settings(config, json)
    with contextlib.ExitStack() as stack:
        if data is None and once:
            data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nearcast-demo-")))
        result = perform(
            run_demo(film, data or Path(".nearcast"), settings, config, once), json=json
        )
    if result is not None:
        if json:
            print_json(result)
        else:
            _show_result(result)
        raise typer.Exit(0 if result.ok else 1)


@app.command()
def up(
    appliances: Annotated[
        int, typer.Option("--appliances", min=1, max=60, help="How many, dealt over the sites.")
    ] = 4,
    data: DataOption = Path(".nearcast"),
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """The local cluster, until Ctrl-C.

    Example: nearcast up --appliances 6 --data /tmp/cluster
    """
    from nearcast.cluster import Cluster, until_interrupted

    settings = _settings(config, json)

    async def run() -> None:
        cluster = Cluster(data, appliances, settings, config)
        with err.status("Starting …") as status:
            await cluster.start(lambda part: status.update(f"Starting {part} …"))
        try:
            _announce(cluster, json)
            await until_interrupted()
        finally:
            await cluster.stop()

    perform(run(), json=json)


@app.command()
def appliance(
    appliance_id: Annotated[str, typer.Argument(metavar="ID", help="As it was enrolled.")],
    data: Annotated[
        Path, typer.Option("--data", help="Its data folder, which `nearcast fleet enrol` wrote.")
    ] = Path("/var/lib/nearcast"),
    json: JsonOption = False,
) -> None:
    """Run this machine's appliance, until SIGTERM. `nearcast fleet enrol` comes first.

    Example: nearcast appliance west-3 --data /var/lib/nearcast
    """
    from runtime.enrolment import CONFIG, credentials_of

    async def prepared() -> dict[str, str]:
        if not (data / "secrets" / f"{appliance_id}.key").exists():
            raise Problem(
                "bad_settings",
                f"{data} has no key of {appliance_id}: `nearcast fleet enrol` makes it.",
            )
        return credentials_of(data)

    credentials = perform(prepared(), json=json)
    argv = [sys.executable, "-m", "appliance", f"--data={data}", f"--instance={appliance_id}"]
    os.execve(sys.executable, [*argv, f"--config={data / CONFIG}"], credentials | os.environ)


@app.command()
def doctor(json: JsonOption = False) -> None:
    """What this machine has and lacks, and how to get it.

    Example: nearcast doctor --json
    """
    from nearcast import doctor as examination

    findings = examination.examine()
    fine = examination.ok(findings)
    if json:
        print_json({"ok": fine, "findings": [dataclasses.asdict(f) for f in findings]})
    else:
        out.print(examination.as_table(findings))
    raise typer.Exit(0 if fine else 1)


def _settings(config: Path | None, json: bool) -> ClusterSettings:
    async def read() -> ClusterSettings:
        return load(ClusterSettings, "nearcast", file=config)

    return perform(read(), json=json)


def _announce(cluster: "Cluster", json: bool) -> None:
    if json:
        print_json(running_cluster(cluster.data))
        sys.stdout.flush()
        return
    out.print(f"Control plane and pages: [bold]{cluster.control_url}/[/bold]")
    out.print(f"Steering:                {cluster.steering_url}")
    for place in cluster.places:
        url = cluster.appliances[place.appliance_id].urls["data"]
        out.print(f"Appliance {place.appliance_id:14} {url}  (site {place.site})")
    out.print(f"The admin's name and password: {cluster.data / 'secrets' / 'admin.json'}")
    out.print("\nNext: nearcast upload FILE --title NAME --wait.  Ctrl-C ends everything.")


def _show_result(result: "DemoResult") -> None:
    table = Table("region", "pathways", "segments", "MB", "first segment", "decode errors")
    for region in result.regions:
        table.add_row(
            region.region,
            " → ".join(region.pathways),
            str(region.segments),
            f"{region.bytes / 1e6:.1f}",
            f"{region.first_segment_ms} ms",
            str(region.decode_errors),
        )
    out.print(table)
    out.print(f"Published after {result.published_s} s, filled after {result.filled_s} s.")
    if result.failover_ms is not None:
        out.print(f"{result.killed} was killed in mid-play: on after {result.failover_ms} ms.")
    out.print("[green]ok[/green]" if result.ok else "[red]not ok[/red]")

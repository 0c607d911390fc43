"""`nearcast backup` and `nearcast restore`: what the control plane knows, in one file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.filesize import decimal

from runtime.console import DataOption, JsonOption, out, perform, print_json
from runtime.log import configure
from runtime.settings import load

if TYPE_CHECKING:
    from control_plane.backup import Made
    from control_plane.restore import Restored

app = typer.Typer(no_args_is_help=True, add_completion=False)
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Settings, such as nearcast.toml.")
]


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .tar.gz to make.")],
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if there is one.")] = False,
    data: DataOption = Path(".nearcast"),
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Write what the control plane knows into one private file, while it runs.

    It has the database (accounts, titles, jobs, sessions, histories, the audit log) and the secrets
    in the data folder, without which nobody could sign in and no encrypted title would play; and
    what steering told the appliances, and what is pinned, when it has the same folder. Keep it
    where secrets are kept.

    It has no films: copy the object store, too (the folder store/ of the data folder, or the
    bucket: masters/ and titles/), afterwards, so that it has everything that the backup names.

    Example: nearcast backup nearcast-monday.tar.gz --data .nearcast
    """

    async def work() -> "Made":
        from control_plane.backup import make_backup
        from control_plane.clock import utc_now
        from control_plane.settings import ControlPlaneSettings

        configure("control_plane", "cli", "error")
        settings = load(ControlPlaneSettings, "control_plane", file=config)
        return await make_backup(file, settings, data, utc_now(), replace=force)

    made = perform(work(), json=json)
    manifest = made.manifest
    if json:
        print_json(
            {
                "file": str(made.path),
                "bytes": made.bytes,
                "created_at": manifest.model_dump(mode="json")["created_at"],
                "revision": manifest.revision,
                "tables": {name: table.rows for name, table in manifest.tables.items()},
                "secrets": manifest.secrets(),
            }
        )
    else:
        rows = sum(table.rows for table in manifest.tables.values())
        out.print(
            f"{made.path}: {rows:,} rows and {len(manifest.secrets())} secrets, "
            f"{decimal(made.bytes)}. The films are not in it: copy the store, too."
        )


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `nearcast backup` made.")],
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace the database and the secrets that are there."),
    ] = False,
    data: DataOption = Path(".nearcast"),
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Put a backup where no service runs: all of it, or nothing.

    The settings name the database, which need not be of the kind that the backup was made from. The
    keys of machines that are there already stay, for their fleet knows them. The films have to be
    in the store: copy them back before.

    Example: nearcast restore nearcast-monday.tar.gz --data .nearcast
    """

    async def work() -> "Restored":
        from control_plane.clock import utc_now
        from control_plane.restore import restore_backup
        from control_plane.settings import ControlPlaneSettings

        configure("control_plane", "cli", "error")
        settings = load(ControlPlaneSettings, "control_plane", file=config)
        return await restore_backup(file, settings, data, utc_now(), replace=force)

    restored = perform(work(), json=json)
    manifest = restored.manifest
    if json:
        print_json(
            {
                "file": str(file),
                "created_at": manifest.model_dump(mode="json")["created_at"],
                "revision": manifest.revision,
                "tables": {name: table.rows for name, table in manifest.tables.items()},
                "replaced": list(restored.replaced),
                "kept": list(restored.kept),
            }
        )
        return
    rows = sum(table.rows for table in manifest.tables.values())
    out.print(f"{rows:,} rows of {manifest.created_at:%Y-%m-%d %H:%M:%S} UTC are back.")
    if restored.replaced:
        out.print(f"Replaced: {', '.join(restored.replaced)}")
    if restored.kept:
        out.print(f"Kept, for the fleet knows them: {', '.join(restored.kept)}")

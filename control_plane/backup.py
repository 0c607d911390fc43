"""Makes a backup: the rows of the database and the secrets beside it, while the service runs."""

import importlib.metadata
import json
import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import Connection, MetaData, Table, inspect, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from control_plane import backup_file
from control_plane.backup_file import FORMAT, OF_STEERING, PART_BYTES, BackupWriter, Manifest
from control_plane.database import Database, revisions
from control_plane.settings import ControlPlaneSettings
from runtime.errors import Problem

# Without it no encrypted title plays again: where it is missing, it is another folder.
CONTENT_SECRET = "content.secret"
VERSION_TABLE = "alembic_version"
SEARCH = "title_search"  # made anew: it is of each database's own kind
ROWS_AT_ONCE = 1000
MAX_SECRET_BYTES = 1024 * 1024
_PASSING = re.compile(r"\..*|.*\.(tmp|lock)")  # what is there for a moment, and locks


@dataclass(frozen=True)
class Made:
    """A backup that was made: where, and how large."""

    path: Path
    bytes: int
    manifest: Manifest


async def make_backup(
    path: Path, settings: ControlPlaneSettings, data: Path, now: datetime, *, replace: bool = False
) -> Made:
    """The backup stands at `path`, whole, readable by its owner only. Raises Problem `not_empty`
    when there is a file and it may not be replaced, `bad_settings`, `unavailable`, `disk_full`."""
    if path.exists() and not (replace and path.is_file()):
        raise Problem("not_empty", f"{path} is there already.")
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                manifest = await _write(file, settings, data, now)
                file.flush()
                os.fsync(file.fileno())
            size = beside.stat().st_size
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise Problem("disk_full", f"{path} cannot be written: {error.strerror}.") from None
    return Made(path, size, manifest)


async def _write(
    file: BinaryIO, settings: ControlPlaneSettings, data: Path, now: datetime
) -> Manifest:
    writer = BackupWriter(file)
    private = data / "secrets"
    if not (private / CONTENT_SECRET).is_file():
        raise Problem(
            "bad_settings",
            f"{private} has no {CONTENT_SECRET}: give the --data that the control plane has.",
        )
    database = Database(settings.database_url(data))
    try:
        if database.file is not None and not database.file.is_file():
            raise Problem("bad_settings", f"There is no database {database.file}.")
        async with database.snapshot() as connection:
            revision = await connection.run_sync(revision_of)
            if revision is None:
                raise Problem("bad_settings", "The database has no tables of a control plane.")
            if revision not in revisions():
                raise Problem(
                    "bad_settings",
                    f"The database is at revision {revision}, which this version of nearcast does "
                    "not know: use the one that the control plane has.",
                )
            tables = await connection.run_sync(tables_in)
            told = {}
            for table in tables:
                rows = await _write_table(writer, connection, table)
                columns = tuple(column.name for column in table.columns)
                told[table.name] = backup_file.Table(columns=columns, rows=rows)
    finally:
        await database.close()
    for secret in _secrets_in(private):
        writer.add(f"secrets/{secret.name}", secret.read_bytes())
    for name in OF_STEERING:
        if (data / name).is_file():
            writer.add(name, (data / name).read_bytes())
    manifest = Manifest(
        format=FORMAT,
        nearcast=_version(),
        created_at=now,
        revision=revision,
        tables=told,
        members=tuple(writer.members),
    )
    writer.finish(manifest)
    return manifest


async def _write_table(writer: BackupWriter, connection: AsyncConnection, table: Table) -> int:
    """All rows of the table are in the backup; returns how many."""
    count, part, lines, size = 0, 0, list[bytes](), 0

    def flush() -> None:
        nonlocal part, size
        part += 1
        writer.add(f"database/{table.name}.{part:06}.jsonl", b"\n".join(lines))
        lines.clear()
        size = 0

    wanted = select(table).execution_options(yield_per=ROWS_AT_ONCE)
    async with connection.stream(wanted) as rows:
        async for row in rows:
            line = json.dumps(list(row), ensure_ascii=False, separators=(",", ":")).encode()
            lines.append(line)
            count, size = count + 1, size + len(line) + 1
            if size >= PART_BYTES:
                flush()
    if lines:
        flush()
    return count


def revision_of(connection: Connection) -> str | None:
    """The revision that the database is at; None for one that has none of our tables."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))
    return None if found is None else str(found)


def tables_in(connection: Connection) -> list[Table]:
    """Our tables as the database has them, each behind those that it refers to. They are asked of
    it, and not of `tables`: it may be at another revision."""
    metadata = MetaData()
    metadata.reflect(connection, only=lambda name, _: _is_kept(name))
    return metadata.sorted_tables


def _is_kept(name: str) -> bool:
    return name != VERSION_TABLE and not name.startswith(SEARCH)


def _secrets_in(private: Path) -> Iterable[Path]:
    for path in sorted(private.iterdir()):
        if _PASSING.fullmatch(path.name) or path.is_symlink() or not path.is_file():
            continue
        if path.stat().st_size > MAX_SECRET_BYTES:
            raise Problem("bad_settings", f"{path} is too large for a secret: move it away.")
        yield path


def _version() -> str:
    try:
        return importlib.metadata.version("nearcast")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"

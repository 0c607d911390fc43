"""Restores a backup: all of it or nothing, where no service runs.

The file is read twice: once to the end to see that it is whole, and once to load it. The database
is made at the backup's revision, filled, and then brought up to date, so that an older backup goes
the way an older database would. On SQLite that happens in a file beside; on PostgreSQL in one
transaction.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import Boolean, Column, Connection, Float, Integer, Table, inspect, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from control_plane.backup import ROWS_AT_ONCE, SEARCH, VERSION_TABLE, revision_of, tables_in
from control_plane.backup_file import NOTICES, Manifest, Member, read_members, verified
from control_plane.catalog import reindex
from control_plane.database import Database, revisions, upgrade
from control_plane.settings import ControlPlaneSettings
from control_plane.swap import Swap
from control_plane.tables import Base, RestoreRow
from media.inventory import sha256_of_file
from runtime.errors import Problem
from runtime.folder_lock import CLUSTER, CONTROL, take_lock

_SECRETS = "secrets/"
_INT_64 = 1 << 63


@dataclass(frozen=True)
class Restored:
    """What was done: what is gone for it, and which machines' keys were left as they were."""

    manifest: Manifest
    replaced: tuple[str, ...]
    kept: tuple[str, ...]


@dataclass(frozen=True)
class Files:
    """What a restore does with the files beside the database: names as in the backup."""

    put: frozenset[str]
    replaced: tuple[str, ...]
    kept: tuple[str, ...]


async def restore_backup(
    path: Path, settings: ControlPlaneSettings, data: Path, now: datetime, *, replace: bool = False
) -> Restored:
    """The database and the secrets are those of the backup. Raises Problem, and then everything is
    as it was: `bad_backup`, `newer_backup`, `data_in_use` while a service runs, `not_empty` when
    there is something that may not be replaced, `bad_settings`, `unavailable`, `disk_full`."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("rb"))
        except OSError as error:
            raise Problem("bad_backup", f"{path} cannot be read: {error.strerror}.") from None
        manifest = await asyncio.to_thread(verified, file)
        check_revision(manifest, revisions())
        try:
            data.mkdir(parents=True, exist_ok=True)
            stack.enter_context(take_lock(data, CLUSTER))
            stack.enter_context(take_lock(data, CONTROL))
            files = decide_files(manifest, lambda name: _there(data / name))
            swap = stack.enter_context(Swap())
            async with _target(settings.database_url(data), swap, replace, files) as (
                connection,
                also,
            ):
                await _load(connection, file, manifest, now)
                await asyncio.to_thread(_stage, swap, file, manifest, data, files, now)
        except OSError as error:
            raise Problem("disk_full", f"{data} cannot be written: {error.strerror}.") from None
    return Restored(manifest, (*also, *files.replaced), files.kept)


def check_revision(manifest: Manifest, known: list[str]) -> None:
    """Raises Problem `newer_backup` unless the database can be brought up from there."""
    if manifest.revision not in known:
        raise Problem(
            "newer_backup",
            f"The backup was made by nearcast {manifest.nearcast}, and its database is at revision "
            f"{manifest.revision}; this version knows them up to {known[-1]}.",
        )


def decide_files(manifest: Manifest, there: Callable[[str], str | None]) -> Files:
    """What becomes of each file, by the SHA-256 of what is `there` already; pure. A machine's own
    key and its ring of others' stay: the rest of the fleet knows that key, or has that ring."""
    put, replaced, kept = set(), [], []
    for member in manifest.members:
        if member.name.startswith("database/"):
            continue
        sha256 = there(member.name)
        own = member.name.endswith(".key") or member.name == f"{_SECRETS}trust.json"
        if sha256 == member.sha256:
            continue
        if sha256 is not None and own:
            kept.append(member.name)
            continue
        put.add(member.name)
        if sha256 is not None:
            replaced.append(member.name)
    return Files(frozenset(put), tuple(replaced), tuple(kept))


def rows_in(raw: bytes, columns: list[Column[Any]]) -> Iterator[dict[str, Any]]:
    """The rows of a part, by the names of their columns. Raises Problem `bad_backup` for what is
    none, so that no database is asked to make sense of it; pure."""
    fits = [_check(column) for column in columns]
    names = [column.name for column in columns]
    for line in raw.split(b"\n"):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, list) or len(row) != len(columns):
            raise Problem("bad_backup", "A row of the backup is none.")
        for check, value, name in zip(fits, row, names, strict=True):
            if not check(value):
                raise Problem("bad_backup", f"A row of the backup has a {name} that is none.")
        yield dict(zip(names, row, strict=True))


def _check(column: Column[Any]) -> Callable[[Any], bool]:
    kind, nullable = column.type, bool(column.nullable)
    if isinstance(kind, Boolean):
        return lambda value: (value is None and nullable) or isinstance(value, bool)
    if isinstance(kind, Integer):
        return lambda value: (value is None and nullable) or _is_int(value)
    if isinstance(kind, Float):
        return lambda value: (value is None and nullable) or _is_int(value) or type(value) is float
    length = getattr(kind, "length", None) or _INT_64
    return lambda value: (value is None and nullable) or _is_text(value, length)


def _is_int(value: Any) -> bool:
    return type(value) is int and -_INT_64 <= value < _INT_64


def _is_text(value: Any, length: int) -> bool:
    """Without what one of the databases does not take: NUL, and halves of surrogate pairs."""
    if not isinstance(value, str) or len(value) > length or "\0" in value:
        return False
    return value.isascii() or not any("\ud800" <= one <= "\udfff" for one in value)


@asynccontextmanager
async def _target(
    url: str, swap: Swap, replace: bool, files: Files
) -> AsyncIterator[tuple[AsyncConnection, tuple[str, ...]]]:
    """A transaction in an empty database, and what is gone for it. When the block ends, the
    database and the staged files take their places together."""
    database = Database(url)
    try:
        if database.file is None:
            async with database.altering() as connection:
                named = f"the tables in {database.engine.url.render_as_string()}"
                there = (named,) if await _has_tables(connection) else ()
                _may_replace((*there, *files.replaced), replace)
                await connection.run_sync(_drop)
                yield connection, there
                swap.into_place()
            return
        there = (str(database.file),) if database.file.exists() else ()
        _may_replace((*there, *files.replaced), replace)
        # Before the database: they would be taken for the new one's.
        for ending in ("-wal", "-shm"):
            swap.stage_away(database.file.with_name(database.file.name + ending))
        beside = swap.stage(database.file)
        made = Database(database.engine.url.set(database=str(beside)).render_as_string(False))
        try:
            async with made.altering() as connection:
                yield connection, there
        finally:
            await made.close()
            for ending in ("-wal", "-shm"):
                beside.with_name(beside.name + ending).unlink(missing_ok=True)
        swap.into_place()
    finally:
        await database.close()


def _may_replace(there: tuple[str, ...], replace: bool) -> None:
    if there and not replace:
        raise Problem("not_empty", f"There is already {', '.join(there)}.")


async def _has_tables(connection: AsyncConnection) -> bool:
    """Whether the database has tables of ours. Raises Problem when it must not be touched."""
    others = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid()"
        " AND coalesce(backend_type, 'client backend') = 'client backend'"
    )
    count = await connection.scalar(others)
    if count:
        raise Problem(
            "data_in_use",
            f"{count} others are connected to the database: stop every control plane that uses it.",
        )
    revision = await connection.run_sync(revision_of)
    if revision is not None and revision not in revisions():
        raise Problem(
            "newer_backup", f"The database is at revision {revision}, of a later version."
        )
    return bool(await connection.run_sync(_our_tables))


def _our_tables(connection: Connection) -> list[str]:
    ours = {*Base.metadata.tables, VERSION_TABLE, SEARCH}
    return sorted(ours & set(inspect(connection).get_table_names()))


def _drop(connection: Connection) -> None:
    quote = connection.dialect.identifier_preparer.quote
    for name in _our_tables(connection):
        connection.execute(text(f"DROP TABLE {quote(name)} CASCADE"))


async def _load(
    connection: AsyncConnection, file: BinaryIO, manifest: Manifest, now: datetime
) -> None:
    """The rows are in the database, whose tables are today's, and titles are found."""
    await connection.run_sync(upgrade, manifest.revision)
    tables = {table.name: table for table in await connection.run_sync(tables_in)}
    if {name: set(told.columns) for name, told in manifest.tables.items()} != {
        name: {column.name for column in table.columns} for name, table in tables.items()
    }:
        raise Problem("bad_backup", "The backup's tables are not those of its revision.")
    counts = dict.fromkeys(tables, 0)
    for member, raw in _again(file, manifest):
        folder, _, name = member.name.partition("/")
        if folder == "database":
            table = tables.get(name.partition(".")[0])
            if table is None:
                raise Problem("bad_backup", f"The backup has a table {name} too many.")
            counts[table.name] += await _insert(connection, table, manifest, raw)
    if counts != {name: told.rows for name, told in manifest.tables.items()}:
        raise Problem("bad_backup", "The backup has not the rows that its manifest says.")
    await connection.run_sync(upgrade)
    async with AsyncSession(connection, expire_on_commit=False) as session:
        await session.merge(RestoreRow(restored_at=now, backup_at=manifest.created_at))
        await session.flush()
        await reindex(session)
        await session.commit()  # of the session alone: the transaction is the connection's


async def _insert(connection: AsyncConnection, table: Table, manifest: Manifest, raw: bytes) -> int:
    columns = [table.columns[name] for name in manifest.tables[table.name].columns]
    count, some = 0, list[dict[str, Any]]()
    try:
        for row in rows_in(raw, columns):
            some.append(row)
            count += 1
            if len(some) == ROWS_AT_ONCE:
                await connection.execute(table.insert(), some)
                some = []
        if some:
            await connection.execute(table.insert(), some)
    except IntegrityError:
        raise Problem("bad_backup", f"The backup's {table.name} do not fit together.") from None
    return count


def _stage(
    swap: Swap, file: BinaryIO, manifest: Manifest, data: Path, files: Files, now: datetime
) -> None:
    for member, raw in _again(file, manifest):
        if member.name in files.put:
            swap.stage(data / member.name, renewed(raw, now) if member.name == NOTICES else raw)


def renewed(notices: bytes, now: datetime) -> bytes:
    """Steering's notices with a version that no appliance has seen: they skip purges up to the
    version that they obeyed last, and that may be later than the backup. Raises Problem; pure."""
    try:
        board = json.loads(notices)
        version = max(int(board["version"]), int(now.timestamp() * 1000))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Problem("bad_backup", f"The backup's {NOTICES} is damaged.") from None
    return json.dumps(board | {"version": version}).encode()


def _again(file: BinaryIO, manifest: Manifest) -> Iterator[tuple[Member, bytes]]:
    """The members once more. Raises Problem when they are not those that were looked at."""
    file.seek(0)
    wanted = iter(manifest.members)
    for member, raw in read_members(file):
        expected = next(wanted, None)
        if expected is None:
            return
        if member != expected:
            raise Problem("bad_backup", "The backup was changed while it was read.")
        yield member, raw


def _there(path: Path) -> str | None:
    return sha256_of_file(path) if path.exists() else None

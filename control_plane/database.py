"""The database: one short transaction per use case, none across a remote call.

SQLite runs with a write-ahead log, foreign keys and a busy time-out, and writers say BEGIN
IMMEDIATE: they queue up before they read, so that what they decide on cannot change under them.
On PostgreSQL the same is had by locking rows (`with_for_update`), which SQLite leaves out.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event, text
from sqlalchemy.exc import ArgumentError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

from runtime.errors import Problem
from runtime.log import logger

BUSY_MS = 5000
_FULL = ("disk is full", "No space left on device")  # of SQLite, of PostgreSQL
_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 0x6E656172  # any number that only we use


class Database:
    """The engine, and the two kinds of transaction. Raises Problem `bad_settings` for a URL that is
    none, and `unavailable` when the database does not answer."""

    def __init__(self, url: str) -> None:
        try:
            # Errors are logged: with the parameters that would be hashes of passwords, too.
            self.engine: AsyncEngine = create_async_engine(
                url, pool_pre_ping=True, hide_parameters=True
            )
        except (ArgumentError, ImportError) as error:
            raise Problem("bad_settings", f"control_plane.database: {error}.") from None
        if self.engine.dialect.name == "sqlite":
            _prepare_sqlite(self.engine)
        writer = self.engine.execution_options(writing=True)
        self._read = async_sessionmaker(self.engine, expire_on_commit=False)
        self._write = async_sessionmaker(writer, expire_on_commit=False)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """A transaction that only reads."""
        async with _answering(), self._read() as session, session.begin():
            yield session

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncSession]:
        """A transaction that is committed when the block ends, undone when it raises."""
        async with _answering(), self._write() as session, session.begin():
            yield session

    async def migrate(self) -> None:
        """The tables are those of `tables`."""
        if self.engine.dialect.name == "sqlite" and self.engine.url.database:
            _make_private(Path(self.engine.url.database))
        async with _answering(), self.engine.execution_options(writing=True).begin() as connection:
            if self.engine.dialect.name == "postgresql":  # two services may start together
                lock = text("SELECT pg_advisory_xact_lock(:number)")
                await connection.execute(lock, {"number": _MIGRATION_LOCK})
            await connection.run_sync(upgrade)

    async def close(self) -> None:
        """Connections are closed."""
        await self.engine.dispose()


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout, OSError) as error:
        logger().error("database_away", error=str(error))
        if any(sign in str(error) for sign in _FULL):
            raise Problem("disk_full", "The database's disk is full.") from error
        raise Problem("unavailable", "The database does not answer.") from error


def _make_private(path: Path) -> None:
    """The file is there, readable by its owner only; SQLite's journals beside it get its mode."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise Problem("bad_settings", f"{path} cannot be opened: {error.strerror}.") from None


def upgrade(connection: Connection, revision: str = "head") -> None:
    """The tables are those of this revision, or a later one."""
    from alembic import command  # 0.2 s that only the start needs
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _prepare_sqlite(engine: AsyncEngine) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def on_connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # the driver opens no transactions: we do, below
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def on_begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get("writing", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

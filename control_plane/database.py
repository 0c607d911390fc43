"""The database: one short transaction per use case, none across a remote call.

SQLite runs with a write-ahead log, foreign keys and a busy time-out, and writers say BEGIN
IMMEDIATE: they queue up before they read, so that what they decide on cannot change under them.
On PostgreSQL the same is had by locking rows (`with_for_update`), which SQLite leaves out.
"""

import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

from control_plane.tables import Base
from runtime.errors import Problem
from runtime.log import logger

BUSY_MS = 5000
POOL = 16
POOL_WAIT_S = 5.0  # for one of them
IDLE_S = 1.0
# Whatever else a driver raises is about the server, or the way to it: some of it has no kind at
# all, such as that PostgreSQL is shutting down.
_OF_THE_QUESTION = (DataError, IntegrityError, NotSupportedError, ProgrammingError)
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
                url, pool_size=POOL, max_overflow=0, pool_timeout=POOL_WAIT_S, hide_parameters=True
            )
        except (ArgumentError, ImportError) as error:
            raise Problem("bad_settings", f"control_plane.database: {error}.") from None
        if self.dialect == "sqlite":
            _prepare_sqlite(self.engine)
        _try_what_was_idle(self.engine)
        writer = self.engine.execution_options(writing=True)
        # PostgreSQL's transactions see what others commit meanwhile, by default: one around
        # questions alone would be two more of them. SQLite's see the moment they began.
        alone = {} if self.dialect == "sqlite" else {"isolation_level": "AUTOCOMMIT"}
        reader = self.engine.execution_options(**alone)
        self._read = async_sessionmaker(reader, expire_on_commit=False)
        self._write = async_sessionmaker(writer, expire_on_commit=False)

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.engine.dialect.name

    def insert(self, table: type[Base]) -> Any:
        """An INSERT that may say ON CONFLICT, which both databases know and SQL does not."""
        # Of the table: of the class it would be an ORM "bulk" insert, at four times the cost.
        return (sqlite if self.dialect == "sqlite" else postgresql).insert(table.__table__)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """Questions that change nothing."""
        async with _answering(), self._read() as session, session.begin():
            yield session

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncSession]:
        """A transaction that is committed when the block ends, undone when it raises."""
        async with _answering(), self._write() as session, session.begin():
            yield session

    async def migrate(self) -> None:
        """The tables are those of `tables`."""
        if self.file is not None:
            _make_private(self.file)
        async with self.altering() as connection:
            await connection.run_sync(upgrade)

    @property
    def file(self) -> Path | None:
        """Where it lies, on SQLite."""
        name = self.engine.url.database
        return Path(name) if self.dialect == "sqlite" and name else None

    @asynccontextmanager
    async def altering(self) -> AsyncIterator[AsyncConnection]:
        """A transaction in which nobody else alters tables."""
        async with _answering(), self.engine.execution_options(writing=True).begin() as connection:
            if self.dialect == "postgresql":  # two services may start together
                lock = text("SELECT pg_advisory_xact_lock(:number)")
                await connection.execute(lock, {"number": _MIGRATION_LOCK})
            yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """A connection on which everything is of one moment, whatever others write meanwhile."""
        options: dict[str, Any] = {}
        if self.dialect == "postgresql":
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        engine = self.engine.execution_options(**options)
        async with _answering(), engine.connect() as connection, connection.begin():
            yield connection

    async def close(self) -> None:
        """Connections are closed."""
        await self.engine.dispose()


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    try:
        yield
    except _OF_THE_QUESTION:
        raise
    except (DBAPIError, PoolTimeout, OSError) as error:
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


def revisions() -> list[str]:
    """The revisions that there are, the first one first."""
    from alembic.script import ScriptDirectory

    steps = ScriptDirectory(str(_MIGRATIONS)).walk_revisions()
    return [step.revision for step in steps][::-1]


def _try_what_was_idle(engine: AsyncEngine) -> None:
    """A connection that lay idle is tried before it is used: the server may have been restarted
    meanwhile. One that was used just now is not, for that costs as much as a question."""

    @event.listens_for(engine.sync_engine, "checkin")
    def on_checkin(connection: Any, record: Any) -> None:
        record.info["used_s"] = time.monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def on_checkout(connection: Any, record: Any, proxy: Any) -> None:
        if time.monotonic() - record.info.get("used_s", float("inf")) < IDLE_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except Exception as error:
            raise DisconnectionError from error  # the pool makes another one


class _Connection(sqlite3.Connection):
    """One that is given up in the midst of a statement, because the client left who asked, is
    closed for SQLite only when Python has forgotten that statement, and would hold its locks until
    then: it gives them back first."""

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self.rollback()
        super().close()


def _prepare_sqlite(engine: AsyncEngine) -> None:
    @event.listens_for(engine.sync_engine, "do_connect")
    def on_do_connect(dialect: Any, record: Any, given: Any, named: dict[str, Any]) -> None:
        named["factory"] = _Connection

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

"""The database: migrations make the tables of the models, transactions are whole."""

import asyncio
import gc
import stat
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection, select, text
from structlog.testing import capture_logs

from control_plane import tables
from control_plane.clock import utc_now
from control_plane.database import Database, upgrade
from control_plane.search import matching
from control_plane.tables import (
    Base,
    JobRow,
    PackageRow,
    SessionRow,
    TitleRow,
    UserRow,
    from_ms,
)
from media.ids import new_id
from runtime.errors import Problem
from tests.control_plane.conftest import fresh_database


@pytest.fixture
async def database(tmp_path: Path):
    opened = Database(f"sqlite+aiosqlite:///{tmp_path / 'control.db'}")
    await opened.migrate()
    yield opened
    await opened.close()


def user(name: str) -> UserRow:
    return UserRow(
        user_id=new_id("usr"), name=name, password_hash="-", role="viewer", created_at=utc_now()
    )


def is_ours(name: str | None, *_: object) -> bool:
    """The search has a table of each database's own kind: see `control_plane.search`."""
    return "title_search" not in (name or "")


def differences(connection: Connection) -> list[object]:
    """What the models say, and the tables do not, or the other way."""
    ours = {"compare_type": True, "include_name": is_ours}
    context = MigrationContext.configure(connection, opts=ours)
    return list(compare_metadata(context, Base.metadata))


async def test_migrations_make_what_the_models_say(database: Database):
    async with database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_migrating_twice_changes_nothing(database: Database):
    async with database.writing() as session:
        session.add(user("anna"))
    await database.migrate()
    async with database.reading() as session:
        assert (await session.scalars(select(UserRow.name))).all() == ["anna"]


async def test_moments_read_back_equal(database: Database):
    written = user("anna")
    async with database.writing() as session:
        session.add(written)
    async with database.reading() as session:
        read = await session.get(UserRow, written.user_id)
        assert read is not None and read.created_at == written.created_at


async def test_a_block_that_raises_leaves_nothing(database: Database):
    with pytest.raises(Problem):
        async with database.writing() as session:
            session.add(user("anna"))
            await session.flush()
            raise Problem("name_taken")
    async with database.reading() as session:
        assert (await session.scalars(select(UserRow))).all() == []


async def test_writers_decide_one_after_the_other(database: Database):
    """Each reads before it writes: with a plain BEGIN several would see room."""

    async def take_a_place(number: int) -> None:
        async with database.writing() as session:
            taken = len((await session.scalars(select(UserRow))).all())
            if taken < 4:
                session.add(user(f"user-{number}"))

    await asyncio.gather(*(take_a_place(number) for number in range(30)))
    async with database.reading() as session:
        assert len((await session.scalars(select(UserRow))).all()) == 4


async def test_a_cancelled_writer_leaves_the_database_usable(database: Database):
    for _ in range(20):

        async def write() -> None:
            async with database.writing() as session:
                session.add(user("anna"))
                await session.flush()
                await asyncio.Event().wait()

        task = asyncio.create_task(write(), name="writer")
        await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with database.writing() as session:
        session.add(user("berta"))
    async with database.reading() as session:
        assert (await session.scalars(select(UserRow.name))).all() == ["berta"]


async def test_whoever_is_cancelled_holds_no_lock(database: Database):
    """Wherever it happens, and though nothing is collected: a connection that is given up would
    hold its locks until Python has forgotten its last statement."""

    async def write() -> None:
        async with database.writing() as session:
            await session.execute(text("UPDATE titles SET name = name"))
            await session.execute(text("SELECT count(*) FROM titles"))

    gc.disable()
    try:
        for step in range(300):
            task = asyncio.create_task(write())
            for _ in range(step % 40):
                await asyncio.sleep(0)
            await asyncio.sleep(0.0002 * (step % 7))
            task.cancel()
            await asyncio.wait((task,))
            await write()
    finally:
        gc.enable()


async def test_the_file_is_private(database: Database, tmp_path: Path):
    async with database.writing() as session:
        session.add(user("anna"))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"control.db": 0o600, "control.db-wal": 0o600, "control.db-shm": 0o600}


async def test_a_full_disk_is_said_and_the_log_has_no_secrets(database: Database):
    async with database.engine.connect() as connection:
        await connection.exec_driver_sql("PRAGMA max_page_count=1")
    large = user("anna")
    large.password_hash = "secret " * 10_000
    with capture_logs() as logged, pytest.raises(Problem) as caught:
        async with database.writing() as session:
            session.add(large)
    assert caught.value.code == "disk_full"
    assert "full" in str(logged) and "secret" not in str(logged)


ROWS = (
    "INSERT INTO titles VALUES ('ttl_1', 'Big Film', 'big film', 'draft', NULL, 0, NULL, NULL)",
    "INSERT INTO jobs VALUES ('job_1', 'ttl_1', 'pkg_1', 'm', NULL, {true}, 'queued', 2, NULL,"
    " NULL, 'waiting', 0, NULL, NULL, NULL, NULL, 0, NULL)",
    "INSERT INTO users VALUES ('usr_1', 'anna', '-', 'viewer', 0)",
    "INSERT INTO sessions (session_id, title_id, package_id, user_id, inventory_sha256, ranking,"
    " created_at, expires_at) VALUES ('ses_1', 'ttl_1', 'pkg_1', 'usr_1', '0', '{{}}', 0, 0)",
)


PACKAGES = (
    ("INSERT INTO packages (package_id, title_id, inventory_sha256, duration_s, total_bytes,"
    " created_at) VALUES ('pkg_1', 'ttl_1', '0', 1, 1, 1000)"),
    ("INSERT INTO packages (package_id, title_id, inventory_sha256, duration_s, total_bytes,"
    " created_at) VALUES ('pkg_2', 'ttl_1', '0', 1, 1, 2000)"),
    "UPDATE titles SET package_id = 'pkg_2' WHERE title_id = 'ttl_1'",
)  # fmt: skip


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("revision", ["0001", "0006"])
async def test_an_older_database_is_brought_up_to_date(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, revision: str
):
    url = f"sqlite+aiosqlite:///{tmp_path / 'control.db'}"
    if kind == "postgresql":
        url = await fresh_database(request.getfixturevalue("postgres_url"), "template0")
    database = Database(url)
    writer = database.engine.execution_options(writing=True)
    async with writer.begin() as connection:
        await connection.run_sync(upgrade, "0001")
        for row in ROWS:
            true = "1" if kind == "sqlite" else "TRUE"
            await connection.exec_driver_sql(row.format(true=true))
        await connection.run_sync(upgrade, revision)
        for row in PACKAGES:
            await connection.exec_driver_sql(row)
    await database.migrate()
    async with database.reading() as session:
        job = await session.get(JobRow, "job_1")
        assert job is not None and (job.attempt, job.failures, job.cleared_at) == (2, 0, None)
        # A table that is made anew takes those with it that belong to its rows.
        assert await session.get(SessionRow, "ses_1") is not None
        user = await session.get(UserRow, "usr_1")
        assert user is not None and (user.disabled, user.plan) == (False, None)
        found = select(TitleRow.name).where(matching(database.dialect, "fil"))
        assert (await session.scalars(found)).all() == ["Big Film"]  # what was there is found
        since = select(PackageRow.superseded_at).order_by(PackageRow.package_id)
        assert (await session.scalars(since)).all() == [from_ms(2000), None]
    async with database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await database.close()


async def test_a_step_back_loses_nothing(postgres_url: str, tmp_path: Path):
    """Where there is one. SQLite refuses, rather than drop what belongs to users."""
    for url in (
        await fresh_database(postgres_url, "template0"),
        f"sqlite+aiosqlite:///{tmp_path / 'control.db'}",
    ):
        database = Database(url)
        await database.migrate()
        async with database.writing() as session:
            session.add(user("anna"))
        writer = database.engine.execution_options(writing=True)
        if database.dialect == "sqlite":
            with pytest.raises(CommandError, match="restore a backup"):
                async with writer.begin() as connection:
                    await connection.run_sync(back_to, "0007")
        else:
            async with writer.begin() as connection:
                await connection.run_sync(back_to, "0006")
            await database.migrate()
        async with database.reading() as session:
            assert (await session.scalars(select(UserRow.name))).all() == ["anna"]
        await database.close()


def back_to(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(tables.__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.downgrade(config, revision)


async def test_a_database_that_is_away_is_a_problem():
    away = Database("postgresql+asyncpg://127.0.0.1:1/none")
    with pytest.raises(Problem) as caught:
        await away.migrate()
    assert caught.value.code == "unavailable"


def test_a_url_that_is_none_is_a_bad_setting():
    with pytest.raises(Problem) as caught:
        Database("nothing")
    assert caught.value.code == "bad_settings"

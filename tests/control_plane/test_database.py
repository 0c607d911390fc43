"""The database: migrations make the tables of the models, transactions are whole."""

import asyncio
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, select

from control_plane.clock import utc_now
from control_plane.database import Database
from control_plane.tables import Base, UserRow
from media.ids import new_id
from runtime.errors import Problem


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


async def test_migrations_make_what_the_models_say(database: Database):
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, Base.metadata))

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


async def test_a_database_that_is_away_is_a_problem():
    away = Database("postgresql+asyncpg://127.0.0.1:1/none")
    with pytest.raises(Problem) as caught:
        await away.migrate()
    assert caught.value.code == "unavailable"


def test_a_url_that_is_none_is_a_bad_setting():
    with pytest.raises(Problem) as caught:
        Database("nothing")
    assert caught.value.code == "bad_settings"

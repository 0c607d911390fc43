"""A fresh control plane for each test that asks for one: on one machine's SQLite and memory, and
where `pytestmark = BOTH` says so on PostgreSQL and Redis as well."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis.asyncio as redis
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from control_plane.database import Database
from media.ids import new_id
from tests.control_plane.house import House, open_house
from tests.postgres_server import postgres_server
from tests.redis_server import redis_server


@pytest.fixture(autouse=True)
def log_apart():
    """The service's log never gets among what a command prints beside it."""
    # Tracebacks plain: with every local variable they take seconds, of the loop's, too.
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[*structlog.get_config()["processors"][:-1], plain],
        logger_factory=structlog.WriteLoggerFactory(file=sys.__stderr__),
    )
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A server whose database has the tables, for others to be made after."""
    with postgres_server() as url:

        async def migrate() -> None:
            database = Database(url)
            await database.migrate()
            await database.close()

        # In a thread of its own: this one's loop may be running.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, migrate()).result()
        yield url


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    settings: dict[str, str] = {}
    if getattr(request, "param", "embedded") == "servers":
        state: str = request.getfixturevalue("redis_url")
        async with redis.Redis.from_url(state) as client:
            await client.flushall()
        database = await fresh_database(request.getfixturevalue("postgres_url"), "nearcast")
        settings = {"database": database, "state": state}
    async with open_house(tmp_path, "encoder-2", "oslo-1", **settings) as opened:
        yield opened


async def fresh_database(url: str, template: str) -> str:
    """One more database on the same server: after "nearcast" with the tables, after "template0"
    without."""
    name = new_id("db")
    engine = create_async_engine(url.replace("/nearcast?", "/postgres?"))
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    await engine.dispose()
    return url.replace("/nearcast?", f"/{name}?")

"""A real appliance: parent, keeper and worker, without steering."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvloop

from media.keys import Identity
from runtime.supervise import Daemon
from tests.packages import MadePackage, make_keys, make_package
from tests.running import files_below


@dataclass
class Standing:
    """An appliance that can be started and stopped, its keys and its store."""

    data: Path
    keys: dict[str, Identity]
    name: str = "north-1"
    settings: dict[str, str] = field(default_factory=dict)
    daemon: Daemon | None = None

    @property
    def store(self) -> Path:
        return self.data / "store"

    def package(self) -> MadePackage:
        """A new package in the store."""
        return make_package(self.store)

    def url(self, package: MadePackage, path: str, **claims: object) -> str:
        """Where a fresh session finds a file."""
        assert self.daemon is not None
        token = package.token(self.keys["control"], **claims)
        return f"{self.daemon.urls['data']}/{token}/{package.base}{path}"

    async def start(self) -> None:
        settings = {
            "listen": "127.0.1.1:0",
            "admin_listen": "127.0.1.1:0",
            "steering_url": "http://127.0.0.1:9",
            **self.settings,
        }
        argv = [sys.executable, "-m", "appliance", f"--data={self.data}"]
        argv += [f"--instance={self.name}", "--log-level=error"]
        argv += [f"--set={key}={value}" for key, value in settings.items()]
        self.daemon = Daemon(self.name, argv)
        await self.daemon.start()

    async def stop(self) -> None:
        if self.daemon is not None:
            await self.daemon.stop()
            self.daemon = None

    def cached(self, package: MadePackage) -> list[Path]:
        """The package's files that are held, wherever they stand."""
        cache = self.data / "appliances" / self.name / "cache"
        folders = [cache, *cache.glob(".new/*")]
        return [path for top in folders for path in files_below(top / package.package_id)]

    def log(self) -> list[dict[str, object]]:
        """The access log, as written so far."""
        path = self.data / "logs" / f"access-{self.name}.log"
        return [json.loads(line) for line in path.read_text().splitlines()]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that services run on: it is less patient than asyncio's own."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """One for all tests of a module that neither stop it nor set it up in their own way."""
    data = tmp_path_factory.mktemp("shared")
    standing = Standing(data, make_keys(data, "north-1"))
    with asyncio.Runner() as runner:
        runner.run(standing.start())
        yield standing
        runner.run(standing.stop())


@pytest.fixture
async def appliance(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Standing]:
    standing = Standing(tmp_path, make_keys(tmp_path, "north-1"))
    standing.settings = dict(getattr(request, "param", {}))
    await standing.start()
    yield standing
    await standing.stop()


def children_of(pid: int) -> list[int]:
    """Processes that this one has started."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listed.split()]

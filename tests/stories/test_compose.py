"""The topology of docker-compose.yml, with processes: its commands and environments, word for
word but for addresses and folders, on a real S3 server, PostgreSQL and Redis."""

import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from runtime.supervise import Daemon
from tests.postgres_server import postgres_server
from tests.redis_server import redis_server
from tests.running import make_clip
from tests.stories.test_play import decode
from tests.swift import running_swift

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
OURS = {name: s for name, s in COMPOSE["services"].items() if s.get("build") and name != "keys"}


@dataclass(frozen=True)
class Ground:
    """What the composition stands on here, in place of containers and their names."""

    machines: Path
    words: dict[str, str]  # what is written in the file -> what it is here

    def translate(self, text: str) -> str:
        for written, here in self.words.items():
            text = text.replace(written, here)
        return text

    def environment(self, service: str) -> dict[str, str]:
        """The service's environment, on this ground."""
        given = COMPOSE["services"][service].get("environment", {})
        told = {key: self.translate(str(value)) for key, value in given.items()}
        if listen := told.get("NEARCAST_APPLIANCE__LISTEN"):
            host = told.pop("NEARCAST_APPLIANCE__PUBLIC_URL").split("/")[2].split(":")[0]
            told["NEARCAST_APPLIANCE__LISTEN"] = listen.replace("0.0.0.0:8090", f"{host}:0")
            told["NEARCAST_APPLIANCE__ADMIN_LISTEN"] = f"{host}:0"
        return told


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("composed")
    machines = folder / "machines"
    for name in OURS:
        (machines / name).mkdir(parents=True)
    with ExitStack() as stack:
        database = stack.enter_context(postgres_server())
        state = stack.enter_context(redis_server())
        swift = stack.enter_context(running_swift(folder / "swift"))
        control, steering = free_address(), free_address()
        yield Ground(
            machines,
            {
                "http://store:8333": swift.endpoint,
                "postgresql+asyncpg://nearcast:change-me@database/nearcast": database,
                "redis://state:6379/": f"{state}?db=",
                "http://localhost:8080": f"http://{control}",
                "http://control:8080": f"http://{control}",
                "0.0.0.0:8080": control,
                "http://localhost:8081": f"http://{steering}",
                "http://steering:8081": f"http://{steering}",
                "0.0.0.0:8081": steering,
            },
        )


@pytest.mark.timeout(180)
async def test_a_film_goes_all_the_way(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The test's store has credentials of its own.
    credentials = {"AWS_ACCESS_KEY_ID": "test:tester", "AWS_SECRET_ACCESS_KEY": "testing"}
    prepare(ground, credentials)
    daemons: dict[str, Daemon] = {}
    try:
        for name in ("steering", "control", "encoder", *(n for n in OURS if n[-1].isdigit())):
            for key, value in (ground.environment(name) | credentials).items():
                monkeypatch.setenv(key, value)
            daemons[name] = await started(ground, name)
            for key in ground.environment(name):
                monkeypatch.delenv(key)
        await the_film_plays(ground, tmp_path, monkeypatch)
    finally:
        for daemon in reversed(daemons.values()):
            await daemon.stop()


async def the_film_plays(ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Upload with presigned parts, encode, fill from S3, play in HLS and DASH."""
    import asyncio
    import json

    clip = make_clip(tmp_path / "clip.mp4", frames=96, size="320x180")
    account = json.loads((ground.machines / "control" / "secrets" / "admin.json").read_text())
    monkeypatch.setenv("NEARCAST_URL", ground.words["http://control:8080"])
    monkeypatch.setenv("NEARCAST_USER", account["name"])
    monkeypatch.setenv("NEARCAST_PASSWORD", account["password"])

    def nearcast(*arguments: str) -> dict[str, Any]:
        argv = [sys.executable, "-m", "nearcast", *arguments, "--json"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=100)
        assert done.returncode == 0, done.stdout + done.stderr
        return dict(json.loads(done.stdout))

    await asyncio.to_thread(nearcast, "upload", str(clip), "--title", "Composed", "--wait")
    session = await asyncio.to_thread(nearcast, "play", "Composed", "--region", "south")
    assert session["pathways"][0]["site"] == "south", session
    assert len(session["pathways"]) >= 2
    for url in (session["hls_url"], session["dash_url"]):
        frames, complaints = await asyncio.to_thread(decode, f"{url}?pathways=1")
        assert complaints == []
        assert {count for kind, count in frames if kind == "video"} == {96}


def prepare(ground: Ground, credentials: dict[str, str]) -> None:
    """What the `keys` container does."""
    given = COMPOSE["services"]["keys"]
    command = given["command"].replace("/machines", str(ground.machines)).split()
    environment = os.environ | ground.environment("keys") | credentials
    subprocess.run([sys.executable, *command[1:]], cwd=ROOT, env=environment, check=True)


async def started(ground: Ground, name: str) -> Daemon:
    command = shlex.split(OURS[name]["command"])
    argv = [str(ground.machines / name) if word == "/data" else word for word in command[1:]]
    log = (ground.machines / name / "log").open("ab")
    daemon = Daemon(name, [sys.executable, *argv], log=log)
    await daemon.start()
    return daemon


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_every_machine_has_a_volume_of_its_own() -> None:
    mounted = {name: service["volumes"] for name, service in OURS.items()}
    assert all(volumes == [f"{name}:/data"] for name, volumes in mounted.items())
    assert set(COMPOSE["services"]["keys"]["volumes"]) == {f"{n}:/machines/{n}" for n in OURS}

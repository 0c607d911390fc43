"""A whole CDN on this machine whose parts can be killed, stopped and cut off, one by one.

It stands as `nearcast up` stands: four appliances at three sites. But in front of every appliance
there is a relay, and another between it and steering, unless nothing is to be cut off; and nobody
starts a part again but us. The command line finds it in its data folder.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import imageio_ffmpeg
from pydantic import BaseModel

from lab.machine import family
from lab.relay import Relay
from lab.world import make_keys
from media.api import Title
from media.fleet import Counters, Report
from runtime.client import Client
from runtime.console import signed_in
from runtime.control_api import ControlApi
from runtime.errors import Problem, problem_of
from runtime.supervise import Daemon

PLACES = (
    ("north-1", "north", "127.0.1.1"),
    ("north-2", "north", "127.0.1.2"),
    ("south-1", "south", "127.0.2.1"),
    ("west-1", "west", "127.0.3.1"),
)
REGIONS = ("north", "south", "west")
TTL_S = 4
_TITLE = "Chaos"
_FILLED_S = 60.0
# Short times, so that what happens in minutes happens in a film of one.
_STEERING = {"ttl_s": TTL_S, "report_interval_s": 1, "report_timeout_s": 4, "recovery_s": 4}
# A crowd comes from one address; it is silent, not dead, that an appliance is under its load.
_CROWDED = {"report_interval_s": 1, "report_timeout_s": 15}
_APPLIANCE = {"report_interval_s": 1, "plan_poll_s": 1, "max_connections_per_address": 20_000}
_ENCODER = {"ladder": "apple", "preset": "ultrafast", "quality": "off"}


class _State(BaseModel):
    report: Report


class Rig:
    """What runs, by name: `steering`, `control_plane`, and the appliances."""

    def __init__(self, data: Path, *, cuttable: bool = True) -> None:
        """`cuttable`: its appliances can be cut off, and the times of steering are short."""
        self.data = data
        self._cuttable = cuttable
        self.title: Title | None = None
        self._argv: dict[str, list[str]] = {}
        self._daemons: dict[str, Daemon] = {}
        self._relays: dict[str, tuple[Relay, Relay]] = {}

    def kill(self, name: str) -> None:
        """SIGKILL to all of its processes."""
        self._signal(name, signal.SIGKILL)

    def hang(self, name: str) -> None:
        """It stands still: connections are taken by the kernel, and nobody answers."""
        self._signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """It goes on where it stood."""
        self._signal(name, signal.SIGCONT)

    async def restart(self, name: str) -> None:
        """One that was killed runs again."""
        await self._daemons[name].kill()
        await self._start(name)

    def cut(self, appliance_id: str) -> None:
        """Nobody reaches the appliance, nor it steering."""
        for relay in self._relays[appliance_id]:
            relay.cut()

    def mend(self, appliance_id: str) -> None:
        """It is back on the network."""
        for relay in self._relays[appliance_id]:
            relay.mend()

    def take_store(self) -> None:
        """The store is gone."""
        (self.data / "store").rename(self.data / "store.gone")

    def give_store(self) -> None:
        """It is back."""
        (self.data / "store.gone").rename(self.data / "store")

    async def command(self, *arguments: str) -> bytes:
        """What a command of ours says. Raises Problem when it fails."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "nearcast", *arguments, f"--data={self.data}", "--json",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        said, _ = await process.communicate()
        if process.returncode != 0:
            raise problem_of(said) or Problem("unavailable", f"nearcast {arguments[0]} failed.")
        return said

    async def start(self, tell: Callable[[str], None]) -> None:
        """All parts are ready."""
        names = [name for name, _, _ in PLACES]
        (self.data / "store").mkdir(parents=True)
        make_keys(self.data, *names)
        (self.data / "logs").mkdir(exist_ok=True)
        control, steering = _free("127.0.0.1"), _free("127.0.0.1")
        control_url, steering_url = f"http://127.0.0.1:{control}", f"http://127.0.0.1:{steering}"
        self._plan("steering", "steering", (_STEERING if self._cuttable else _CROWDED) | {
            "listen": f"127.0.0.1:{steering}", "control_plane_url": control_url,
        })  # fmt: skip
        self._plan("control_plane", "control_plane", {
            "listen": f"127.0.0.1:{control}", "steering_url": steering_url,
        })  # fmt: skip
        self._plan("encoder", "encoder", _ENCODER | {"control_plane_url": control_url})
        tell("Starting steering and the control plane …")
        await self._start("steering")
        await self._start("control_plane")
        tell("Starting appliances and the encoder …")
        appliances = {}
        for name, site, host in PLACES:
            port = _free(host)
            urls = f"http://{host}:{port}", steering_url
            if self._cuttable:
                relays = Relay(host, (host, port)), Relay("127.0.0.1", ("127.0.0.1", steering))
                self._relays[name] = relays
                urls = await relays[0].start(), await relays[1].start()
            appliances[name] = {"url": urls[0], "admin_url": ""}
            self._plan(name, "appliance", _APPLIANCE | {
                "site": site, "listen": f"{host}:{port}", "admin_listen": f"{host}:0",
                "public_url": urls[0], "steering_url": urls[1],
            })  # fmt: skip
        await asyncio.gather(*(self._start(name) for name in (*names, "encoder")))
        for name in names:
            appliances[name]["admin_url"] = self._daemons[name].urls["admin"]
        described = {"control_plane": control_url, "steering": steering_url,
                     "appliances": appliances, "pid": os.getpid()}  # fmt: skip
        (self.data / "run.json").write_text(json.dumps(described))

    async def counters(self) -> dict[str, Counters]:
        """What each appliance has done since it started, by its own account."""
        said = {}
        for name, _, _ in PLACES:
            async with Client(self._daemons[name].urls["admin"]) as admin:
                state = await admin.call("GET", "/v1/state", _State)
            said[name] = state.report.counters
        return said

    async def publish(self, film: Path) -> None:
        """The film is a title that every appliance holds; then the encoder has ended."""
        said = await self.command("upload", str(film), "--title", _TITLE, "--wait")
        self.title = Title.model_validate(json.loads(said)["title"])
        try:
            async with asyncio.timeout(_FILLED_S), signed_in(self.data) as api:
                while not await _filled(api):  # noqa: ASYNC110
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise Problem("unavailable", "The appliances were not filled in time.") from None
        await self._daemons["encoder"].stop()

    async def stop(self) -> None:
        """Nothing of it runs."""
        for name, daemon in self._daemons.items():
            if daemon.pid is not None:
                self._signal(name, signal.SIGCONT)
        await asyncio.gather(*(daemon.stop() for daemon in self._daemons.values()))
        await asyncio.gather(*(relay.stop() for both in self._relays.values() for relay in both))

    def _plan(self, name: str, room: str, settings: Mapping[str, object]) -> None:
        argv = [sys.executable, "-m", room, f"--data={self.data}", f"--instance={name}"]
        self._argv[name] = argv + [f"--set={key}={value}" for key, value in settings.items()]

    async def _start(self, name: str) -> None:
        with (self.data / "logs" / f"{name}.log").open("ab") as log:
            daemon = self._daemons[name] = Daemon(name, self._argv[name], log=log)
            await daemon.start()

    def _signal(self, name: str, number: signal.Signals) -> None:
        pid = self._daemons[name].pid
        if pid is None:
            raise Problem("unavailable", f"{name} does not run.")
        for one in family(pid):
            os.kill(one, number)


@asynccontextmanager
async def standing(
    data: Path,
    film: Path | None,
    film_s: float,
    tell: Callable[[str], None],
    *,
    cuttable: bool = True,
) -> AsyncIterator[Rig]:
    """A rig with one title, the film or a made one of `film_s`, until the block ends."""
    rig = Rig(data, cuttable=cuttable)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(rig.stop)
        await rig.start(tell)
        tell("Encoding the film …")
        await rig.publish(film or await _made_film(data / "film.mp4", film_s))
        yield rig


async def _filled(api: ControlApi) -> bool:
    roster = await api.fleet()
    return len(roster.appliances) == len(PLACES) and all(
        entry.packages_held for entry in roster.appliances
    )


async def _made_film(path: Path, seconds: float) -> Path:
    argv = _film_argv(path, seconds)
    process = await asyncio.create_subprocess_exec(*argv, stdin=asyncio.subprocess.DEVNULL)
    if await process.wait() != 0:
        raise Problem("unavailable", "ffmpeg could not make a film.")
    return path


def _film_argv(path: Path, seconds: float) -> Sequence[str]:
    return [
        imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y",
        "-f", "lavfi", "-i", f"testsrc2=s=640x360:r=24:d={seconds}",
        "-f", "lavfi", "-i", f"sine=440:r=48000:d={seconds}",
        "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", "-ac", "2", str(path),
    ]  # fmt: skip


def _free(host: str) -> int:
    """A port that is free now, and will be the part's own also after it was killed."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, 0))
        return int(probe.getsockname()[1])

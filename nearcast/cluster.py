"""The local cluster: every service as a process of its own, on loopback addresses.

`plan_places` decides where appliances stand; `Cluster` starts, keeps and stops the processes and
writes `run.json`, by which commands find them.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from media.keys import Identity, Keyring
from nearcast.settings import ClusterSettings
from runtime.errors import Problem
from runtime.folder_lock import CLUSTER, take_lock
from runtime.supervise import Daemon

_SILENT_REPORTS = 5  # an appliance that misses so many is out: an encode beside it is heavy load


@dataclass(frozen=True)
class ApplianceAt:
    """An appliance of the local cluster and its own loopback address."""

    appliance_id: str
    site: str
    host: str


def plan_places(sites: tuple[str, ...], count: int) -> list[ApplianceAt]:
    """`count` appliances dealt over the sites in turn; appliance n of site s is at 127.0.s.n."""
    dealt = [(index % len(sites) + 1, index // len(sites) + 1) for index in range(count)]
    return [
        ApplianceAt(f"{sites[site - 1]}-{number}", sites[site - 1], f"127.0.{site}.{number}")
        for site, number in sorted(dealt)
    ]


class Cluster:
    """All services of one data folder, from `start` to `stop`."""

    def __init__(
        self, data: Path, appliances: int, settings: ClusterSettings, config: Path | None = None
    ) -> None:
        self.data = data.absolute()
        self.places = plan_places(settings.sites, appliances)
        self.control_url = ""
        self.steering_url = ""
        self.appliances: dict[str, Daemon] = {}
        self._settings = settings
        self._config = config
        self._daemons: list[Daemon] = []
        self._logs: list[IO[bytes]] = []
        self._lock: IO[bytes] | None = None

    async def start(self, tell: Callable[[str], None] = lambda line: None) -> None:
        """Everything is ready, and `run.json` says where. Raises Problem; then nothing runs."""
        self._take_lock()
        try:
            self._make_keys()
            control = _port(self._settings.control_port, "127.0.0.1")
            steering = _port(self._settings.steering_port, "127.0.0.1")
            self.control_url = f"http://127.0.0.1:{control}"
            self.steering_url = f"http://127.0.0.1:{steering}"
            tell("steering")
            await self._run(
                "steering",
                {
                    "listen": f"127.0.0.1:{steering}",
                    "control_plane_url": self.control_url,
                    "report_interval_s": str(self._settings.report_interval_s),
                    "report_timeout_s": str(_SILENT_REPORTS * self._settings.report_interval_s),
                },
            )
            tell("control plane")
            await self._run(
                "control_plane",
                {"listen": f"127.0.0.1:{control}", "steering_url": self.steering_url},
            )
            tell("appliances and encoder")
            await asyncio.gather(
                self._run("encoder", {"control_plane_url": self.control_url}),
                *(self._run_appliance(place) for place in self.places),
            )
            self._write_run_file()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Every process has ended, the encoder first and the control plane last."""
        (self.data / "run.json").unlink(missing_ok=True)
        for group in (self._daemons[2:], self._daemons[:1], self._daemons[1:2]):
            await asyncio.gather(*(daemon.stop() for daemon in group))
        self._daemons.clear()
        for log in self._logs:
            log.close()
        self._logs.clear()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def kill(self, appliance_id: str) -> None:
        """SIGKILL to an appliance, for good: its workers and keeper die with it."""
        daemon = self.appliances[appliance_id]
        await daemon.kill()

    async def _run_appliance(self, place: ApplianceAt) -> None:
        data = _port(self._settings.data_port, place.host)
        admin = _port(self._settings.admin_port, place.host)
        self.appliances[place.appliance_id] = await self._run(
            "appliance",
            {
                "site": place.site,
                "listen": f"{place.host}:{data}",
                "admin_listen": f"{place.host}:{admin}",
                "steering_url": self.steering_url,
                "report_interval_s": str(self._settings.report_interval_s),
                "plan_poll_s": str(self._settings.report_interval_s),
            },
            instance=place.appliance_id,
        )

    async def _run(
        self, room: str, settings: dict[str, str], *, instance: str | None = None
    ) -> Daemon:
        name = instance or room
        argv = [sys.executable, "-m", room, f"--data={self.data}", f"--instance={name}"]
        if self._config is not None:
            argv.append(f"--config={self._config.absolute()}")
        argv += [f"--set={key}={value}" for key, value in settings.items()]
        log = (self.data / "logs" / f"{name}.log").open("ab")
        self._logs.append(log)
        daemon = Daemon(name, argv, log=log)
        self._daemons.append(daemon)
        await daemon.start()
        await daemon.keep()
        return daemon

    def _make_keys(self) -> None:
        """Every service has its key, and the ring knows them all."""
        secrets = self.data / "secrets"
        identities = [
            Identity.open("control", "control", secrets / "control.key"),
            Identity.open("steering", "steering", secrets / "steering.key"),
            Identity.open("encoder", "encoder", secrets / "encoder.key"),
        ]
        identities += [
            Identity.open(p.appliance_id, "appliance", secrets / f"{p.appliance_id}.key")
            for p in self.places
        ]
        Keyring([identity.public for identity in identities]).write(secrets / "trust.json")

    def _take_lock(self) -> None:
        try:
            for folder in (self.data / "logs", self.data / "store"):
                folder.mkdir(parents=True, exist_ok=True)
            (self.data / "secrets").mkdir(exist_ok=True, mode=0o700)
            self._lock = take_lock(self.data, CLUSTER)
        except OSError as error:
            raise Problem(
                "bad_settings", f"{self.data} cannot be used: {error.strerror}."
            ) from None

    def _write_run_file(self) -> None:
        described = {
            "control_plane": self.control_url,
            "steering": self.steering_url,
            "appliances": {
                name: {"url": daemon.urls["data"], "admin_url": daemon.urls["admin"]}
                for name, daemon in sorted(self.appliances.items())
            },
            "pid": os.getpid(),
        }
        temporary = self.data / "run.tmp"
        temporary.write_text(json.dumps(described, indent=2))
        temporary.replace(self.data / "run.json")


async def until_interrupted() -> None:
    """Returns at the first SIGINT or SIGTERM."""
    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.set)
    try:
        await asked.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _port(wanted: int, host: str) -> int:
    """The port itself, if it is free; for 0 a free one. Raises Problem `port_in_use`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            probe.bind((host, wanted))
            return int(probe.getsockname()[1])
    raise Problem("port_in_use", f"{host}:{wanted} is in use.")

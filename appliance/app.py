"""Wires an appliance: the parent that binds and restarts, the keeper, the workers.

The parent opens one SO_REUSEPORT socket per worker and holds it: a worker that is killed loses no
connection that the kernel has queued, its successor takes them.
"""

import asyncio
import fcntl
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from appliance.board import MAX_WORKERS, Board, Word
from appliance.certificates import Certificates
from appliance.doors import Door
from appliance.folders import Folders, shares_of
from appliance.settings import ApplianceSettings
from appliance.shelf import machine_boot_id
from appliance.wire import Plain, Secure
from runtime.errors import Problem
from runtime.launch import Launch
from runtime.service import Service, bind, url_of
from runtime.settings import load
from runtime.supervise import Daemon

_KEEPER_S = 5.0


@dataclass(frozen=True)
class Place:
    """Where an appliance keeps its things."""

    data: Path
    home: Path
    folders: Folders
    trust: Path
    log: Path

    @property
    def link(self) -> Path:
        """The socket on which the keeper hears its workers."""
        return self.home / "keeper.sock"

    @classmethod
    def of(cls, launch: Launch, settings: ApplianceSettings) -> "Place":
        """The places of a launch; folders are made."""
        home = launch.data / "appliances" / launch.instance
        shares = shares_of(settings.cache_dirs, settings.budget_bytes, home / "cache")
        folders = Folders(shares, machine_boot_id())
        logs = launch.data / "logs"
        for folder in (home, logs):
            folder.mkdir(parents=True, exist_ok=True)
        trust = launch.data / "secrets" / "trust.json"
        if not trust.exists():
            raise Problem("bad_settings", f"There is no key ring at {trust}.")
        return cls(launch.data, home, folders, trust, logs / f"access-{launch.instance}.log")


def settings_of(launch: Launch) -> ApplianceSettings:
    """The settings of a launch."""
    return load(ApplianceSettings, "appliance", file=launch.config, flags=launch.flags)


async def parent(service: Service, launch: Launch) -> None:
    """Keeps one keeper and the workers alive until the service stops."""
    settings = settings_of(launch)
    place = Place.of(launch, settings)
    lock = _lock(place.home)
    board = Board(place.home / "board")
    for slot in range(MAX_WORKERS):
        board.row(slot)[Word.ALIVE] = 0
    listeners = _listeners(settings.listen, settings.workers)
    data_url = url_of(listeners[0])
    secure: list[socket.socket] = []
    if settings.tls_listen:
        _certificates(settings)
        secure = _listeners(settings.tls_listen, settings.workers)
    urls = {"tls": url_of(secure[0]).replace("http:", "https:")} if secure else {}
    public_url = settings.public_url or data_url
    keeper = Daemon("keeper", [*_argv(launch, "keeper"), f"--public-url={public_url}"])
    workers = [
        _worker(launch, slot, list(sockets), board)
        for slot, sockets in enumerate(zip(listeners, *([secure] if secure else []), strict=True))
    ]
    try:
        admin = (await keeper.start())["admin"]
        # Whatever port it was given, a restarted one is found there, too.
        keeper.argv = [*keeper.argv, f"--set=admin_listen={admin.removeprefix('http://')}"]
        await keeper.keep()
        for worker in workers:
            await worker.start()
            await worker.keep()
        service.ready(data=data_url, admin=admin, public=public_url, **urls)
        await service.stopping.wait()
    finally:
        await asyncio.gather(*(daemon.stop() for daemon in workers))  # they drain side by side
        await keeper.stop()
        for listener in (*listeners, *secure):
            listener.close()
        place.link.unlink(missing_ok=True)
        lock.close()


async def keeper(service: Service, launch: Launch, public_url: str) -> None:
    """The keeper's process."""
    from appliance.keeper import Keeper
    from media.objects import open_store

    settings = settings_of(launch)
    place = Place.of(launch, settings)
    store = open_store(settings.store or f"file://{(place.data / 'store').absolute()}")
    place.link.unlink(missing_ok=True)
    await Keeper(
        launch.instance, place.data, place.home, place.folders, public_url, store, settings
    ).run(service, place.link)


async def worker(service: Service, launch: Launch, slot: int, socket_fds: list[int]) -> None:
    """A worker's process; it serves on the inherited sockets: the data port's, and the TLS
    port's if there is one. It has no use for the keeper's half of the house, which weighs 20 MB."""
    from appliance.worker import Worker

    settings = settings_of(launch)
    place = Place.of(launch, settings)
    listeners = [socket.socket(fileno=descriptor) for descriptor in socket_fds]
    doors = [Door(listeners[0], Plain)]
    certificates = None
    if len(listeners) > 1:
        certificates = _certificates(settings)
        doors.append(Door(listeners[1], Secure.maker(certificates)))
    serving = Worker(
        launch.instance,
        slot,
        doors,
        certificates,
        place.home,
        place.folders,
        place.trust,
        place.log if settings.access_log else None,
        place.link,
        settings,
    )
    service.spawn("link", serving.link.run(service.ready))
    # What is held is served without the keeper, too.
    asyncio.get_running_loop().call_later(_KEEPER_S, service.ready)
    await serving.run(service.stopping)


def _lock(home: Path) -> TextIO:
    """Holds the appliance's folder while the file is open. Raises Problem `data_in_use`."""
    lock = (home / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise Problem("data_in_use", f"Another appliance uses {home}.") from None
    return lock


def _listeners(listen: str, count: int) -> list[socket.socket]:
    """One listening socket for each worker, on one port. Raises Problem `port_in_use`: alone,
    SO_REUSEPORT would share the port with another program of the same user, so it is tried
    without first."""
    bind(listen).close()
    first = bind(listen, reuse_port=True)
    again = url_of(first).removeprefix("http://")
    return [first, *(bind(again, reuse_port=True) for _ in range(count - 1))]


def _certificates(settings: ApplianceSettings) -> Certificates:
    return Certificates(Path(settings.tls_cert), Path(settings.tls_key))


def _worker(launch: Launch, slot: int, sockets: list[socket.socket], board: Board) -> Daemon:
    def died() -> None:  # nobody waits for the dead to acknowledge
        board.row(slot)[Word.ALIVE] = 0
        board.row(slot)[Word.OPEN] = 0

    descriptors = [sock.fileno() for sock in sockets]
    argv = [*_argv(launch, "worker"), f"--slot={slot}"]
    argv += [f"--socket-fd={descriptor}" for descriptor in descriptors]
    return Daemon(f"worker-{slot}", argv, pass_fds=descriptors, died=died)


def _argv(launch: Launch, part: str) -> list[str]:
    argv = [
        sys.executable,
        "-m",
        "appliance",
        f"--data={launch.data}",
        f"--instance={launch.instance}",
        f"--log-level={launch.log_level}",
        f"--part={part}",
    ]
    if launch.config is not None:
        argv.append(f"--config={launch.config}")
    return argv + [f"--set={key}={value}" for key, value in launch.flags.items()]

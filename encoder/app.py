"""Wires an encoder: its identity, its store, its place to work, and the loop over them."""

import fcntl
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from encoder.control import Control
from encoder.settings import EncoderSettings
from encoder.worker import Worker
from media.keys import Identity
from media.objects import ObjectStore, open_store
from media.token import sign_machine_token
from runtime import programs
from runtime.client import Client
from runtime.errors import Problem
from runtime.launch import Launch
from runtime.service import Service
from runtime.settings import load

AUDIENCE = "control"


async def main(service: Service, launch: Launch) -> None:
    """Takes jobs until the service stops. Raises Problem when it cannot begin."""
    settings = load(EncoderSettings, "encoder", file=launch.config, flags=launch.flags)
    for program in (programs.ffmpeg, programs.ffprobe, programs.packager):
        program()
    secrets = launch.data / "secrets"
    identity = Identity.open(launch.instance, "encoder", secrets / f"{launch.instance}.key")
    store = _store(settings, launch.data)
    place = Path(settings.work) if settings.work else launch.data / "encoder" / launch.instance
    client = Client(
        settings.control_plane_url,
        authorize=lambda: sign_machine_token(identity, AUDIENCE, int(time.time())),
    )
    try:
        with workplace(place) as folder:
            worker = Worker(Control(client), store, folder, settings)
            service.ready()
            await worker.run(service.stopping)
    finally:
        await client.close()
        await store.close()


@contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """The folder is ours alone, and nothing of an encoder that was killed is left in it.

    Raises Problem `data_in_use` when another encoder works there.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Problem("data_in_use", f"Another encoder works in {folder}.") from None
        for leftover in folder.glob(".nearcast-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield folder


def _store(settings: EncoderSettings, data: Path) -> ObjectStore:
    try:
        return open_store(settings.store or f"file://{(data / 'store').absolute()}")
    except ValueError as error:
        raise Problem("bad_settings", f"The setting encoder.store: {error}.") from None

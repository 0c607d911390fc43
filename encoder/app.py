"""Wires an encoder: its identity, its store, its place to work, and the loop over them."""

import time
from pathlib import Path

from encoder.control import Control
from encoder.farm import open_farm
from encoder.settings import EncoderSettings
from encoder.worker import Worker
from encoder.workplace import workplace
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
            worker = Worker(Control(client), store, open_farm(settings), folder, settings)
            service.ready()
            await worker.run(service.stopping)
    finally:
        await client.close()
        await store.close()


def _store(settings: EncoderSettings, data: Path) -> ObjectStore:
    try:
        return open_store(settings.store or f"file://{(data / 'store').absolute()}")
    except ValueError as error:
        raise Problem("bad_settings", f"The setting encoder.store: {error}.") from None

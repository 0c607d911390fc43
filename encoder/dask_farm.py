"""Pieces made by the workers of a Dask cluster, each of which reads of the master what it needs.

The scheduler may be killed and come back: then those that are missing are asked for again. So may
this process: its pieces are released, and workers stop making what nobody waits for.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Client, as_completed, get_worker
from distributed.client import FutureCancelledError
from distributed.scheduler import KilledWorker

from encoder.farm import Order
from encoder.pieces import Kept, Piece, make
from encoder.settings import EncoderSettings
from media.objects import StoreUnavailable, open_store
from runtime.errors import Problem
from runtime.log import logger

_PATIENCE_S = 60.0  # without a piece and without the scheduler
_AGAIN_S = 2.0
_LOOK_S = 0.5


@dataclass(frozen=True)
class _Task:
    """All that a worker has to know."""

    piece: Piece
    master: str
    store_url: str
    package_id: str
    settings: EncoderSettings
    topic: str


class DaskFarm:
    """The cluster whose scheduler is at `address`."""

    far = True

    def __init__(self, address: str) -> None:
        self._address = address
        # It prints the traceback of what we are told anyway.
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)

    async def fill(self, order: Order) -> None:
        missing, since = list(order.pieces), time.monotonic()
        while missing:
            try:
                await self._fill(missing, order)
                return
            except (OSError, TimeoutError, FutureCancelledError) as error:
                logger().warning("farm_away", address=self._address, error=str(error))
            left = [piece for piece in missing if not await order.kept.has(piece)]
            if len(left) < len(missing):
                missing, since = left, time.monotonic()
            elif time.monotonic() - since > _PATIENCE_S:
                raise Problem("unavailable", f"The farm at {self._address} does not answer.")
            await asyncio.sleep(_AGAIN_S)

    async def _fill(self, pieces: Sequence[Piece], order: Order) -> None:
        by_key = {piece.key: piece for piece in pieces}
        topic = f"nearcast-{pieces[0].key}"

        def hear(event: tuple[float, dict[str, Any]]) -> None:
            told = event[1]
            if told["key"] in by_key:
                order.on_frames(by_key[told["key"]], told["frames"])

        async with Client(
            self._address, asynchronous=True, timeout="5s", name="nearcast"
        ) as client:
            client.subscribe_topic(topic, hear)
            tasks = [
                _Task(
                    piece,
                    order.master,
                    order.kept.store.url,
                    order.kept.package_id,
                    order.settings,
                    topic,
                )
                for piece in pieces
            ]
            futures = [
                client.submit(_make_there, task, key=task.piece.key, retries=2) for task in tasks
            ]
            async for future in as_completed(futures):
                try:
                    failed = await future
                except KilledWorker:
                    raise Problem("encode_failed", "A piece ended several workers.") from None
                if failed is not None:
                    raise Problem(*failed)
                piece = by_key[future.key]
                order.on_frames(piece, piece.frames)


async def _make_there(task: _Task) -> tuple[str, str] | None:
    """Runs in a worker: the piece is done. Returns the code and sentence of a Problem."""
    worker = get_worker()

    def tell(frames: int) -> None:
        worker.log_event(task.topic, {"key": task.piece.key, "frames": frames})

    store = open_store(task.store_url)
    kept = Kept(store, task.package_id)
    place = Path(worker.local_directory)
    making = asyncio.create_task(make(task.piece, task.master, kept, task.settings, place, tell))
    try:
        while not making.done():
            await asyncio.wait({making}, timeout=_LOOK_S)
            known = worker.state.tasks.get(task.piece.key)
            if known is None or known.state == "cancelled":
                making.cancel()  # nobody waits for it
        await making
    except Problem as problem:
        return problem.code, problem.detail
    except StoreUnavailable as error:
        return "store_unavailable", f"The object store: {error}."
    except asyncio.CancelledError:
        return "unavailable", "The piece was given up."
    finally:
        making.cancel()
        await asyncio.gather(making, return_exceptions=True)
        await store.close()
    return None

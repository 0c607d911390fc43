"""Who makes the pieces: this process, some at a time, or the workers of a Dask cluster.

What makes an encode survive is not the queue but the store: pieces that are done stay so. A farm
may lose all it knows, and whoever comes back to it asks for what is missing.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from encoder.pieces import Kept, Piece, make
from encoder.settings import EncoderSettings

# A film in several sizes keeps about so many cores busy, and the next one fills its pauses.
_CORES_EACH = 4
_SOUND_AT_ONCE = 2  # beside the pictures: they take one core each, and little memory


OnFrames = Callable[[Piece, int], None]  # so many frames of it are done


@dataclass(frozen=True)
class Order:
    """Pieces that are to be done: of what master, where it is read, where they are kept."""

    pieces: Sequence[Piece]
    master: str
    kept: Kept
    place: Path
    settings: EncoderSettings
    on_frames: OnFrames


class Farm(Protocol):
    """Makes pieces. One that is `far` reads the master where all machines can."""

    far: bool

    async def fill(self, order: Order) -> None:
        """Every piece is done. Raises Problem or StoreUnavailable, and then the others are given
        up."""


class Here:
    """Pieces are made by this process's own children, `at_once` chunks for all films together."""

    far = False

    def __init__(self, at_once: int = 0) -> None:
        cores = len(os.sched_getaffinity(0))
        self._pictures = asyncio.Semaphore(at_once or 1 + cores // _CORES_EACH)
        self._sound = asyncio.Semaphore(_SOUND_AT_ONCE)

    async def fill(self, order: Order) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for piece in order.pieces:
                    group.create_task(self._make(piece, order), name=f"piece-{piece.key}")
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None

    async def _make(self, piece: Piece, order: Order) -> None:
        tell = partial(order.on_frames, piece)
        async with self._pictures if piece.frames else self._sound:
            await make(piece, order.master, order.kept, order.settings, order.place, tell)


def open_farm(settings: EncoderSettings) -> Farm:
    """The farm that the settings name."""
    if not settings.farm:
        return Here(settings.at_once)
    from encoder.dask_farm import DaskFarm  # takes a second to import

    return DaskFarm(settings.farm)

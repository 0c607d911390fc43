"""What has to happen though nobody asks: jobs given up, leftovers cleared away."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from control_plane.bell import heard
from media.objects import StoreUnavailable
from runtime.errors import Problem
from runtime.log import logger

PAUSE_S = 5.0
LEFTOVERS = "leftovers"  # the bell's topic for what can be cleared away at once


async def keep_house(
    chores: Mapping[str, Callable[[], Awaitable[None]]], wake: Callable[[], asyncio.Event]
) -> None:
    """Does each chore every PAUSE_S seconds, and at once when woken. One that fails because a
    service is away is tried again in the next round."""
    while True:
        woken = wake()
        for name, chore in chores.items():
            try:
                await chore()
            except (Problem, StoreUnavailable) as error:
                logger().warning("chore_delayed", chore=name, why=str(error))
        await heard(woken, PAUSE_S)

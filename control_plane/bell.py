"""Wakes those who wait for a topic, within this process."""

import asyncio
from weakref import WeakValueDictionary


class Bell:
    """Rung after a change. Listen before looking: then no change is missed between the two.

    Other processes do not hear it, so those who wait also look again every few seconds.
    """

    def __init__(self) -> None:
        # An event lives as long as somebody holds it: topics need no tidying.
        self._listened: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()

    def listen(self, topic: str) -> asyncio.Event:
        """An event that is set at the next ring."""
        event = self._listened.get(topic)
        if event is None:
            event = self._listened[topic] = asyncio.Event()
        return event

    def ring(self, topic: str) -> None:
        """All who listen to the topic go on."""
        event = self._listened.pop(topic, None)
        if event is not None:
            event.set()


async def heard(event: asyncio.Event, timeout_s: float) -> None:
    """The event is set, or the time has passed."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        pass

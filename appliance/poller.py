"""Waits for all connections of a worker at once: one epoll of our own inside the event loop.

The loop sees a single descriptor, and a turn of ours serves whatever has come by then. That costs a
tenth of what the loop's own handles cost per event, and a silent connection costs no handle.

Those who ask are heard first: most of them want little, and have it at once. Then those who are in
the midst of something large are written to, for so long; whoever had no turn has the next one.
"""

import asyncio
import select
import time
from collections.abc import Callable

_EVENTS = 128  # in a turn; then others of the loop have theirs
_WRITING_S = 0.002
_IN, _OUT = select.EPOLLIN, select.EPOLLOUT
_GONE = select.EPOLLHUP | select.EPOLLERR  # told whether asked for or not
_Call = Callable[[], None]


class Poller:
    """Calls back when descriptors can be read or written. Level-triggered."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        before: _Call = lambda: None,
        after: _Call = lambda: None,
    ) -> None:
        """`before` and `after` are called at the ends of each turn."""
        self._before = before
        self._after = after
        self._epoll = select.epoll()
        self._readers: dict[int, _Call] = {}
        self._writers: dict[int, _Call] = {}
        self._known: set[int] = set()
        self._turns: dict[int, int] = {}  # who comes when, after a turn that was too short for all
        self._loop = loop
        loop.add_reader(self._epoll.fileno(), self._turn)

    def add_reader(self, number: int, call: _Call) -> None:
        """`call` whenever there is something to read, or the other side has gone."""
        self._readers[number] = call
        self._watch(number)

    def remove_reader(self, number: int) -> None:
        """No more."""
        if self._readers.pop(number, None) is not None:
            self._watch(number)

    def add_writer(self, number: int, call: _Call) -> None:
        """`call` whenever something can be written, or the other side has gone."""
        self._writers[number] = call
        self._watch(number)

    def remove_writer(self, number: int) -> None:
        """No more."""
        if self._writers.pop(number, None) is not None:
            self._watch(number)

    def forget(self, number: int) -> None:
        """To be called before a descriptor is closed, which then is nobody's."""
        self._readers.pop(number, None)
        self._writers.pop(number, None)
        if number in self._known:
            self._known.discard(number)
            self._epoll.unregister(number)

    def close(self) -> None:
        """Nobody is called any more."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _watch(self, number: int) -> None:
        wanted = (_IN if number in self._readers else 0) | (_OUT if number in self._writers else 0)
        if not wanted:  # whoever waits for neither would be told for ever that it is gone
            if number in self._known:
                self._known.discard(number)
                self._epoll.unregister(number)
        elif number in self._known:
            self._epoll.modify(number, wanted)
        else:
            self._known.add(number)
            self._epoll.register(number, wanted)

    def _turn(self) -> None:
        self._before()
        self._serve()
        self._after()

    def _serve(self) -> None:
        readers, writers = self._readers, self._writers
        later = []
        for number, events in self._epoll.poll(0, _EVENTS):
            # A call may have closed this one: then nobody is found, or a newcomer that finds
            # nothing to read.
            if events != _OUT:
                call = readers.get(number)
                if call is not None and events & (_IN | _GONE):
                    call()
            if events & (_OUT | _GONE):
                later.append(number)
        if later:
            if self._turns:  # epoll tells in the same order each time
                turns = self._turns
                later.sort(key=lambda number: turns.get(number, _EVENTS))
                self._turns = {}
            until = time.monotonic() + _WRITING_S
            for at, number in enumerate(later, 1):
                call = writers.get(number)
                if call is not None:
                    call()
                    if time.monotonic() > until:
                        order = later[at:] + later[:at]
                        self._turns = {number: turn for turn, number in enumerate(order)}
                        return

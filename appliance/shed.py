"""Shedding: who is refused first when there is too much to do. A table. Pure.

    priority   who                                 flights: share     refused altogether
                                                   of the limit       from this load on
    RUNNING    a session that plays                1.0                never
    FIRST      a session in its first seconds      0.8                1.2
    PEER       another appliance's fill            0.6                1.0
    PREFETCH   files that nobody has asked for     0.4                0.8

Two things run out. *Flights* (see `limit`) are wanted by misses alone; the lower a priority, the
earlier the limit ends for it, so that some is always left for those above. *Load* is the worst
bottleneck (`Vitals.pressure`), 1.0 = all that the appliance can bear. A running session's hit is
never refused: to refuse it costs as much as to serve it, and its viewer would see it. A session in
its first seconds has shown nothing yet; its player begins at the next pathway. But steering sends
nobody from 0.95 on, so who still comes has come between two reports, or for want of another: up to
a fifth more is borne. A peer has other sources, but the last of them is the store, which has it
worse than we: it is refused when we are full, and not before.

Load that only just passes a bar would refuse everyone of a priority one moment and no one the next;
what keeps that calm is that load is a smoothed figure (`vitals`).
"""

import math
from enum import IntEnum
from hashlib import blake2b
from typing import Literal, NamedTuple

# A session this young has shown no picture, or only just: players start within a few seconds.
FIRST_S = 10.0

# Retry-After lies in [RETRY_S, RETRY_S + RETRY_SPREAD_S): soon enough for a player's patience, and
# wide enough that those refused together return apart.
RETRY_S = 2
RETRY_SPREAD_S = 6


class Priority(IntEnum):
    """Lowest first."""

    PREFETCH = 0
    PEER = 1
    FIRST = 2
    RUNNING = 3


class _Row(NamedTuple):
    flight_share: float
    load_bar: float


_TABLE = {
    Priority.PREFETCH: _Row(0.4, 0.8),
    Priority.PEER: _Row(0.6, 1.0),
    Priority.FIRST: _Row(0.8, 1.2),
    Priority.RUNNING: _Row(1.0, math.inf),
}


class Room(NamedTuple):
    """What each priority may have until the next tick, indexed by Priority: whether it is served at
    all, and the flights that may be under way for it to start one more."""

    served: tuple[bool, ...]
    flights: tuple[int, ...]


def serves(priority: Priority, load: float) -> bool:
    """Whether anyone of this priority is served under this load."""
    return load < _TABLE[priority].load_bar


def room(limit: int, load: float) -> Room:
    """The room under this limit and load. It falls with the priority; RUNNING always has some."""
    served = tuple(serves(priority, load) for priority in Priority)
    flights = tuple(
        max(1, math.floor(limit * _TABLE[priority].flight_share)) if served[priority] else 0
        for priority in Priority
    )
    return Room(served, flights)


def priority_of(scope: Literal["play", "fill"], session_age_s: float) -> Priority:
    """The priority of a request, by its token's scope and its session's age. A session that comes
    from another appliance keeps its age: it plays, and has been refused once already."""
    if scope == "fill":
        return Priority.PEER
    return Priority.FIRST if session_age_s < FIRST_S else Priority.RUNNING


def retry_after_s(who: str) -> int:
    """Seconds for Retry-After, always the same for the same session or peer, evenly spread over
    all of them."""
    digest = blake2b(who.encode(), digest_size=4).digest()
    return RETRY_S + int.from_bytes(digest, "big") % RETRY_SPREAD_S

"""What one worker bears: its flights and their limit, the room that leaves, its loop's lag. Pure.

A worker has one of these. Where it is called, per request:

    hit      `calm`, nearly always True; else `served[priority]`
    miss     `may_begin(priority)` and `begin()`, where a flight begins; who joins one asks nothing
    flight   `first_byte(us)` or `failed()`, once
    refused  `shed(priority)`

and `tick` four times a second. What the keeper should know is on the worker's tally.
"""

from appliance.shed import Priority, room
from appliance.tally import Tally, note
from runtime.limit import Limiter


class WorkerLoad:
    """`served` says by priority who is served at all; `calm`: everyone is. `tally` is the worker's
    own (Board.tally), or as many ints."""

    __slots__ = (
        "_limiter",
        "_may_begin",
        "_tally",
        "_tick_s",
        "_ticked_s",
        "calm",
        "flights",
        "served",
    )

    def __init__(self, tally: "memoryview | list[int]", now_s: float, tick_s: float) -> None:
        """Ticks are to come every `tick_s`; times are monotonic seconds."""
        self._tally = tally
        self._limiter = Limiter()
        self._tick_s = tick_s
        self._ticked_s = now_s - tick_s
        self.flights = 0  # files asked for, of which no byte may leave yet
        tally[Tally.LAG_US] = 0
        self.tick(now_s, 0.0, 0)

    def may_begin(self, priority: Priority) -> bool:
        """Whether a request of this priority may have one more file brought."""
        return self.flights < self._may_begin[priority]

    def begin(self) -> None:
        """A flight has begun."""
        self.flights += 1

    def first_byte(self, us: int) -> None:
        """A flight's first byte may leave, so many microseconds after it began."""
        self._limiter.landed(us, self.flights)
        self.flights -= 1
        note(self._tally, Tally.FILL, us)

    def failed(self) -> None:
        """A flight has ended before its first byte could leave."""
        self.flights -= 1

    def shed(self, priority: Priority) -> None:
        """A request was refused for want of room."""
        self._tally[Tally.SHED + priority] += 1

    def tick(self, now_s: float, pressure: float, cpu_us: int) -> None:
        """Limit and room hold until the next tick. `pressure` is the board's, `cpu_us` what this
        process has used. A lag stays on the tally for a few ticks, halved each time, so that the
        keeper sees it."""
        lag_us = int(max(0.0, now_s - self._ticked_s - self._tick_s) * 1e6)
        self._ticked_s = now_s
        limit = self._limiter.tick(now_s)
        self.served, self._may_begin = room(limit, pressure)
        self.calm = all(self.served)
        tally = self._tally
        tally[Tally.LAG_US] = max(lag_us, tally[Tally.LAG_US] // 2)
        tally[Tally.BEAT_US] = int(now_s * 1e6)
        tally[Tally.CPU_US] = cpu_us
        tally[Tally.FLIGHTS] = self.flights
        tally[Tally.LIMIT] = limit

"""How much may be under way at once: Netflix's Gradient2 limit. Pure.

What is limited are *flights*: for a worker of an appliance the files that it has asked the keeper
for, and of which no byte may leave yet; for an API the calls that it works on. How long they take
says how far what is behind them is loaded: when that has more to do than it can, the time grows,
and to ask for still more would only make everybody wait longer. So, on an appliance:

- one sample a flight, when its first byte may leave, however many clients wait for it; five hundred
  that ask for one cold file are one flight, and joining a flight is never refused;
- a client's reading time does not count: it tells about the client;
- hits do not count: they wait for nothing but the loop, and of that the worker's lag tells;
- a flight that failed gives no sample: an open breaker refuses at once, and would look like speed.

Gradient2 (concurrency-limits, `Gradient2Limit`): the latency of a short window is compared with a
long average,

    g = clamp(long / short, 0.5, 1)       new = limit · g + QUEUE       limit += 0.2 · (new − limit)

so while latency stays what it was the limit grows by QUEUE · 0.2 a window, and when it rises the
limit falls until what queues is about QUEUE. Netflix's tolerance, 1.5, is left out: with it the
long average learns half of any overload as the new normal, again and again while it lasts. Without
it the limit creeps by about one in 75 windows, which is how a store that is slower for good is
learnt; MOST ends that.
"""

from dataclasses import dataclass, field

QUEUE = 4
SMOOTHING = 0.2
LONG_WINDOWS = 600
_WARM_UP = 10  # windows whose plain mean the long average starts from
WINDOW_S = 0.5  # so the limit grows by 1.6 a second, and "long" is five minutes
# The mean of fewer is mostly chance, and chance only ever lowers the limit (g is at most 1).
MIN_SAMPLES = 10

# One player asks for video, audio, their lists and the inventory at once.
LEAST = 8
# The keeper runs at most as many flights (fill.MAX_FLIGHTS), all workers together.
MOST = 1024
START = 64


@dataclass
class Limiter:
    """`limit` is the number of flights that may be under way. A worker calls `landed` for each
    flight and `tick` a few times a second."""

    limit: float = START
    least: int = LEAST
    most: int = MOST
    long_us: float = 0.0  # 0: no window has ended yet
    _windows: int = 0
    _window_began_s: float | None = None
    _sum_us: int = field(default=0, repr=False)
    _samples: int = field(default=0, repr=False)
    _peak: int = field(default=0, repr=False)

    def landed(self, first_byte_us: int, flights: int) -> None:
        """The first byte of a flight may leave, so many microseconds after it was asked for;
        `flights` are under way now, this one included."""
        self._sum_us += first_byte_us
        self._samples += 1
        if flights > self._peak:  # noqa: PLR1730 - a call of max() would cost more than the rest
            self._peak = flights

    def tick(self, now_s: float) -> int:
        """The limit from now on, in whole flights. A window ends when it is WINDOW_S old and has
        enough samples."""
        if self._window_began_s is None:
            self._window_began_s = now_s
        elif now_s - self._window_began_s >= WINDOW_S and self._samples >= MIN_SAMPLES:
            self._end_window(max(1.0, self._sum_us / self._samples))
            self._window_began_s = now_s
            self._sum_us = self._samples = self._peak = 0
        return int(self.limit)

    def _end_window(self, short_us: float) -> None:
        self._learn(short_us)
        if self._peak < self.limit / 2:
            return  # too little was asked for to tell what more would do
        gradient = max(0.5, min(1.0, self.long_us / short_us))
        wanted = self.limit * gradient + QUEUE
        limit = self.limit + SMOOTHING * (wanted - self.limit)
        self.limit = max(self.least, min(self.most, limit))

    def _learn(self, short_us: float) -> None:
        """The long average takes the window in. Once it is twice what is true now, an overload is
        over, and it comes down faster."""
        self._windows += 1
        share = 1 / self._windows if self._windows <= _WARM_UP else 2 / (LONG_WINDOWS + 1)
        self.long_us += share * (short_us - self.long_us)
        if self.long_us > 2 * short_us:
            self.long_us *= 0.95

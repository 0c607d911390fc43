"""Flow control that decides without I/O: time is an argument, in monotonic seconds."""

from collections import OrderedDict


class Buckets:
    """A token bucket for each key: `rate` calls a second, and up to `burst` at once after a pause.
    The `most` keys that were last heard are remembered (as a cell rate algorithm, GCRA, does it:
    the moment at which a bucket is full again is all there is to know)."""

    def __init__(self, rate: float, burst: float, most: int = 20_000) -> None:
        self._step_s = 1 / rate
        self._room_s = burst / rate
        self._most = most
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take(self, key: str, now_s: float) -> float:
        """Takes a token. Returns 0, or the seconds until there is one, and then takes none."""
        full_at = max(self._full_at.get(key, now_s), now_s) + self._step_s
        late_s = full_at - now_s - self._room_s
        if late_s > 1e-9:
            return late_s
        self._full_at[key] = full_at
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._most:
            self._full_at.popitem(last=False)
        return 0.0


class Pace:
    """Bytes at a rate: a token bucket that may run dry. Whoever finds something in it takes as much
    as a file has, and what is missing is waited for by the next one; so a file larger than the
    bucket passes, too. A pause saves up `burst_s` seconds' worth."""

    def __init__(self, rate: float | None, burst_s: float = 1.0) -> None:
        """`rate` is in bytes a second; None: no limit."""
        self._rate = rate
        self._burst_s = burst_s
        self._owed = 0.0  # bytes; below 0: saved up
        self._at_s: float | None = None

    def set_rate(self, rate: float | None, now_s: float) -> None:
        """The rate from now on. What was taken before stays taken."""
        self._flow(now_s)
        self._rate = rate

    def wait_s(self, now_s: float) -> float:
        """Seconds until something may be taken; 0: now."""
        self._flow(now_s)
        if self._rate is None or self._owed < 1:  # byte; less is how numbers are rounded
            return 0.0
        return self._owed / self._rate

    def take(self, count: int, now_s: float) -> None:
        """So many bytes are taken."""
        self._flow(now_s)
        if self._rate is not None:
            self._owed += count

    def _flow(self, now_s: float) -> None:
        passed_s = 0.0 if self._at_s is None else max(0.0, now_s - self._at_s)
        self._at_s = now_s
        if self._rate is None:
            self._owed = 0.0
        else:
            saved = self._rate * self._burst_s
            self._owed = max(self._owed - passed_s * self._rate, -saved)


class Breaker:
    """Leaves a failing remote alone: after `failures` in a row no call is allowed for `rest_s`
    seconds; then one probe is, and its outcome decides (circuit breaker, half-open state)."""

    def __init__(self, failures: int = 3, rest_s: float = 5.0) -> None:
        self._limit = failures
        self._rest_s = rest_s
        self._failed = 0
        self._closed_until = 0.0

    def allows(self, now_s: float) -> bool:
        """Whether to call now. In the half-open state one caller is told yes per rest."""
        if self._failed < self._limit:
            return True
        if now_s < self._closed_until:
            return False
        self._closed_until = now_s + self._rest_s
        return True

    def tripped(self, now_s: float) -> bool:
        """Whether it has failed too often, and that is news: the last failure is at most three
        rests ago."""
        return self._failed >= self._limit and now_s < self._closed_until + 2 * self._rest_s

    def record(self, ok: bool, now_s: float) -> None:
        """How a call ended."""
        if ok:
            self._failed = 0
            return
        self._failed += 1
        if self._failed >= self._limit:
            self._closed_until = now_s + self._rest_s

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

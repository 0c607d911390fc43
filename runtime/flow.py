"""Flow control that decides without I/O: time is an argument, in monotonic seconds."""


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

"""How many unknown tokens are looked into. Pure.

To verify a signature takes 0.1 ms, whether it is sound or forged: a few thousand forged tokens a
second would take a core from those who are watching. So an address that sent some is believed no
more for the rest of the second, and neither is anyone new once many addresses do. Tokens that were
verified before are not asked about here.
"""

from collections import Counter

DOUBT_S = 1  # for so long, and no longer
FORGED_PER_ADDRESS = 5  # in a second; an expired token is not a forged one
FORGED_IN_ALL = 1_000  # 10 % of a core


class Doubts:
    """Counts tokens that were refused, by the second."""

    def __init__(self) -> None:
        self._second = 0
        self._in_all = 0
        self._by_address: Counter[str] = Counter()  # as long as FORGED_IN_ALL at most

    def allow(self, address: str, now_s: float) -> bool:
        """A token that is not known, from this address, may be verified."""
        second = int(now_s) // DOUBT_S
        if second != self._second:
            self._second, self._in_all = second, 0
            self._by_address.clear()
        return (
            self._in_all < FORGED_IN_ALL and self._by_address.get(address, 0) < FORGED_PER_ADDRESS
        )

    def refused(self, address: str) -> None:
        """The token that was allowed was forged."""
        self._in_all += 1
        self._by_address[address] += 1

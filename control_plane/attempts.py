"""How often somebody may try to sign in: limits by account, by address, and by both together.

Limits by account alone would let anybody lock anybody out: an address from which the account has
signed in before is spared that one (OWASP's device cookies, with the address for a cookie).
"""

import hashlib
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from runtime.errors import Problem
from runtime.state import State

KNOWN_S = 30 * 86_400
# How much more than one name from one address: an address has many users behind it, and an account
# many addresses, but over a longer time.
PER_ADDRESS = 10
PER_ACCOUNT = 5
ACCOUNT_WINDOW_S = 900
WINDOW_S = 60


@dataclass(frozen=True)
class Limit:
    """At most `most` failed attempts in `window_s` seconds."""

    key: str
    most: int
    window_s: int


class Attempts:
    """Counts attempts in the shared state, which knows digests only, no names. `most` is the number
    that one name may have from one address in WINDOW_S seconds."""

    def __init__(self, state: State, most: int) -> None:
        self._state = state
        self._most = most

    async def begin(self, name: str, address: str) -> None:
        """The attempt counts, from before it is checked, so that tries side by side do not slip
        through. Raises Problem `too_many_attempts`, StateUnavailable."""
        pair, known = self._pair(name, address), await self._is_known(name, address)
        limits = [pair, self._by_address(address), *([] if known else [self._by_account(name)])]
        for limit in limits:  # what one refuses does not count for the next
            if await self._state.add(limit.key, 1, limit.window_s) > limit.most:
                raise Problem("too_many_attempts", retry_after_s=limit.window_s)

    async def succeed(self, name: str, address: str) -> None:
        """It was no failure, and the address is known from now on. Raises StateUnavailable."""
        await self._state.delete(self._pair(name, address).key)
        by_address = self._by_address(address)
        await self._state.add(by_address.key, -1, by_address.window_s)
        await self._state.delete(self._by_account(name).key)
        await self._state.put(_key("known", name, address), b"1", KNOWN_S)

    async def _is_known(self, name: str, address: str) -> bool:
        return await self._state.get(_key("known", name, address)) is not None

    def _pair(self, name: str, address: str) -> Limit:
        return Limit(_key("login", name, address), self._most, WINDOW_S)

    def _by_address(self, address: str) -> Limit:
        return Limit(_key("login", "", address), self._most * PER_ADDRESS, WINDOW_S)

    def _by_account(self, name: str) -> Limit:
        return Limit(_key("login", name, ""), self._most * PER_ACCOUNT, ACCOUNT_WINDOW_S)


def network_of(address: str) -> str:
    """What one client has: an IPv4 address, or an IPv6 network of 64 bits."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    return str(ip) if ip.version == 4 else str(ip_network((ip, 64), strict=False))


def _key(kind: str, name: str, address: str) -> str:
    """One length whatever is typed."""
    said = f"{network_of(address) if address else ''} {name}"
    return f"{kind}:{hashlib.sha256(said.encode()).hexdigest()[:32]}"

"""Who asks, behind proxies that are trusted. Pure.

Each proxy adds the address that it was asked from, so the list is read from its end: the last
address that is no proxy of ours is the client's. What stands in front of it, anybody can have
written.
"""

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Literal

from media.networks import NetworkMap, parse_network

ForwardedHeader = Literal["X-Forwarded-For", "Forwarded"]
MAX_HOPS = 32  # proxies in a row; nobody has as many
# RFC 7239, 4: parameters are tokens or quoted strings, elements are divided by commas.
_FOR = re.compile(r'(?:^|[;,\s])for=("[^"]*"|[^;,\s]*)', re.IGNORECASE)


class Proxies:
    """The networks of proxies that are trusted, and the header that they write. No other is read:
    a proxy passes those on that it does not know."""

    def __init__(
        self, networks: Iterable[str], header: ForwardedHeader = "X-Forwarded-For"
    ) -> None:
        """Raises ValueError for what is no network."""
        self.header = header
        self._networks = NetworkMap((parse_network(network), True) for network in networks)

    def client(self, peer: str, values: Iterable[str]) -> str:
        """The client's address, asked by `peer`; `values` are those of the header, in order."""
        if not self._trusts(peer):
            return peer
        text = ",".join(values)
        hops = _hops(text, self.header)[-MAX_HOPS:]
        address = peer
        for hop in reversed(hops):
            bare = _bare(hop)
            if bare is None:  # "unknown", a hidden name, or nonsense: what is left of it is no help
                break
            address = bare
            if not self._trusts(bare):
                break
        return address

    def _trusts(self, address: str) -> bool:
        return self._networks.find(address) is True


def _hops(text: str, header: ForwardedHeader) -> list[str]:
    if header == "Forwarded":
        return [value.strip('"') for value in _FOR.findall(text)]
    return [hop.strip() for hop in text.split(",") if hop.strip()]


def _bare(hop: str) -> str | None:
    """The address of a hop, which may have brackets and a port."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        return str(ip_address(hop))
    except ValueError:
        return None

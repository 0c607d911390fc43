"""Which network an address belongs to: longest prefix match over IPv4 and IPv6. Pure."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Generic, TypeVar

T = TypeVar("T")

_MAPPED_BITS = 96  # ::ffff:0:0/96, IPv4 as an IPv6 socket sees it (RFC 4291, 2.5.5.2)


class NetworkMap(Generic[T]):
    """Values by network. A lookup tries one dictionary for each prefix length in use, the longest
    first, so it costs the number of lengths, whatever the number of networks."""

    def __init__(self, networks: Iterable[tuple[str, T]]) -> None:
        """`networks` are CIDR prefixes with their values. Raises ValueError for one that is not a
        network, has host bits set, or comes twice."""
        by_length: dict[tuple[int, int], dict[int, T]] = {}
        for text, value in networks:
            version, bits, length = _prefix(text)
            table = by_length.setdefault((version, length), {})
            if bits in table:
                raise ValueError(f"the network {text} comes twice")
            table[bits] = value
        self._tables: dict[int, list[tuple[int, dict[int, T]]]] = {4: [], 6: []}
        for (version, length), table in sorted(by_length.items(), key=lambda item: -item[0][1]):
            self._tables[version].append((_width(version) - length, table))

    def find(self, address: str) -> T | None:
        """The value of the longest prefix that has the address; None when there is none, or when
        the text is not an address."""
        try:
            parsed = _unmapped(ip_address(address))
        except ValueError:
            return None
        bits = int(parsed)
        for shift, table in self._tables[parsed.version]:
            value = table.get(bits >> shift)
            if value is not None:
                return value
        return None


def _prefix(text: str) -> tuple[int, int, int]:
    """Version, leading bits and length of a network, an IPv4-mapped one as IPv4."""
    network = ip_network(text)
    first = _unmapped(network.network_address)
    length = network.prefixlen
    if first.version != network.version:
        length -= _MAPPED_BITS
        if length < 0:
            raise ValueError(f"{text} reaches beyond the IPv4-mapped addresses")
    return first.version, int(first) >> (_width(first.version) - length), length


def _unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


def _width(version: int) -> int:
    return 32 if version == 4 else 128

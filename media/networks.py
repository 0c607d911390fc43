"""Which network an address belongs to: longest prefix match over IPv4 and IPv6. Pure."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Generic, TypeVar

T = TypeVar("T")

_MAPPED_BITS = 96  # ::ffff:0:0/96, IPv4 as an IPv6 socket sees it (RFC 4291, 2.5.5.2)


Network = tuple[int, int, int]
"""Version, leading bits, and how many they are; an IPv4-mapped network is one of IPv4."""


class NetworkMap(Generic[T]):
    """Values by network. A lookup tries one dictionary for each prefix length in use, the longest
    first, so it costs the number of lengths, whatever the number of networks."""

    def __init__(self, networks: Iterable[tuple[Network, T]]) -> None:
        """Of a network that comes twice the last value counts."""
        by_length: dict[tuple[int, int], dict[int, T]] = {}
        for (version, bits, length), value in networks:
            by_length.setdefault((version, length), {})[bits] = value
        self._tables: dict[int, list[tuple[int, dict[int, T]]]] = {4: [], 6: []}
        for (version, length), table in sorted(by_length.items(), key=lambda item: -item[0][1]):
            self._tables[version].append((_width(version) - length, table))

    def find(self, address: str) -> T | None:
        """The value of the longest prefix that has the address; None when there is none, or when
        the text is not an address."""
        parsed = _parsed(address)
        if parsed is None:
            return None
        bits = int(parsed)
        for shift, table in self._tables[parsed.version]:
            value = table.get(bits >> shift)
            if value is not None:
                return value
        return None

    def prefix(self, address: str) -> str | None:
        """The longest prefix that has the address, in CIDR notation."""
        parsed = _parsed(address)
        if parsed is None:
            return None
        bits = int(parsed)
        for shift, table in self._tables[parsed.version]:
            if bits >> shift in table:
                return _cidr(parsed, shift)
        return None


def parse_network(text: str) -> Network:
    """The network of this CIDR notation. Raises ValueError for what is none, or has host bits
    set."""
    network = ip_network(text)
    first = _unmapped(network.network_address)
    length = network.prefixlen
    if first.version != network.version:
        length -= _MAPPED_BITS
        if length < 0:
            raise ValueError(f"{text} reaches beyond the IPv4-mapped addresses")
    return first.version, int(first) >> (_width(first.version) - length), length


def surrounding(address: str) -> str:
    """The /24 or /48 of the address, which is what one customer or one street has; empty for what
    is no address."""
    parsed = _parsed(address)
    if parsed is None:
        return ""
    return _cidr(parsed, 8 if parsed.version == 4 else 80)


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        return _unmapped(ip_address(address))
    except ValueError:
        return None


def _cidr(address: IPv4Address | IPv6Address, shift: int) -> str:
    """The network of the address without its last bits."""
    first = type(address)(int(address) >> shift << shift)
    return f"{first}/{_width(address.version) - shift}"


def _unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


def _width(version: int) -> int:
    return 32 if version == 4 else 128

"""Which network an address belongs to: longest prefix match over IPv4 and IPv6. Pure."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_network
from socket import AF_INET, AF_INET6, inet_pton
from typing import Generic, TypeVar

T = TypeVar("T")

_MAPPED = bytes(10) + b"\xff\xff"  # IPv4 as an IPv6 socket sees it (RFC 4291, 2.5.5.2)
_MAPPED_BITS = 8 * len(_MAPPED)


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
        version, bits = _parsed(address)
        for shift, table in self._tables.get(version, ()):
            value = table.get(bits >> shift)
            if value is not None:
                return value
        return None

    def prefix(self, address: str) -> str | None:
        """The longest prefix that has the address, in CIDR notation."""
        version, bits = _parsed(address)
        for shift, table in self._tables.get(version, ()):
            if bits >> shift in table:
                return _cidr(version, bits, shift)
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
    version, bits = _parsed(address)
    return _cidr(version, bits, 8 if version == 4 else 80) if version else ""


def _parsed(address: str) -> tuple[int, int]:
    """Version and bits; version 0 for what is no address. By the C library, since each viewer is
    looked up and `ip_address` takes ten times as long."""
    try:
        if ":" not in address:
            return 4, int.from_bytes(inet_pton(AF_INET, address), "big")
        raw = inet_pton(AF_INET6, address)
    except (OSError, ValueError):  # ValueError: it has a null or is not ASCII
        return 0, 0
    if raw.startswith(_MAPPED):
        return 4, int.from_bytes(raw[len(_MAPPED) :], "big")
    return 6, int.from_bytes(raw, "big")


def _cidr(version: int, bits: int, shift: int) -> str:
    """The network of the address without its last bits."""
    first = bits >> shift << shift
    return f"{IPv4Address(first) if version == 4 else IPv6Address(first)}/{_width(version) - shift}"


def _unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


def _width(version: int) -> int:
    return 32 if version == 4 else 128

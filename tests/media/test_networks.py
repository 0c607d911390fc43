"""Longest prefix match, by table and against a plain search."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.networks import NetworkMap, parse_network, surrounding

T = TypeVar("T")


def mapped(networks: Iterable[tuple[str, T]]) -> NetworkMap[T]:
    return NetworkMap((parse_network(text), value) for text, value in networks)


MAP = mapped(
    [
        ("10.0.0.0/8", "wide"),
        ("10.1.0.0/16", "narrow"),
        ("10.1.2.3/32", "host"),
        ("0.0.0.0/0", "anyone"),
        ("2001:db8::/32", "six"),
        ("2001:db8:5::/48", "six-narrow"),
        ("::ffff:192.0.2.0/120", "mapped"),
    ]
)


@pytest.mark.parametrize(
    ("address", "value"),
    [
        ("10.9.9.9", "wide"),
        ("10.1.9.9", "narrow"),
        ("10.1.2.3", "host"),
        ("10.1.2.4", "narrow"),
        ("11.0.0.1", "anyone"),
        ("::ffff:10.1.2.3", "host"),
        ("::ffff:a01:203", "host"),
        ("192.0.2.200", "mapped"),
        ("::ffff:192.0.2.200", "mapped"),
        ("2001:db8:4::1", "six"),
        ("2001:db8:5::1", "six-narrow"),
        ("2001:db9::1", None),
        ("::1", None),
        ("10.1.2", None),
        ("::::", None),
        ("", None),
        ("010.1.2.3", None),
        ("10.1.2.3\0", None),
        ("１0.1.2.3", None),
        ("fe80::1%eth0", None),
    ],
)
def test_the_longest_prefix_wins(address: str, value: str | None) -> None:
    assert MAP.find(address) == value


@pytest.mark.parametrize("network", ["10.0.0.1/8", "10.0.0.0/33", "north", "", "::ffff:0:0/90"])
def test_what_is_no_network_is_refused(network: str) -> None:
    with pytest.raises(ValueError):
        parse_network(network)


def test_a_mapped_network_is_one_of_ipv4() -> None:
    assert parse_network("10.0.0.0/8") == parse_network("::ffff:10.0.0.0/104")


@pytest.mark.parametrize(
    ("address", "prefix", "street"),
    [
        ("10.1.9.9", "10.1.0.0/16", "10.1.9.0/24"),
        ("::ffff:10.1.2.3", "10.1.2.3/32", "10.1.2.0/24"),
        ("2001:db8:5::1", "2001:db8:5::/48", "2001:db8:5::/48"),
        ("2001:db9::1", None, "2001:db9::/48"),
        ("nobody", None, ""),
    ],
)
def test_the_network_of_an_address(address: str, prefix: str | None, street: str) -> None:
    assert MAP.prefix(address) == prefix
    assert surrounding(address) == street


networks4 = st.builds(
    lambda bits, length: IPv4Network((bits >> (32 - length) << (32 - length), length)),
    st.integers(0, 2**32 - 1),
    st.integers(0, 32),
)
networks6 = st.builds(
    lambda bits, length: IPv6Network((bits >> (128 - length) << (128 - length), length)),
    st.integers(2**125, 2**126),
    st.integers(8, 128),
)


@given(st.sets(networks4 | networks6, max_size=12), st.data())
def test_it_finds_what_a_plain_search_finds(
    networks: set[IPv4Network | IPv6Network], data: st.DataObject
) -> None:
    inside = [network.network_address for network in networks] + [
        network.broadcast_address for network in networks
    ]
    address = data.draw(
        st.sampled_from([ip_address("192.0.2.1"), ip_address("2001:db8::1"), *inside])
    )
    containing = [n for n in networks if n.version == address.version and address in n]
    expected = max(containing, key=lambda network: network.prefixlen, default=None)
    assert mapped((str(n), n) for n in networks).find(str(address)) == expected

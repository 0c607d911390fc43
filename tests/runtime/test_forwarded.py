"""Who asks, behind proxies."""

import pytest

from runtime.forwarded import ForwardedHeader, Proxies

OURS = ("127.0.0.0/8", "10.0.0.0/8", "2001:db8:f::/48")


@pytest.mark.parametrize(
    ("peer", "values", "client"),
    [
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["192.0.2.7"], "192.0.2.7"),
        ("192.0.2.9", ["198.51.100.1"], "192.0.2.9"),  # no proxy of ours: anybody can say so
        ("127.0.0.1", ["6.6.6.6, 192.0.2.7"], "192.0.2.7"),  # what the client wrote itself
        ("127.0.0.1", ["6.6.6.6, 192.0.2.7, 10.0.0.3"], "192.0.2.7"),
        ("127.0.0.1", ["6.6.6.6", "192.0.2.7", "10.0.0.3"], "192.0.2.7"),
        ("127.0.0.1", ["10.0.0.9, 10.0.0.3"], "10.0.0.9"),  # all ours: the farthest
        ("127.0.0.1", ["192.0.2.7:4711"], "192.0.2.7"),
        ("2001:db8:f::1", ["[2001:db8::7]:443"], "2001:db8::7"),
        ("127.0.0.1", ["2001:db8::7"], "2001:db8::7"),
        ("127.0.0.1", ["192.0.2.7, unknown"], "127.0.0.1"),
        ("127.0.0.1", [", ,"], "127.0.0.1"),
        ("127.0.0.1", ["\x00" * 10_000], "127.0.0.1"),
        ("127.0.0.1", [",".join(["10.0.0.1"] * 100_000)], "10.0.0.1"),
    ],
)
def test_the_last_address_that_is_no_proxy(peer: str, values: list[str], client: str) -> None:
    assert Proxies(OURS).client(peer, values) == client
    assert Proxies(()).client(peer, values) == peer


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("for=192.0.2.7", "192.0.2.7"),
        ('For="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"),
        ("for=192.0.2.43;proto=http, for=10.0.0.1;by=203.0.113.43", "192.0.2.43"),
        ("proto=https;for=192.0.2.7", "192.0.2.7"),
        ("for=_hidden", "127.0.0.1"),
        ("192.0.2.7", "127.0.0.1"),
    ],
)
def test_rfc_7239(value: str, client: str) -> None:
    header: ForwardedHeader = "Forwarded"
    assert Proxies(OURS, header).client("127.0.0.1", [value]) == client


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="host bits"):
        Proxies(["10.0.0.1/8"])

"""The name server: its decisions by messages, and its servers by `dig`."""

import asyncio
import os
import random
import shutil

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import pytest

from steering.dns import DnsServer, Zone, answer

NETWORKS = {"192.0.2.7": "192.0.2.0/24", "2001:db8:1::": "2001:db8:1::/48"}
NEAR = {
    "192.0.2.7": ["http://127.0.1.1:8090", "http://[2001:db8::1]:8090", "http://a.example:8090"],
    "2001:db8:1::": ["http://127.0.2.1:8090", "http://127.0.2.1:8091", "http://127.0.2.2:8090"],
}
asked: list[tuple[str, str]] = []


def find(label: str, client: str) -> list[str]:
    asked.append((label, client))
    return NEAR.get(client, ["http://127.0.9.1:8090"])


ZONE = Zone(dns.name.from_text("edge.example"), 20, find, lambda a: NETWORKS.get(a, ""))


def ask(
    name: str, kind: str = "A", peer: str = "127.0.0.1", ecs: str = "", **given: object
) -> dns.message.Message:
    query = dns.message.make_query(name, kind, **given)  # type: ignore[arg-type]
    if ecs:
        address, _, length = ecs.partition("/")
        query.use_edns(0, options=[dns.edns.ECSOption(address, int(length))])
    wire = answer(query.to_wire(), peer, ZONE)
    assert wire is not None
    made = dns.message.from_wire(wire)
    assert made.id == query.id and made.flags & dns.flags.QR
    return made


def data(made: dns.message.Message) -> list[str]:
    return [item.to_text() for rrset in made.answer for item in rrset]


def test_a_name_has_the_addresses_nearest_to_the_resolver() -> None:
    made = ask("ttl_1.edge.example", peer="192.0.2.7")
    assert data(made) == ["127.0.1.1"]
    assert made.answer[0].ttl == 20 and made.flags & dns.flags.AA
    assert asked[-1] == ("ttl_1", "192.0.2.7")
    assert data(ask("x.edge.example", "AAAA", "192.0.2.7")) == ["2001:db8::1"]


def test_the_network_of_the_client_counts_more_where_it_is_told() -> None:
    made = ask("X.Edge.EXAMPLE", ecs="2001:db8:1::7/64")
    assert sorted(data(made)) == ["127.0.2.1", "127.0.2.2"]
    assert asked[-1][0] == "x"
    (option,) = made.options
    assert isinstance(option, dns.edns.ECSOption)
    assert (option.srclen, option.scopelen) == (64, 48)  # RFC 7871 7.2.1
    made = ask("x.edge.example", peer="192.0.2.7", ecs="0.0.0.0/0")  # wants not to be placed
    assert data(made) == ["127.0.1.1"]
    (option,) = made.options
    assert isinstance(option, dns.edns.ECSOption) and option.scopelen == 0


def test_what_is_asked_for_and_not_there_is_an_empty_answer_with_the_zone() -> None:
    for name, kind in (("x.edge.example", "TXT"), ("x.edge.example", "AAAA")):
        made = ask(name, kind)
        assert made.rcode() == dns.rcode.NOERROR and not made.answer
        assert made.authority[0].name == ZONE.name
    assert data(ask("edge.example", "SOA"))


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (dns.message.make_query("example.org", "A"), dns.rcode.REFUSED),
        (dns.message.make_query("x.edge.example", "A", rdclass="CH"), dns.rcode.REFUSED),
        (dns.message.make_query("x.edge.example", "A", use_edns=1), dns.rcode.BADVERS),
    ],
)
def test_what_is_not_ours_is_refused(query: dns.message.Message, code: int) -> None:
    wire = answer(query.to_wire(), "127.0.0.1", ZONE)
    assert wire is not None and dns.message.from_wire(wire).rcode() == code


def test_no_bytes_break_it_and_no_answer_is_answered() -> None:
    dice = random.Random(1)
    good = dns.message.make_query("x.edge.example", "A", use_edns=0).to_wire()
    for _ in range(3000):
        wire = bytearray(good)
        for _ in range(dice.randrange(1, 8)):
            wire[dice.randrange(len(wire))] = dice.randrange(256)
        answer(bytes(wire[: dice.randrange(len(wire) + 1)]), "127.0.0.1", ZONE)
    reply = dns.message.make_response(dns.message.make_query("x.edge.example", "A"))
    assert answer(reply.to_wire(), "127.0.0.1", ZONE) is None
    broken = answer(good[:-3], "127.0.0.1", ZONE)
    assert broken is not None and dns.message.from_wire(broken).rcode() == dns.rcode.FORMERR


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
async def test_dig_is_answered(transport: str) -> None:
    dig = shutil.which("dig")
    if dig is None:
        if os.environ.get("CI"):
            pytest.fail("dig is missing: apt install bind9-dnsutils")
        pytest.skip("dig is missing: apt install bind9-dnsutils")
    server = DnsServer(ZONE)
    host, _, port = (await server.start("127.0.0.1:0")).rpartition(":")
    try:
        argv = [dig, f"@{host}", "-p", port, transport, "+subnet=192.0.2.7/32", "+tries=1"]
        process = await asyncio.create_subprocess_exec(
            *argv, "film.edge.example", "A", stdout=asyncio.subprocess.PIPE
        )
        said = (await process.communicate())[0].decode()
    finally:
        await server.stop()
    assert "status: NOERROR" in said and "127.0.1.1" in said
    assert "CLIENT-SUBNET: 192.0.2.7/32/24" in said

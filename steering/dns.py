"""Steering by DNS, for clients that know no steering manifest: an authoritative name server for one
zone, whose every name has the addresses of the appliances that are nearest to who asks.

Where that is, tells the client's network, if its resolver passes that on (EDNS Client Subnet,
RFC 7871), or else the resolver's own address. The first label names what is wanted: viewers of one
name go to the same appliances of a site. Answers are short-lived, and the same ranking makes them
as makes manifests. Only appliances whose address is a number are named. dnspython reads and writes
messages; what is asked and answered is decided here. Pure, but for the two servers at the end.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import cast
from urllib.parse import urlsplit

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from runtime.errors import Problem
from runtime.log import logger

MAX_ADDRESSES = 3
MAX_UDP_BYTES = 1232  # fits into every path's packets (DNS flag day 2020)
_MAX_QUERY_BYTES = 4096
_TCP_IDLE_S = 10.0
_MAX_TCP = 100
_NEGATIVE_S = 60

Find = Callable[[str, str], Sequence[str]]
"""URLs of appliances, all as good, for a name and the address of who asks."""


@dataclass(frozen=True)
class Zone:
    """What we answer for. `network` gives the network that an address is counted with, in CIDR."""

    name: dns.name.Name
    ttl_s: int
    find: Find
    network: Callable[[str], str]


def answer(wire: bytes, peer: str, zone: Zone) -> bytes | None:
    """The answer to a message from that address; None for what deserves none."""
    try:
        query = dns.message.from_wire(wire)
    except dns.message.ShortHeader:
        return None
    except dns.exception.DNSException:
        return _malformed(wire)
    if query.flags & dns.flags.QR:
        return None  # an answer: who answers answers makes loops
    made = dns.message.make_response(query, our_payload=MAX_UDP_BYTES)
    made.flags &= ~dns.flags.RA
    if query.opcode() != dns.opcode.QUERY or len(query.question) != 1:
        made.set_rcode(dns.rcode.NOTIMP)
        return made.to_wire()
    if query.edns > 0:
        made.set_rcode(dns.rcode.BADVERS)
        return made.to_wire()
    asked = query.question[0]
    if not asked.name.is_subdomain(zone.name) or asked.rdclass != dns.rdataclass.IN:
        made.set_rcode(dns.rcode.REFUSED)
        return made.to_wire()
    made.flags |= dns.flags.AA
    client, echo = _client(query, peer, zone)
    if echo is not None:
        made.use_edns(0, payload=MAX_UDP_BYTES, options=[echo])
    lines = _lines(asked, client, zone)
    if lines:
        made.answer.append(dns.rrset.from_text(asked.name, zone.ttl_s, "IN", asked.rdtype, *lines))
    else:
        made.authority.append(_soa(zone))
    return made.to_wire()


def _lines(asked: dns.rrset.RRset, client: str, zone: Zone) -> list[str]:
    """The data of the records that answer the question."""
    if asked.rdtype == dns.rdatatype.SOA and asked.name == zone.name:
        return [_soa(zone)[0].to_text()]
    if asked.rdtype not in (dns.rdatatype.A, dns.rdatatype.AAAA):
        return []
    version = 4 if asked.rdtype == dns.rdatatype.A else 6
    # Resolvers mix upper and lower case to be harder to fool (0x20); a name is the same in both.
    label = asked.name.relativize(zone.name).to_text(omit_final_dot=True).lower()
    found: dict[str, None] = {}
    for url in zone.find(label, client):
        host = urlsplit(url).hostname or ""
        try:
            if ip_address(host).version == version:
                found[host] = None
        except ValueError:
            continue  # a name: we resolve nobody's
    return list(found)[:MAX_ADDRESSES]


def _client(
    query: dns.message.Message, peer: str, zone: Zone
) -> tuple[str, dns.edns.ECSOption | None]:
    """The address to go by, and the option that tells for which network the answer is good
    (RFC 7871, 7.2.1)."""
    for option in query.options:
        if not isinstance(option, dns.edns.ECSOption):
            continue
        if option.srclen == 0:  # the client does not want to be placed (7.1.2)
            return peer, dns.edns.ECSOption(option.address, 0, 0)
        network = zone.network(option.address)
        scope = ip_network(network).prefixlen if network else option.srclen
        return option.address, dns.edns.ECSOption(option.address, option.srclen, scope)
    return peer, None


def _soa(zone: Zone) -> dns.rrset.RRset:
    text = f"ns.{zone.name} hostmaster.{zone.name} 1 3600 600 86400 {_NEGATIVE_S}"
    return dns.rrset.from_text(zone.name, _NEGATIVE_S, "IN", "SOA", text)


def _malformed(wire: bytes) -> bytes | None:
    """FORMERR, under the number of the question."""
    if wire[2] & 0x80:
        return None
    made = dns.message.Message(id=int.from_bytes(wire[:2], "big"))
    made.flags |= dns.flags.QR
    made.set_rcode(dns.rcode.FORMERR)
    return made.to_wire()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # of any loop

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        made = _safely(data, addr[0], self._zone)
        if made is not None and self._transport is not None:
            self._transport.sendto(made, addr)


def _safely(data: bytes, peer: str, zone: Zone) -> bytes | None:
    try:
        return answer(data, peer, zone)
    except Exception:  # one question that we cannot answer must not end the server
        logger().exception("dns_broke")
        return None


class DnsServer:
    """Both servers, on one address and port."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self, listen: str) -> str:
        """Answers from now on; returns address and port. Raises Problem `bad_settings`."""
        host, _, port = listen.rpartition(":")
        host = host.strip("[]")
        loop = asyncio.get_running_loop()
        try:
            self._tcp = await asyncio.start_server(self._serve, host, int(port))
            bound = self._tcp.sockets[0].getsockname()
            self._udp, _protocol = await loop.create_datagram_endpoint(
                lambda: _Udp(self._zone), local_addr=bound[:2]
            )
        except (OSError, ValueError) as error:
            await self.stop()
            raise Problem("bad_settings", f"steering.dns_listen: {listen}: {error}.") from None
        return f"{bound[0]}:{bound[1]}"

    async def stop(self) -> None:
        """Nobody is answered any more."""
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        for writer in tuple(self._open):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Questions of one connection, each behind its length (RFC 7766)."""
        if len(self._open) >= _MAX_TCP:
            writer.close()
            return
        self._open.add(writer)
        try:
            while True:
                async with asyncio.timeout(_TCP_IDLE_S):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    if size > _MAX_QUERY_BYTES:
                        return
                    data = await reader.readexactly(size)
                made = _safely(data, writer.get_extra_info("peername")[0], self._zone)
                if made is None:
                    return
                writer.write(len(made).to_bytes(2, "big") + made)
                await writer.drain()
        except (TimeoutError, OSError, EOFError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

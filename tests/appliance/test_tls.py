"""The TLS port: the same answers as the plain one, and a certificate that changes under way."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from runtime.errors import Problem
from tests.appliance.conftest import Standing
from tests.certificates import write_certificate
from tests.packages import MadePackage, make_keys, make_package


@dataclass
class SecureStanding:
    """An appliance with a TLS port, and its certificate's files."""

    standing: Standing
    chain: Path
    key: Path
    package: MadePackage

    async def connect(
        self, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, trusting: bool = False
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = ssl.create_default_context(cafile=None if trusting else self.chain)
        context.maximum_version = newest
        if trusting:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return await asyncio.open_connection(*self.address, ssl=context)

    def plainly(self) -> ssl.SSLSocket:
        """A blocking connection that hides nothing."""
        context = ssl.create_default_context(cafile=self.chain)
        sock = socket.create_connection(self.address, timeout=5)
        return context.wrap_socket(
            sock, server_hostname=self.address[0], suppress_ragged_eofs=False
        )

    @property
    def address(self) -> tuple[str, int]:
        assert self.standing.daemon is not None
        host, _, port = self.standing.daemon.urls["tls"].removeprefix("https://").rpartition(":")
        return host, int(port)

    async def served(self) -> bytes:
        """The certificate that a new connection is shown."""
        _, writer = await self.connect(trusting=True)
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return bytes(shown)

    def request(self, path: str, *lines: str) -> bytes:
        token = self.package.token(self.standing.keys["control"])
        head = (f"GET /{token}/{self.package.base}{path} HTTP/1.1", "Host: x", *lines, "", "")
        return "\r\n".join(head).encode()


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureStanding]:
    """One for all: a certificate that changed is as good as the first."""
    data = tmp_path_factory.mktemp("secure")
    chain, key = write_certificate(data, "first")
    standing = Standing(data, make_keys(data, "north-1"))
    package = standing.package()
    standing.settings = {
        "tls_listen": "127.0.1.1:0",
        "tls_cert": str(chain),
        "tls_key": str(key),
        "request_timeout_s": "1",
    }
    with asyncio.Runner() as runner:
        runner.run(standing.start())
        yield SecureStanding(standing, chain, key, package)
        runner.run(standing.stop())


async def answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length: ")
    )
    return head, await reader.readexactly(length)


async def test_files_and_ranges_of_every_size(secure: SecureStanding) -> None:
    for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
        reader, writer = await secure.connect(version)
        spoken = writer.get_extra_info("ssl_object").version()
        assert spoken == version.name.replace("_", ".")
        for path in ("v-avc-720/init.mp4", "v-avc-720/1.m4s", "v-avc-720/3.m4s"):
            for _ in range(2):  # filled, and held
                writer.write(secure.request(path))
                head, body = await answer(reader)
                assert head.startswith(b"HTTP/1.1 200") and body == secure.package.files[path]
            writer.write(secure.request(path, "Range: bytes=100-899"))
            head, body = await answer(reader)
            assert head.startswith(b"HTTP/1.1 206")
            assert body == secure.package.files[path][100:900]
        writer.close()


async def test_a_slow_reader_gets_every_byte(secure: SecureStanding) -> None:
    """What OpenSSL could not send is asked for again, while others use the same buffer."""
    path = "v-avc-720/3.m4s"
    clients = [await secure.connect() for _ in range(4)]
    for _, writer in clients:
        for _ in range(4):  # more than the kernel takes before anybody reads
            writer.write(secure.request(path))

    async def read_all(reader: asyncio.StreamReader) -> None:
        for _ in range(4):
            await asyncio.sleep(0.05)  # the server meets a full socket
            assert (await answer(reader))[1] == secure.package.files[path]

    await asyncio.gather(*(read_all(reader) for reader, _ in clients))
    for _, writer in clients:
        writer.close()


async def test_requests_that_come_in_one_record_are_all_answered(secure: SecureStanding) -> None:
    """OpenSSL hands over a record piece by piece; of what it still holds, no socket tells."""
    path = "v-avc-720/init.mp4"
    for first in ("v-avc-720/3.m4s", "v-avc-720/1.m4s"):  # cold: the others wait for it
        one = secure.request(path)
        count = 15_000 // len(one)
        reader, writer = await secure.connect()
        writer.write(secure.request(first) + one * count)
        async with asyncio.timeout(5):
            assert (await answer(reader))[1] == secure.package.files[first]
            for _ in range(count):
                assert (await answer(reader))[1] == secure.package.files[path]
        writer.close()


async def test_an_empty_file_is_answered(secure: SecureStanding) -> None:
    """Nothing comes behind its head with which it could share a record."""
    package = make_package(secure.standing.store, {"init.mp4": 1000, "1.m4s": 0})
    secure.package = package
    for _ in ("brought", "held"):
        reader, writer = await secure.connect()
        writer.write(secure.request("v-avc-720/1.m4s"))
        async with asyncio.timeout(5):
            assert (await answer(reader))[1] == b""
        writer.close()


@pytest.mark.parametrize("ending", ["closed", "half-closed", "silent"])
async def test_every_connection_ends_with_close_notify(secure: SecureStanding, ending: str) -> None:
    """Without it nobody can tell the end from a cut (RFC 9112 9.8). asyncio's streams hide that."""
    whole = b"" if ending == "silent" else secure.package.files["v-avc-720/1.m4s"]
    request = secure.request(
        "v-avc-720/1.m4s", "Connection: close" if ending == "closed" else "X: y"
    )

    def read() -> bytes:
        with secure.plainly() as tls:
            if ending != "silent":  # else it is closed after request_timeout_s
                tls.sendall(request)
            raw = b""
            while piece := tls.recv(1_000_000):  # SSLEOFError, if it is cut off
                raw += piece
                if ending == "half-closed" and raw.endswith(whole):
                    tls.unwrap()  # the same error
                    break
            return raw

    assert (await asyncio.to_thread(read)).endswith(whole)


async def test_a_new_certificate_is_used_and_drops_no_connection(secure: SecureStanding) -> None:
    reader, writer = await secure.connect()
    writer.write(secure.request("v-avc-720/init.mp4"))
    await answer(reader)
    first = await secure.served()
    secure.chain.write_text("half of a certifi")  # as a careless script leaves it for a moment
    for _ in range(20):
        assert await secure.served() == first
        await asyncio.sleep(0.02)
    write_certificate(secure.chain.parent, "second")
    while await secure.served() == first:  # the worker looks a few times a second
        pass
    writer.write(secure.request("v-avc-720/1.m4s"))
    assert (await answer(reader))[1] == secure.package.files["v-avc-720/1.m4s"]
    writer.close()


async def test_what_is_no_handshake_is_closed(secure: SecureStanding) -> None:
    reader, writer = await asyncio.open_connection(*secure.address)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    with contextlib.suppress(ConnectionResetError):
        assert b"HTTP" not in await reader.read()
    writer.close()
    reader, writer = await asyncio.open_connection(*secure.address)
    writer.write(b"\x16\x03\x01\x02\x00")  # and nothing more: request_timeout_s ends it
    assert await reader.read() == b""
    writer.close()


async def test_a_certificate_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    standing = Standing(tmp_path, make_keys(tmp_path, "north-1"))
    standing.settings = {"tls_listen": "127.0.1.1:0", "tls_cert": "/nowhere.pem"}
    with pytest.raises(Problem, match=r"certificate at /nowhere\.pem cannot be used"):
        await standing.start()

"""nginx from the system, with the configuration beside this file."""

import asyncio
import base64
import hashlib
import os
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from lab.machine import family, pinned
from lab.peers.process import free_port, free_ports, serving
from lab.world import MadePackage
from media.ids import new_id
from runtime.programs import installed

_HERE = Path(__file__).parent
_LIFE_S = 24 * 3600
# With tcp_nopush nginx sends large files in less time; but where BBR paces connections, or few of
# them are busy, an answer of 64 KB waits for a delayed acknowledgement. So it runs both ways, and a
# case is measured against the better one.
WAYS = ("tcp_nopush on;", "tcp_nopush off;")
_BY_THREADS = "tcp_nopush off; aio threads;"


class Nginx:
    """A running nginx whose addresses are signed as `secure_link` wants them."""

    name = "nginx"

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        base: str,
        tls_base: str,
        secret: str,
        prefix: str,
    ) -> None:
        self.base = base
        self.tls_base = tls_base
        self._process = process
        self._secret = secret
        self._prefix = prefix
        self._expires = int(time.time()) + _LIFE_S
        self._sessions: dict[int, str] = {}

    def target(self, path: str, session: int = 0) -> str:
        name = self._sessions.setdefault(session, new_id("ses"))
        uri = f"/{self._prefix}{path}"
        digest = hashlib.md5(f"{self._expires}{uri} {self._secret}".encode()).digest()
        signature = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        return f"{uri}?md5={signature}&expires={self._expires}&session={name}"

    def pids(self) -> list[int]:
        return family(self._process.pid)


@asynccontextmanager
async def nginx(
    folder: Path,
    core: int,
    package: MadePackage,
    store: Path,
    *,
    certificate: Path | None = None,
    ciphersuite: str = "",
    way: str = _BY_THREADS,
) -> AsyncIterator[Nginx]:
    """nginx on `core`, which serves the store's files, in one of WAYS or reading them in a pool of
    threads. `ciphersuite` is the one of TLS 1.3 that it offers. Raises Problem."""
    port, tls_port = free_ports(2)
    secret = secrets.token_hex(8)
    tls = ""
    if certificate is not None:
        tls = f"listen 127.0.0.1:{tls_port} ssl backlog=1024; ssl_certificate {certificate};"
        tls += f" ssl_certificate_key {certificate.with_suffix('.key')};"
        if ciphersuite:
            tls += f" ssl_conf_command Ciphersuites {ciphersuite};"
    values = {
        "listen": f"127.0.0.1:{port}",
        "root": str(store),
        "secret": secret,
        "tls": tls,
        "sending": way,
    }
    async with running(folder, core, "nginx.conf", values, port) as process:
        prefix = package.base
        tls_base = f"https://127.0.0.1:{tls_port}" if certificate is not None else ""
        yield Nginx(process, f"http://127.0.0.1:{port}", tls_base, secret, prefix)


@asynccontextmanager
async def caching_nginx(
    folder: Path, core: int, package: MadePackage, origin_port: int, budget_bytes: int
) -> AsyncIterator[Nginx]:
    """nginx on `core` as a cache of the origin, with nothing in it. Raises Problem."""
    port, secret = free_port(), secrets.token_hex(8)
    values = {
        "listen": f"127.0.0.1:{port}",
        "secret": secret,
        "origin": str(origin_port),
        "budget": str(budget_bytes),
    }
    async with running(folder, core, "proxy_cache.conf", values, port) as process:
        yield Nginx(process, f"http://127.0.0.1:{port}", "", secret, package.base)


@asynccontextmanager
async def running(
    folder: Path, core: int, template: str, values: Mapping[str, str], port: int
) -> AsyncIterator[asyncio.subprocess.Process]:
    """An nginx with the configuration of a template, whose files lie in `folder`; it answers on
    `port`. Raises Problem `missing_program`, or `unavailable` with its last words."""
    program = installed("nginx", "nginx-light")
    folder.mkdir(parents=True)
    text = (_HERE / template).read_text()
    # Started by root, workers would change to another user, who may not read our files.
    user = "user root;" if os.geteuid() == 0 else ""
    for name, value in {"folder": str(folder), "user": user, **values}.items():
        text = text.replace(f"@{name}@", value)
    configuration = folder / "nginx.conf"
    configuration.write_text(text)
    argv = [program, "-p", str(folder), "-c", str(configuration), "-e", str(folder / "error.log")]
    async with serving("nginx", pinned(core, argv), port, folder / "output.log") as process:
        yield process


class Origin:
    """A plain nginx that both sides fill from."""

    def __init__(self, port: int, log: Path) -> None:
        self.port = port
        self._log = log

    def asked(self, path: str) -> int:
        """How often a path was asked for, with or without `/bucket` before it."""
        lines = (line.split() for line in self._log.read_text().splitlines())
        return sum(1 for line in lines if line[1].removeprefix("/bucket") == f"/{path}")


@asynccontextmanager
async def origin(folder: Path, core: int, store: Path) -> AsyncIterator[Origin]:
    """An nginx on `core` with the store's files. Raises Problem."""
    port = free_port()
    async with running(folder, core, "origin.conf", {"port": str(port), "root": str(store)}, port):
        yield Origin(port, folder / "access.log")

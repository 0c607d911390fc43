"""Varnish from the system: everything in memory, in front of a plain nginx."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from lab.machine import family, pinned
from lab.peers.nginx import origin
from lab.peers.process import free_port, serving
from lab.world import MadePackage
from media.ids import new_id
from runtime.programs import installed

_HERE = Path(__file__).parent
# A thread for each client that a bench has at once: made one by one, a herd would wait for them
# (measured with 500 clients: first bytes after 1.7 s, and 0.7 s with the threads at hand).
_THREADS = 600
# As an appliance's log has it.
_RECORD = (
    '{"ts":"%{%Y-%m-%dT%H:%M:%S}t","method":"%m","path":"%U","status":%s,"bytes":%b,'
    '"cache":"%{Varnish:handling}x","us":%D,"session_id":"%{X-Session}i","scope":"play"}'
)


class Varnish:
    """A running varnishd, and the varnishncsa that writes its log."""

    name = "varnish"
    tls_base = ""

    def __init__(
        self, processes: list[asyncio.subprocess.Process], base: str, token: str, prefix: str
    ) -> None:
        self.base = base
        self._processes = processes
        self._token = token
        self._prefix = prefix
        self._sessions: dict[int, str] = {}

    def target(self, path: str, session: int = 0) -> str:
        name = self._sessions.setdefault(session, new_id("ses"))
        return f"/{self._token}/{self._prefix}{path}?session={name}"

    def pids(self) -> list[int]:
        return [pid for process in self._processes for pid in family(process.pid)]


@asynccontextmanager
async def varnish(
    folder: Path,
    core: int,
    package: MadePackage,
    store: Path,
    *,
    origin_port: int | None = None,
    storage_bytes: int = 1 << 30,
) -> AsyncIterator[Varnish]:
    """Varnish on `core`; its origin is the one on `origin_port`, or a new one beside it. Raises
    Problem."""
    program, logger = installed("varnishd", "varnish"), installed("varnishncsa", "varnish")
    port, token = free_port(), secrets.token_hex(16)
    folder.mkdir(parents=True)
    async with AsyncExitStack() as stack:
        if origin_port is None:
            made = await stack.enter_async_context(origin(folder / "origin", core, store))
            origin_port = made.port
        text = (_HERE / "varnish.vcl").read_text()
        for name, value in {"origin": str(origin_port), "token": token}.items():
            text = text.replace(f"@{name}@", value)
        configuration = folder / "varnish.vcl"
        configuration.write_text(text)
        # No jail: as root it would become another user, who may not read our folder.
        argv = [
            program, "-j", "none", "-F", "-n", str(folder / "work"), "-a", f"127.0.0.1:{port}",
            "-f", str(configuration), "-s", f"malloc,{storage_bytes}", "-T", "none",
            "-p", "thread_pools=1", "-p", f"thread_pool_min={_THREADS}", "-p", "timeout_idle=600",
        ]  # fmt: skip
        server = await stack.enter_async_context(
            serving("varnishd", pinned(core, argv), port, folder / "output.log")
        )
        argv = [logger, "-n", str(folder / "work"), "-w", str(folder / "access.log"), "-F", _RECORD]
        log = await stack.enter_async_context(
            serving("varnishncsa", pinned(core, argv), port, folder / "log-output.log")
        )
        yield Varnish([server, log], f"http://127.0.0.1:{port}", token, package.base)

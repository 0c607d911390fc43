"""Our side: a real appliance of one worker, with a key ring and a store of its own."""

import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType

from lab.machine import family, pinned
from lab.world import MadePackage
from media.keys import Identity
from media.token import sign_path_token
from runtime.errors import Problem
from runtime.supervise import Daemon

APPLIANCE = "north-1"
_LIFE_S = 24 * 3600  # of a token: longer than any bench


class Ours:
    """An appliance that runs."""

    name = "nearcast"

    def __init__(self, daemon: Daemon, package: MadePackage, control: Identity) -> None:
        self.base = daemon.urls["data"]
        self.admin = daemon.urls["admin"]
        self.tls_base = daemon.urls.get("tls", "")
        self._daemon = daemon
        self._package = package
        self._control = control
        self._tokens: list[str] = []

    def target(self, path: str, session: int = 0) -> str:
        while len(self._tokens) <= session:
            self._tokens.append(self.new_token())
        return self.under(self._tokens[session], path)

    def under(self, token: str, path: str) -> str:
        """The target of a file by a token."""
        return f"/{token}/{self._package.base}{path}"

    def new_token(self) -> str:
        """A token of a new session, which the appliance has not seen."""
        now = int(time.time())
        claims = self._package.claims(expires_s=now + _LIFE_S)
        return sign_path_token(claims, self._control, now)

    def pids(self) -> list[int]:
        assert self._daemon.pid is not None
        return family(self._daemon.pid)

    def worker(self) -> int:
        """The process that serves."""
        for pid in self.pids():
            if b"--part=worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        raise Problem("unavailable", "The appliance has no worker.")


@asynccontextmanager
async def appliance(
    data: Path,
    core: int,
    package: MadePackage,
    keys: dict[str, Identity],
    *,
    name: str = APPLIANCE,
    certificate: Path | None = None,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[Ours]:
    """An appliance on `core` that fills from the store in its data folder, unless `settings` say
    otherwise. With a certificate (its key beside it, `.key`) it speaks TLS, too."""
    given = {
        "listen": "127.0.1.1:0",
        "admin_listen": "127.0.1.1:0",
        "steering_url": "http://127.0.0.1:9",  # discard: nobody answers, and serving goes on
        "workers": "1",
        "access_log": "true",
        "capacity_bps": "1000000000000",  # loopback is no network: nothing is shed for its sake
        **settings,
    }
    if certificate is not None:
        given |= {
            "tls_listen": "127.0.1.1:0",
            "tls_cert": str(certificate),
            "tls_key": str(certificate.with_suffix(".key")),
        }
    argv = [sys.executable, "-m", "appliance", f"--data={data}", f"--instance={name}"]
    argv += ["--log-level=error", *(f"--set={key}={value}" for key, value in given.items())]
    with (data / f"{name}.log").open("ab") as log:
        daemon = Daemon(name, pinned(core, argv), log=log)
        try:
            await daemon.start()
            yield Ours(daemon, package, keys["control"])
        finally:
            await daemon.stop()

"""A real PostgreSQL on a Unix socket in a short temporary folder, for tests."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_DEBIAN = "/usr/lib/postgresql/*/bin"


@dataclass
class Postgres:
    """A server that runs, with an empty database `nearcast`, by its SQLAlchemy URL (asyncpg)."""

    url: str
    _start: Callable[[], "subprocess.Popen[bytes]"]
    _ready: Callable[["subprocess.Popen[bytes]"], None]
    _server: "subprocess.Popen[bytes]"

    def restart(self) -> None:
        """It went away with all its connections, and is back."""
        self._server.send_signal(signal.SIGINT)  # "fast": who is connected is thrown out
        self._server.wait()
        self._server = self._start()
        self._ready(self._server)

    def end(self) -> None:
        """It is gone."""
        self._server.kill()
        self._server.wait()


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of a server's database, which ends with the block."""
    with postgres() as server:
        yield server.url


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A server that ends with the block. Skips the test where there is no PostgreSQL; under CI=true
    that is a failure."""
    programs = _programs()
    if programs is None:
        if os.environ.get("CI") == "true":
            pytest.fail("PostgreSQL is missing: apt-get install postgresql")
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    account = _account()
    folder = Path(tempfile.mkdtemp(prefix="nc-", dir="/tmp"))  # socket paths ≤ 107 bytes
    if account is not None:
        os.chown(folder, account.pw_uid, account.pw_gid)
    made: Postgres | None = None
    try:
        data = folder / "data"
        _run(account, programs / "initdb", "-D", data, "-U", "nearcast", "-A", "trust", "-N")
        options = ["-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off"]

        def start() -> "subprocess.Popen[bytes]":
            return subprocess.Popen(
                [programs / "postgres", "-D", data, *options],
                stderr=(folder / "log").open("ab"),
                user=account.pw_uid if account else None,
                cwd=folder,
            )

        def ready(server: "subprocess.Popen[bytes]") -> None:
            _run(account, programs / "pg_isready", "-h", folder, until=server)

        url = f"postgresql+asyncpg://nearcast@/nearcast?host={folder}"
        made = Postgres(url, start, ready, start())
        create = (programs / "createdb", "-h", folder, "-U", "nearcast", "nearcast")
        _run(account, *create, until=made._server)
        yield made
    finally:
        if made is not None:
            made.end()
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path | None:
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    versions = sorted(Path("/").glob(_DEBIAN.lstrip("/")))
    return versions[-1] if versions and (versions[-1] / "initdb").exists() else None


def _account() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root: there it gets the account that its package made."""
    return pwd.getpwnam("postgres") if os.getuid() == 0 else None


def _run(
    account: pwd.struct_passwd | None,
    *argv: str | Path,
    until: "subprocess.Popen[bytes] | None" = None,
) -> None:
    """Runs a program of PostgreSQL; with `until`, again until it succeeds or the server ends."""
    for _ in range(1 if until is None else 600):
        done = subprocess.run(
            argv,
            capture_output=True,
            user=account.pw_uid if account else None,
            cwd="/",
            check=False,
        )
        if done.returncode == 0:
            return
        if until is not None and until.poll() is not None:
            break
        if until is not None:
            try:
                until.wait(0.05)
            except subprocess.TimeoutExpired:
                pass
    pytest.fail(f"{argv[0]} failed: {done.stderr!r} {done.stdout!r}")

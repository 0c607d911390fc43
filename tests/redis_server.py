"""A real redis-server on a Unix socket in a short temporary folder, for tests."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass
class Redis:
    """A server that runs, with nothing in it."""

    url: str
    _start: Callable[[], "subprocess.Popen[bytes]"]
    _server: "subprocess.Popen[bytes]"

    def restart(self) -> None:
        """It went away with all that it knew, and is back."""
        self.end()
        self._server = self._start()

    def end(self) -> None:
        """It is gone."""
        self._server.kill()
        self._server.wait()


@contextmanager
def redis_server() -> Iterator[str]:
    """The URL of a server, which ends with the block."""
    with redis() as server:
        yield server.url


@contextmanager
def redis() -> Iterator[Redis]:
    """A server that ends with the block. Skips the test where there is no redis-server; in
    continuous integration (CI=true) that is a failure."""
    program = shutil.which("redis-server")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("redis-server is missing")
        pytest.skip("redis-server is not installed")
    with tempfile.TemporaryDirectory(prefix="nc-", dir="/tmp") as folder:  # paths ≤ 107 bytes
        path = Path(folder) / "redis.sock"
        argv = [program, "--port", "0", "--unixsocket", str(path), "--dir", folder]
        argv += ["--save", "", "--appendonly", "no"]

        def start() -> "subprocess.Popen[bytes]":
            server = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
            _await_answer(path, server)
            return server

        made = Redis(f"unix://{path}", start, start())
        try:
            yield made
        finally:
            made.end()


def _await_answer(path: Path, server: "subprocess.Popen[bytes]") -> None:
    """Redis says nothing when it is ready, so it is asked until it answers."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1)
                connection.connect(str(path))
                connection.sendall(b"PING\r\n")
                if connection.recv(16).startswith(b"+PONG"):
                    return
        except OSError:
            time.sleep(0.01)
    pytest.fail("redis-server does not answer")

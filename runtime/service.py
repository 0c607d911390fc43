"""The life of a service: start, say ready, stop.

A service's `main(service)` builds its parts, calls `service.ready(...)` once it answers, waits
for `service.stopping`, and takes its parts down again. It stops on SIGTERM and SIGINT, and when
its lifeline, a pipe that its parent holds open, closes; after
GRACE_S it is ended.
"""

import asyncio
import gc
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import uvloop

from runtime import tracing
from runtime.errors import Problem
from runtime.log import configure, logger

if TYPE_CHECKING:
    from aiohttp import web

    from runtime.express import Express

_GARBAGE = 20_000  # objects made before rings of them are looked for
GRACE_S = 10.0
_SPANS_S = 1.0  # for the last spans to leave, if there are any


class Service:
    """What `main` sees of its own process."""

    def __init__(self, name: str, instance: str, ready_fd: int | None) -> None:
        self.name = name
        self.instance = instance
        self.stopping = asyncio.Event()
        self.exit_code = 0
        self._is_ready = False
        self._ready_fd = ready_fd
        self._tasks: set[asyncio.Task[None]] = set()

    def ready(self, **urls: str) -> None:
        """Tells the parent, in one JSON line on the ready descriptor, that work can come; once."""
        if self._is_ready:
            return
        self._is_ready = True
        # What is here stays, and need not be looked through; rings of objects are rare in what
        # comes, and a look for them stops everything.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_GARBAGE)
        logger().info("ready", **urls)
        self._say(
            {"service": self.name, "instance": self.instance, "pid": os.getpid(), "urls": urls}
        )

    def failed(self, problem: Problem) -> None:
        """Tells the parent why the service does not start."""
        self._say({"service": self.name, "problem": problem.code, "detail": problem.detail})

    def _say(self, line: dict[str, Any]) -> None:
        if self._ready_fd is not None:
            os.write(self._ready_fd, json.dumps(line).encode() + b"\n")
            os.close(self._ready_fd)
            self._ready_fd = None

    def stop(self, exit_code: int = 0) -> None:
        """`main` is asked to end."""
        self.exit_code = self.exit_code or exit_code
        self.stopping.set()

    def spawn(self, name: str, work: Awaitable[None]) -> asyncio.Task[None]:
        """Runs `work` beside the service, under its own name. If it fails, the service stops with
        exit code 1: a service with a part missing is worse than one that is started again."""

        async def run() -> None:
            try:
                await work
            except asyncio.CancelledError:
                raise
            except Exception:
                logger().exception("task_failed", task=name)
                self.stop(1)

        task = asyncio.create_task(run(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def end_tasks(self) -> None:
        """What `spawn` started has ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def run(
    name: str,
    instance: str,
    main: Callable[[Service], Awaitable[None]],
    *,
    ready_fd: int | None = None,
    lifeline_fd: int | None = None,
    log_level: str = "info",
) -> int:
    """Runs the service to its end and returns the exit code. A Problem at the start is one line."""
    configure(name, instance, log_level)
    tracing.configure(name, instance)
    # As many descriptors as the machine grants: the usual soft limit, 1024, is few connections.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    service = Service(name, instance, ready_fd)
    try:
        return uvloop.run(_live(service, main, lifeline_fd))
    except Problem as problem:
        service.failed(problem)
        logger().error("not_started", code=problem.code, detail=problem.detail)
        print(f"{name}: {problem.detail} {problem.kind.hint}".rstrip(), file=sys.stderr)
        return 1
    finally:
        tracing.flush(_SPANS_S)


async def _live(
    service: Service, main: Callable[[Service], Awaitable[None]], lifeline_fd: int | None
) -> int:
    loop = asyncio.get_running_loop()

    def stop_soon() -> None:
        if lifeline_fd is not None:
            loop.remove_reader(lifeline_fd)  # closed, it would stay readable
        if not service.stopping.is_set():
            service.stop()
        loop.call_later(GRACE_S, os._exit, 1)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_soon)
    if lifeline_fd is not None:
        loop.add_reader(lifeline_fd, stop_soon)  # nothing is ever written: readable means closed
    try:
        await main(service)
    finally:
        await service.end_tasks()
        if lifeline_fd is not None:
            loop.remove_reader(lifeline_fd)
    logger().info("stopped", exit_code=service.exit_code)
    return service.exit_code


def parse_listen(listen: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:8080` or `[::1]:8080`. Raises Problem `bad_settings`."""
    try:
        parts = urlsplit(f"//{listen}")
        if parts.hostname and parts.port is not None:
            return parts.hostname, parts.port
    except ValueError:
        pass
    raise Problem("bad_settings", f"{listen!r} is not an address such as 127.0.0.1:8080.")


def bind(listen: str, *, reuse_port: bool = False) -> socket.socket:
    """A socket that listens there. Raises Problem `port_in_use`."""
    host, port = parse_listen(listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
        sock.listen(1024)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise Problem("port_in_use", f"Cannot listen on {listen}: {error.strerror}.") from None
    return sock


def url_of(sock: socket.socket) -> str:
    """`http://host:port` of a listening socket."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve_http(
    app: "web.Application", listen: str | socket.socket, express: "Express | None" = None
) -> "tuple[web.AppRunner, str]":
    """The application answers on `listen`, an address or a socket that listens already; returns its
    runner, to clean up, and its address.

    `express` is asked before anything else is done for a request (`runtime.express`)."""
    from aiohttp import web  # 17 MB, which an appliance's workers can do without

    from runtime.express import before

    sock = bind(listen) if isinstance(listen, str) else listen
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0, handler_cancellation=True)
    await runner.setup()
    if express is not None:
        assert runner.server is not None
        runner.server.request_handler = before(express, runner.server.request_handler)
    await web.SockSite(runner, sock).start()
    return runner, url_of(sock)

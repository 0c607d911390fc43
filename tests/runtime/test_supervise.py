"""Services as child processes: ready, started again, stopped, and never orphans."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from runtime.errors import Problem
from runtime.supervise import READY_BACKOFF_S, Daemon, pause_s

SERVICE = """
import asyncio, sys
from runtime.errors import Problem
from runtime.launch import Launch, launch_parser
from runtime.service import run, serve_http
from aiohttp import web

async def main(service):
    if service.instance == "broken":
        raise Problem("port_in_use", "Cannot listen on mars.")
    runner, url = await serve_http(web.Application(), "127.0.0.1:0")
    service.ready(data=url)
    await service.stopping.wait()
    await runner.cleanup()

launch = Launch.parse(launch_parser("demo"))
sys.exit(run("demo", launch.instance, main, ready_fd=launch.ready_fd,
             lifeline_fd=launch.lifeline_fd, log_level="error"))
"""


def daemon_of(tmp_path: Path, instance: str = "demo") -> Daemon:
    (tmp_path / "demo.py").write_text(SERVICE)
    argv = [sys.executable, str(tmp_path / "demo.py"), f"--data={tmp_path}"]
    return Daemon(instance, [*argv, f"--instance={instance}"])


async def test_ready_restart_stop(tmp_path: Path) -> None:
    deaths: list[int] = []
    died = asyncio.Event()
    daemon = daemon_of(tmp_path)
    daemon.died = lambda: (deaths.append(1), died.set())  # type: ignore[func-returns-value]
    urls = await daemon.start()
    await daemon.keep()
    assert urls["data"].startswith("http://127.0.0.1:") and daemon.pid is not None
    first = daemon.pid
    os.kill(first, signal.SIGKILL)
    await died.wait()
    async with asyncio.timeout(20):
        while daemon.pid in (None, first):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    second = daemon.pid
    await daemon.stop()
    assert deaths == [1] and daemon.pid is None and second is not None
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)


async def test_one_that_is_killed_as_it_starts_is_no_slower_for_it(tmp_path: Path) -> None:
    """However often it had died before: who is killed is not at fault."""
    daemon = daemon_of(tmp_path)
    deaths, again = 0, asyncio.Event()

    def died() -> None:
        nonlocal deaths
        deaths += 1
        again.set()

    daemon.died = died
    await daemon.start()
    await daemon.keep()
    loop = asyncio.get_running_loop()
    seen = set()
    for _ in range(9):  # each as soon as it is there, ready or not
        async with asyncio.timeout(20):
            while daemon.pid is None or daemon.pid in seen:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        seen.add(daemon.pid)
        again.clear()
        began = loop.time()
        os.kill(daemon.pid, signal.SIGKILL)
        await again.wait()
    async with asyncio.timeout(20):
        while daemon.pid is None or daemon.pid in seen:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert deaths >= 9 and loop.time() - began < 1.9  # of pauses: they reach 5 s for the faulty
    await daemon.stop()


async def test_it_goes_on_trying_when_no_process_can_be_made(tmp_path: Path) -> None:
    daemon = daemon_of(tmp_path)
    deaths, again = 0, asyncio.Event()

    def died() -> None:
        nonlocal deaths
        deaths += 1
        if deaths == 3:
            daemon.argv = argv
            again.set()

    daemon.died = died
    await daemon.start()
    await daemon.keep()
    argv, daemon.argv = daemon.argv, ["/nonexistent"]
    first = daemon.pid
    assert first is not None
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(20):
        await again.wait()
        assert len(list(Path("/proc/self/fd").iterdir())) <= open_before
        while daemon.pid in (None, first):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await daemon.stop()


async def test_a_closed_lifeline_is_heard_once(tmp_path: Path) -> None:
    """It stays readable: a service that ends slowly must not spin meanwhile."""
    slow = SERVICE.replace(
        "    await runner.cleanup()\n",
        "    await runner.cleanup()\n"
        "    began = time.process_time()\n"
        "    await asyncio.sleep(0.5)\n"
        f"    open({str(tmp_path / 'spent')!r}, 'w').write(str(time.process_time() - began))\n",
    ).replace("import asyncio, sys", "import asyncio, sys, time")
    (tmp_path / "slow.py").write_text(slow)
    daemon = Daemon("slow", [sys.executable, str(tmp_path / "slow.py"), f"--data={tmp_path}"])
    await daemon.start()
    daemon._close_lifeline()
    assert daemon.process is not None
    await daemon.process.wait()
    assert float((tmp_path / "spent").read_text()) < 0.05
    await daemon.stop()


async def test_a_service_has_all_descriptors_that_are_granted(tmp_path: Path) -> None:
    daemon = daemon_of(tmp_path)
    daemon.argv = ["sh", "-c", 'ulimit -S -n 256 && exec "$@"', "sh", *daemon.argv]
    await daemon.start()
    limits = Path(f"/proc/{daemon.pid}/limits").read_text().splitlines()
    soft, hard = next(line for line in limits if line.startswith("Max open files")).split()[3:5]
    assert soft == hard != "256"
    await daemon.stop()


async def test_a_service_that_cannot_start_says_why(tmp_path: Path) -> None:
    daemon = daemon_of(tmp_path, "broken")
    with pytest.raises(Problem, match="Cannot listen on mars") as problem:
        await daemon.start()
    assert problem.value.code == "port_in_use" and daemon.pid is None


async def test_a_program_that_is_no_service(tmp_path: Path) -> None:
    daemon = Daemon("mute", [sys.executable, "-c", "print('hello')"])
    with pytest.raises(Problem, match="did not start"):
        await daemon.start()


async def test_the_child_goes_with_its_parent(tmp_path: Path) -> None:
    """The parent is killed outright: the service ends by itself."""
    (tmp_path / "demo.py").write_text(SERVICE)
    parent = (
        "import asyncio, sys\n"
        "from runtime.supervise import Daemon, pause_s\n"
        "async def main():\n"
        f"    d = Daemon('demo', [sys.executable, {str(tmp_path / 'demo.py')!r}])\n"
        "    await d.start(); print(d.pid, flush=True); await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", parent, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    child = int(await process.stdout.readline())
    descriptor = os.pidfd_open(child)
    process.kill()
    await process.wait()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, ended.set)
    async with asyncio.timeout(10):
        await ended.wait()
    asyncio.get_running_loop().remove_reader(descriptor)
    os.close(descriptor)


def test_who_dies_at_once_waits_longer_and_longer_but_not_at_first() -> None:
    pauses = [pause_s(deaths) for deaths in range(100)]
    assert pauses[:6] == [0.1] * 6 and pauses[6:9] == [0.2, 0.4, 0.8]
    assert pauses == sorted(pauses) and pauses[-1] == 5.0
    assert max(pause_s(deaths, READY_BACKOFF_S) for deaths in range(100)) < 0.5

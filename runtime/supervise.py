"""Services as child processes: started, awaited until ready, started again, stopped.

A `Daemon` passes its child two pipes: the child writes one JSON line to the first when it is
ready (or why it cannot be), and stops when the second, the lifeline, closes because we are gone.
It also gets SIGKILL if we die before it reads that. Nobody sleeps for anything.
"""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO

from runtime.child import die_with_parent
from runtime.errors import Problem
from runtime.log import logger

READY_S = 60.0
STOP_S = 12.0
BACKOFF_S = (0.1, 5.0)
# One that had got ready is back within two seconds, however often it dies, and were it killed once
# more while it starts.
READY_BACKOFF_S = (0.1, 0.3)
_PATIENCE = 5
_STEADY_S = 1.0  # a child that lived this long starts its back-off anew
_MAX_READY_BYTES = 64 * 1024


@dataclass
class Daemon:
    """A service of ours. `argv` gets `--ready-fd` and `--lifeline-fd` added; `pass_fds` are
    inherited under the same numbers; `died` is called after each end that was not asked for."""

    name: str
    argv: Sequence[str]
    pass_fds: Sequence[int] = ()
    log: IO[bytes] | None = None
    died: Callable[[], None] = lambda: None
    urls: dict[str, str] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None
    _lifeline: int | None = None
    _keeper: asyncio.Task[None] | None = None
    _wanted: bool = False

    @property
    def pid(self) -> int | None:
        """The process, if one runs."""
        running = self.process is not None and self.process.returncode is None
        return self.process.pid if self.process is not None and running else None

    async def start(self) -> dict[str, str]:
        """The service is ready; returns its addresses. Raises Problem `unavailable` with the
        child's last words when it ends or stays silent instead."""
        self._wanted = True
        await self._spawn()
        return self.urls

    async def keep(self) -> None:
        """From now on the service is started again whenever it ends by itself."""
        self._keeper = asyncio.create_task(self._restart(), name=f"keep {self.name}")

    async def stop(self) -> None:
        """The service has ended: by SIGTERM, or after STOP_S by SIGKILL."""
        self._wanted = False
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        if self.process is not None:
            _signal(self.process, signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_S):
                    await self.process.wait()
            except TimeoutError:
                logger().warning("killed", daemon=self.name)
                _signal(self.process, signal.SIGKILL)
                await self.process.wait()
        self._close_lifeline()

    async def kill(self) -> None:
        """The service has ended by SIGKILL, as after a crash, and is not started again."""
        self._wanted = False
        if self.process is not None:
            _signal(self.process, signal.SIGKILL)
        await self.stop()

    async def _spawn(self) -> None:
        ready_read, ready_write = os.pipe()
        life_read, life_write = os.pipe()
        parent = os.getpid()
        self._close_lifeline()
        self._lifeline = life_write
        try:
            self.process = await asyncio.create_subprocess_exec(
                *self.argv,
                f"--ready-fd={ready_write}",
                f"--lifeline-fd={life_read}",
                stdin=subprocess.DEVNULL,
                stdout=self.log or None,
                stderr=self.log or None,
                pass_fds=(*self.pass_fds, ready_write, life_read),
                start_new_session=True,  # Ctrl-C is for us; we stop it in order
                preexec_fn=lambda: die_with_parent(parent),
            )
        except BaseException:
            os.close(ready_read)
            self._close_lifeline()
            raise
        finally:
            os.close(ready_write)
            os.close(life_read)
        try:
            self.urls = await self._read_ready(ready_read)
        except BaseException:
            _signal(self.process, signal.SIGKILL)
            await self.process.wait()
            raise

    async def _read_ready(self, descriptor: int) -> dict[str, str]:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_MAX_READY_BYTES)
        pipe = os.fdopen(descriptor, "rb", buffering=0)
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            async with asyncio.timeout(READY_S):
                line = await reader.readline()
        except TimeoutError:
            raise Problem("unavailable", f"{self.name} was not ready in time.") from None
        finally:
            transport.close()  # and with it the pipe
        said = json.loads(line) if line else {}
        if "problem" in said:
            raise Problem(said["problem"], said["detail"])
        if "urls" not in said:
            raise Problem("unavailable", f"{self.name} did not start. Its log says why.")
        return dict(said["urls"])

    async def _restart(self) -> None:
        loop = asyncio.get_running_loop()
        deaths = 0  # in a row
        while self._wanted:
            assert self.process is not None
            began = loop.time()
            code = await self.process.wait()
            logger().warning("ended", daemon=self.name, code=code)
            deaths = 0 if loop.time() - began > _STEADY_S else deaths
            failed = 0  # starts in a row that came to nothing: those alone call for patience
            while True:
                self.died()
                await asyncio.sleep(max(pause_s(deaths, READY_BACKOFF_S), pause_s(failed)))
                deaths += 1
                try:
                    await self._spawn()
                    break
                except (Problem, OSError, ValueError) as error:  # no memory, or an odd last word
                    logger().error("not_restarted", daemon=self.name, why=str(error))
                    failed += 1

    def _close_lifeline(self) -> None:
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None


def pause_s(deaths: int, backoff: tuple[float, float] = BACKOFF_S) -> float:
    """How long to wait before a child is started again that died so many times in a row before: at
    first hardly at all, for who is killed is not at fault; then longer and longer."""
    least, most = backoff
    return min(most, least * 2.0 ** min(16, max(0, deaths - _PATIENCE)))


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except ProcessLookupError:
        pass

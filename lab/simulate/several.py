"""Several runs at once, each in a process of its own, at most as many as there are cores.

Not by concurrent.futures, whose workers go on when the command ends: these are killed.
"""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from lab.simulate.ledger import Outcome
from lab.simulate.run import play
from lab.simulate.scenario import Scenario
from lab.simulate.variants import Variant
from runtime.child import die_with_parent
from runtime.errors import Problem

_PROCESSES = get_context("spawn")


@dataclass(frozen=True)
class Case:
    """A run to be made."""

    scenario: Scenario
    variant: Variant
    seed: int


def play_all(
    cases: Sequence[Case], tell: Callable[[Case, float], None] = lambda case, done: None
) -> list[Outcome]:
    """The outcomes, in the order of the cases. `tell` hears how much of a case is done. When this
    ends, for whatever reason, no process of it is left. Raises the first Problem."""
    outcomes: dict[int, Outcome] = {}
    waiting = list(enumerate(cases))
    running: dict[Connection, tuple[int, BaseProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < len(os.sched_getaffinity(0)):
                number, case = waiting.pop(0)
                ours, theirs = _PROCESSES.Pipe(duplex=False)
                process: BaseProcess = _PROCESSES.Process(
                    target=_play, args=(case, theirs, os.getpid()), daemon=True
                )
                with _uninterrupted():
                    process.start()
                    running[ours] = number, process
                theirs.close()
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                number, process = running[ready]
                try:
                    said = ready.recv()
                except EOFError:
                    process.join()
                    raise Problem(
                        "internal",
                        f"A run ended by itself ({process.exitcode}): perhaps memory is short.",
                    ) from None
                if isinstance(said, tuple):
                    raise Problem(*said)
                if isinstance(said, Outcome):
                    outcomes[number] = said
                    tell(cases[number], 1.0)
                    process.join()
                    ready.close()
                    del running[ready]
                else:
                    tell(cases[number], said)
    finally:
        for connection, (_, process) in running.items():
            process.kill()
            process.join()
            connection.close()
    return [outcomes[number] for number in range(len(cases))]


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C comes when this is over. Who is started meanwhile never hears of it; we kill him."""
    resource_tracker.ensure_running()  # it would unblock signals when it starts
    heard: list[int] = []
    earlier = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # this is what is inherited
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, earlier)
    if heard:
        raise KeyboardInterrupt


def _play(case: Case, told: Connection, parent_pid: int) -> None:
    die_with_parent(parent_pid)
    try:
        told.send(play(case.scenario, case.seed, case.variant, told.send))
    except Problem as problem:
        told.send((problem.code, problem.detail))

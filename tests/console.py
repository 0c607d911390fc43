"""`nearcast …` as a process of its own, without its half second of imports: it is forked off a
server that has made them already. Its streams, environment and exit code are those of the command.
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from multiprocessing import forkserver, get_context
from pathlib import Path
from subprocess import CompletedProcess
from unittest.mock import patch

_FORKS = get_context("forkserver")
_FORKS.set_forkserver_preload(["nearcast.cli", "control_plane.cli", "steering.cli"])
TIMEOUT_S = 110.0


def run_nearcast(arguments: Sequence[str]) -> CompletedProcess[str]:
    """The command, run to its end. Raises TimeoutError, and then it has ended, too."""
    with patch.dict(os.environ, TERM="dumb"):  # a terminal, if pytest has one, is not the command's
        forkserver.ensure_running()
    with tempfile.TemporaryDirectory(prefix="nc-") as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        command = _FORKS.Process(
            target=_command, args=(list(arguments), dict(os.environ), Path.cwd(), out, err)
        )
        command.start()
        command.join(TIMEOUT_S)
        if command.exitcode is None:
            command.kill()
            command.join()
            raise TimeoutError(f"nearcast {arguments}: {out.read_text()} {err.read_text()}")
        code = command.exitcode
        return CompletedProcess(["nearcast", *arguments], code, out.read_text(), err.read_text())


def _command(
    arguments: list[str], environment: dict[str, str], folder: Path, out: Path, err: Path
) -> None:
    for place, descriptor in ((out, 1), (err, 2)):
        os.dup2(os.open(place, os.O_WRONLY | os.O_CREAT), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["nearcast", *arguments]
    from nearcast.cli import main

    main()

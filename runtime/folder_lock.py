"""Locks on a data folder: who holds one is the only one of its kind there."""

import fcntl
from pathlib import Path
from typing import IO

from runtime.errors import Problem

CLUSTER = "lock"  # held by the local cluster, alone
CONTROL = "control.lock"  # held by every control plane on the folder, together


def take_lock(data: Path, name: str, *, shared: bool = False) -> IO[bytes]:
    """The lock, held until the file is closed; with `shared` others may share it. Raises Problem
    `data_in_use` when somebody else holds it, and OSError."""
    lock = (data / name).open("ab")
    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise Problem("data_in_use", f"Another nearcast uses {data}.") from None
    except BaseException:
        lock.close()
        raise
    return lock

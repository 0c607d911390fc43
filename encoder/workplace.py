"""Folders to work in, and the room in them."""

import errno
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.errors import Problem

_PRIVATE = ".nearcast-"


@contextmanager
def workplace(folder: Path, *, lasting: bool = True) -> Iterator[Path]:
    """The folder is ours alone, and no private folder of a process that was killed is left in it.
    One that is not `lasting` is gone afterwards.

    Raises Problem `data_in_use` when another process works there, or as `disk_problem` says.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise disk_problem(error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Problem("data_in_use", f"Another encoder works in {folder}.") from None
        for leftover in folder.glob(f"{_PRIVATE}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            yield folder
        finally:
            if not lasting:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def private_folder(parent: Path) -> Iterator[Path]:
    """A new folder in `parent` that others cannot enter; it is gone afterwards."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PRIVATE, dir=parent))
    except OSError as error:
        raise disk_problem(error) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_room(folder: Path, wanted_bytes: int) -> None:
    """The disk of `folder` has that much free. Raises Problem `disk_full`."""
    free = shutil.disk_usage(folder).free
    if free < wanted_bytes:
        raise Problem(
            "disk_full",
            f"This film needs {wanted_bytes >> 20} MiB of disk, and {free >> 20} MiB are free.",
        )


def disk_problem(error: OSError) -> Problem:
    """What a failed write means."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Problem("disk_full")
    return Problem("encode_failed", f"A file could not be written: {error.strerror}.")

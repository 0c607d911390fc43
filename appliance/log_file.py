"""The access log's file: several workers append to it, and any of them puts it aside when it is
large. A disk that takes no lines costs lines, never an answer."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from appliance.access_log import Lines, Record
from runtime.log import logger

MAX_BYTES = 64 * 1024 * 1024  # and as much again in the file before
_RECORDS = 256  # some 64 KB of lines: written at once, and at the latest by the next tick


class LogFile:
    """Records on their way to the file."""

    def __init__(
        self,
        path: Path,
        let_go: Callable[[int], object] = os.close,
        hear: Callable[[list[Record]], object] | None = None,
    ) -> None:
        """`let_go` closes a descriptor, which frees the bytes of a deleted file. `hear` is given
        the records of each batch."""
        self._hear = hear
        self._path = path
        self._let_go = let_go
        self._descriptor = -1
        self._lines = Lines()
        self._records: list[Record] = []

    def add(self, record: Record) -> None:
        """Its line will be in the file after the next `tick`."""
        self._records.append(record)
        if len(self._records) >= _RECORDS:
            self._write()

    def tick(self) -> None:
        """What was added is in the file that has the name; a large one has another name now."""
        if not self._records:
            return
        try:
            if self._descriptor >= 0:
                ours = os.fstat(self._descriptor)
                if ours.st_size > MAX_BYTES and self._is_mine_to_put_aside(ours.st_ino):
                    self._put_aside()
                if ours.st_size > MAX_BYTES or ours.st_nlink == 0:
                    self.close()
        except OSError as error:
            logger().warning("access_log_stuck", why=str(error))
            self.close()
        self._write()

    def _is_mine_to_put_aside(self, number: int) -> bool:
        """The file still has the name, and no other worker is at it."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until it is closed
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks: better some lines lost than the disk full
            pass
        return self._path.stat().st_ino == number

    def _put_aside(self) -> None:
        """The one that was put aside before is deleted, which takes long for who does it. And it is
        deleted first: for a rename that replaces a file ext4 writes out all of the new one
        (ext4(5), auto_da_alloc), a tenth of a second for everybody's requests."""
        aside, older = self._path.with_suffix(".1.log"), -1
        try:
            older = os.open(aside, os.O_RDONLY | os.O_CLOEXEC)
            aside.unlink()
        except FileNotFoundError:
            pass
        try:
            self._path.rename(aside)
        finally:
            if older >= 0:
                self._let_go(older)

    def close(self) -> None:
        """The file is let go of, and opened anew when there is something to write."""
        if self._descriptor >= 0:
            self._let_go(self._descriptor)
            self._descriptor = -1

    def _write(self) -> None:
        records, self._records = self._records, []
        if self._hear is not None:
            self._hear(records)
        try:
            if self._descriptor < 0:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
                self._descriptor = os.open(self._path, flags, 0o644)
            os.write(self._descriptor, self._lines(records).encode())
        except OSError as error:
            logger().warning("access_log_lost", why=str(error), lines=len(records))
            self.close()

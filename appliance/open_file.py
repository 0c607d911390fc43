"""A held file, as a worker has it at hand. Its bytes are never mapped: a mapped file that is
truncated, or whose disk fails, would kill the process (SIGBUS)."""

import os
from pathlib import Path

SMALL_BYTES = 16 * 1024  # init segments, playlists, lists: kept as bytes, and sent with their head
_TAIL_BYTES = 64 * 1024  # of a window no longer than this, one probe tells all
WINDOW_BYTES = 640 * 1024  # looked for in the page cache, read ahead, and sent at a time
_PROBE = [bytearray(1)]
_FRESH_S = 0.2  # what was in memory this long ago still is, for it has just been used


class OpenFile:
    """A descriptor that closes when nobody refers to it any more. `used` since its worker last
    looked."""

    __slots__ = ("_seen", "_seen_at", "body", "descriptor", "inode", "size", "used")

    def __init__(self, path: Path | str) -> None:
        """Raises OSError."""
        self.used = False
        self.body: bytes | None = None
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        status = os.fstat(self.descriptor)
        self.size = status.st_size
        self.inode = status.st_ino
        self._seen = 0  # as many from the front were in memory
        self._seen_at = 0.0

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)

    def load(self) -> bytes | None:
        """All bytes of a small file, in `body` from now on; None of a large one, or if the disk had
        to be waited for."""
        if self.size <= SMALL_BYTES:
            buffer = bytearray(self.size)
            try:
                if os.preadv(self.descriptor, [buffer], 0, os.RWF_NOWAIT) == self.size:
                    self.body = bytes(buffer)
            except OSError:  # cold, or a file system that cannot tell
                pass
        return self.body

    def ready(self, offset: int, end: int, now: float) -> int:
        """How many bytes from `offset`, and not beyond `end`, can be sent without waiting for the
        disk; 0: they have to be read ahead first. `now` is on the monotonic clock.

        Told by probes at both ends of a window, for pages come in from the front and leave from
        there; and by what probes have told a moment ago."""
        seen = self._seen
        if now - self._seen_at > _FRESH_S:
            seen = self._seen = 0
            self._seen_at = now
        if offset < seen:
            return min(end, seen) - offset
        count = min(end - offset, WINDOW_BYTES)
        descriptor = self.descriptor
        try:
            os.preadv(descriptor, _PROBE, offset + count - 1, os.RWF_NOWAIT)
            if count > _TAIL_BYTES:
                os.preadv(descriptor, _PROBE, offset, os.RWF_NOWAIT)
        except BlockingIOError:
            self._seen = 0
            return 0
        except OSError:
            return count  # a file system that cannot tell
        if offset == seen:
            self._seen = offset + count
        return count

    def read_ahead(self, offset: int, count: int) -> None:
        """Brings these bytes into the page cache, and waits for it: in a thread. They are asked for
        at once, and waited for at both ends, where `ready` looks. Raises OSError."""
        os.posix_fadvise(self.descriptor, offset, count, os.POSIX_FADV_WILLNEED)
        os.pread(self.descriptor, 1, offset)
        os.pread(self.descriptor, 1, offset + count - 1)

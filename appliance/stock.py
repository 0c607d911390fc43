"""The stock of one folder: what lies there, and what counts against its part of the budget. Pure
but for the shelf it belongs to.

Used bytes are those held, those that an earlier run left and that were not found yet, those
reserved for files on their way in (once they may land), and those unlinked that a worker has not
let go of.
"""

import asyncio
import errno

from appliance.evict import Ration, excess_bytes, slack_bytes
from appliance.shelf import Shelf

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_TIMES = 3  # so often in a row, files evicted each time, and somebody else takes the space
# The process or the machine lacks something, and the disk is not to blame.
_NOT_THE_DISK = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN)


class Stock:
    """A folder's account."""

    def __init__(self, shelf: Shelf, ration: Ration, budget_bytes: int) -> None:
        self.shelf = shelf
        self.ration = ration
        self.budget_bytes = budget_bytes
        self.slack_bytes = slack_bytes(budget_bytes)
        self.trouble = ""  # why it is out of service; empty: it is in service
        self.upset = asyncio.Event()  # it went out of service
        self.scanning = False  # an earlier run's files are being found
        self.unknown_bytes = 0  # … of which so many are left, at most
        self.landing_bytes = 0
        self.waiting_bytes = 0  # of those: for files that must wait until others have left
        self.promised_bytes = 0  # what a restarted keeper would reckon with
        self.fresh: set[int] = set()  # slots in no syncfs yet
        self.syncing: set[int] = set()  # slots in the one that is under way
        self.synced: set[int] = set()  # slots that may go to their final places
        # Keys that left while the folder was scanned: the scan's word on them may be out of date.
        self.missed: set[str] = set()
        self._leaving_bytes = 0
        self._unlinked: list[tuple[int, int]] = []  # (epoch, bytes)
        self.openings = 0  # a file that was landing before the last one has no place any more
        self._full = 0

    @property
    def in_service(self) -> bool:
        """It is filled and served from."""
        return not self.trouble

    @property
    def claimed_bytes(self) -> int:
        """Held or reserved: what eviction can change."""
        return self.ration.used_bytes + self.unknown_bytes + self.landing_bytes

    def used_bytes(self, acked: int) -> int:
        """All that counts, when every worker has acknowledged the epoch `acked`."""
        self._unlinked = [(epoch, size) for epoch, size in self._unlinked if epoch > acked]
        gone = sum(size for _, size in self._unlinked)
        return self.claimed_bytes - self.waiting_bytes + self._leaving_bytes + gone

    @property
    def room_bytes(self) -> int:
        """The largest file that could be taken, if all left that can."""
        return self.budget_bytes - self.ration.pinned_bytes if self.in_service else -1

    def excess_bytes(self) -> int:
        """What should leave now, so that the slack comes back."""
        return excess_bytes(self.claimed_bytes, self.budget_bytes, self.slack_bytes)

    def leave(self, size: int) -> None:
        """Bytes that are not held any more, and not unlinked yet."""
        self._leaving_bytes += size

    def unlinked(self, epoch: int, size: int) -> None:
        """They are now; workers let go of them by the epoch."""
        self._leaving_bytes -= size
        if size:
            self._unlinked.append((epoch, size))

    def slot_left(self, slot: int) -> None:
        """The slot is another's from now on."""
        self.fresh.discard(slot)
        self.syncing.discard(slot)
        self.synced.discard(slot)

    def found(self, size: int) -> None:
        """So many of the unknown bytes are known."""
        self.unknown_bytes = max(0, self.unknown_bytes - size)

    @property
    def is_full(self) -> bool:
        """The last write found no space."""
        return self._full > 0

    def wrote(self) -> None:
        """The disk takes writes."""
        self._full = 0

    def blame(self, error: OSError) -> str:
        """Why the folder should go out of service after this error; empty if it should not."""
        if error.errno in _NOT_THE_DISK:
            return ""
        if error.errno in _FULL:
            self._full += 1
            return "its disk is full" if self._full >= _FULL_TIMES else ""
        return error.strerror or str(error)

    def empty(self, ration: Ration) -> None:
        """Nothing is known to lie here; what is landing still does."""
        self.ration = ration
        self.unknown_bytes = 0
        self.scanning = False
        self.fresh.clear()
        self.syncing.clear()
        self.synced.clear()
        self.missed.clear()
        self._unlinked.clear()
        self._full = 0

"""The board: a small mapped file through which keeper and workers see each other at no cost.

It holds 64-bit words: the epoch, flags, a row per worker, and a ring of unlinked files. The keeper
alone writes the first words and the ring, and each worker alone its row; aligned words are written
whole, so no lock is needed. The file is fixed in size and never truncated: mapping it cannot fault.

A worker looks at `epoch` before each round of requests. When it has moved, files were unlinked or
notices changed, and the worker

    reads `epoch`, then asks for what was unlinked `since` its cursor,
    lets go of the descriptors of those inodes (of all, when it was told None),
    reads the notices, and writes the epoch into its row (`acked`).

What the keeper unlinked is gone once every live worker has acknowledged. In the ring each inode
stands beside a word made of it and of its number in the row of all announcements. So a reader that
is overtaken by the writer, or sees the two words in different states, notices: no order of memory
accesses is relied on.
"""

import asyncio
import mmap
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path

from appliance.tally import TALLY_WORDS

MAX_WORKERS = 64
EPOCH = 0  # index of the word
_FOLDERS_OUT = 1
_ANNOUNCED = 2
_PRESSURE = 7
_HEADER_WORDS = 8
OWN_WORDS = 16  # of a row; the worker's tally follows them
ROW_WORDS = OWN_WORDS + TALLY_WORDS
# More than is evicted at once (appliance/cache.py), several times over, for a worker looks four
# times a second; 256 KiB.
RING = 16_384
_RING = _HEADER_WORDS + MAX_WORKERS * ROW_WORDS
_WORDS = _RING + 2 * RING
_MASK = 2**64 - 1
_MIX = 0x9E3779B97F4A7C15  # an odd number: no two announcements have the same product


class Word(IntEnum):
    """The words of a worker's row. All but the first three are cumulative, across restarts."""

    ALIVE = 0
    ACKED = 1
    OPEN = 2
    REQUESTS = 3
    BYTES_OUT = 4
    HITS = 5
    MISSES = 6
    REJECTS = 7
    ACCEPTED = 8
    ABORTED = 9


_ALIVE, _ACKED = int(Word.ALIVE), int(Word.ACKED)  # an enum's member costs twice as much


class Board:
    """The mapped words. `row(slot)` is a worker's own."""

    def __init__(self, path: Path) -> None:
        """Maps the file, made when it is missing or of another size."""
        size = _WORDS * 8
        if not path.exists() or path.stat().st_size != size:
            temporary = path.with_suffix(".new")
            temporary.write_bytes(bytes(size))
            temporary.replace(path)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), size)
        self.words = memoryview(self._map).cast("Q")
        self._rows = [self.row(slot) for slot in range(MAX_WORKERS)]

    @property
    def epoch(self) -> int:
        """Moves when workers have something to let go of."""
        return self.words[EPOCH]

    def advance(self) -> int:
        """The keeper has changed something. Returns the new epoch."""
        self.words[EPOCH] += 1
        return self.words[EPOCH]

    def announce(self, inodes: Sequence[int]) -> int:
        """The files of these inodes were unlinked. Returns the new epoch, which workers
        acknowledge once they have let go of them."""
        number = self.words[_ANNOUNCED]
        for inode in inodes:
            at = _RING + 2 * (number % RING)
            self.words[at] = inode & _MASK
            self.words[at + 1] = _seal(inode, number)
            number += 1
        self.words[_ANNOUNCED] = number
        return self.advance()

    @property
    def announced(self) -> int:
        """How many inodes were ever announced: the cursor of who has nothing open."""
        return self.words[_ANNOUNCED]

    def since(self, cursor: int) -> list[int] | None:
        """The inodes announced after the first `cursor` ones; the next cursor is further by as
        many. None: too far behind; let go of all, with the `announced` of before as cursor."""
        count = self.words[_ANNOUNCED]
        if not count - RING <= cursor <= count:
            return None
        inodes = []
        for number in range(cursor, count):
            at = _RING + 2 * (number % RING)
            inode = self.words[at]
            if self.words[at + 1] != _seal(inode, number):
                return None
            inodes.append(inode)
        return inodes

    @property
    def folders_out(self) -> int:
        """The cache's folders that are out of service: a bit for each, the first one's lowest."""
        return self.words[_FOLDERS_OUT]

    @folders_out.setter
    def folders_out(self, bits: int) -> None:
        self.words[_FOLDERS_OUT] = bits

    def row(self, slot: int) -> memoryview:
        """The words of a worker, indexed by `Word`."""
        start = _HEADER_WORDS + slot * ROW_WORDS
        return self.words[start : start + ROW_WORDS]

    def tally(self, slot: int) -> memoryview:
        """The tally of a worker, indexed by `tally.Tally`: the rest of its row."""
        return self.row(slot)[OWN_WORDS:]

    @property
    def pressure(self) -> float:
        """The load by which workers shed, as the keeper sees it; 1.0 is all that can be borne."""
        return self.words[_PRESSURE] / 1000

    @pressure.setter
    def pressure(self, load: float) -> None:
        self.words[_PRESSURE] = round(1000 * load)

    def acked(self) -> int:
        """The epoch that every live worker has acknowledged."""
        return min((row[_ACKED] for row in self._rows if row[_ALIVE]), default=self.epoch)

    async def acknowledged(self, epoch: int, timeout_s: float) -> None:
        """Every live worker has acknowledged the epoch. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            # Words in memory ring no bell.
            while self.acked() < epoch:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    def total(self, word: Word) -> int:
        """The sum of a word over all workers."""
        return sum(row[word] for row in self._rows)


def _seal(inode: int, number: int) -> int:
    return (inode ^ ((number + 1) * _MIX)) & _MASK

"""The board: a small mapped file through which keeper and workers see each other at no cost.

It holds 64-bit words: the epoch, flags, and a row per worker. The keeper alone writes the first
words and each worker alone its row, and aligned words are written whole, so no lock is needed.
The file is fixed in size and never truncated: mapping it cannot fault.

A worker looks at `epoch` before each request. When it has moved, files were unlinked or notices
changed: the worker lets go of its descriptors, reads the notices, and writes the epoch into its
row (`acked`). What the keeper unlinked is gone once every live worker has acknowledged.
"""

import asyncio
import mmap
from enum import IntEnum
from pathlib import Path

MAX_WORKERS = 64
EPOCH = 0  # index of the word
_HEADER_WORDS = 8
_ROW_WORDS = 16
_WORDS = _HEADER_WORDS + MAX_WORKERS * _ROW_WORDS


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

    @property
    def epoch(self) -> int:
        """Moves when workers have something to let go of."""
        return self.words[EPOCH]

    def advance(self) -> int:
        """The keeper has changed something. Returns the new epoch."""
        self.words[EPOCH] += 1
        return self.words[EPOCH]

    def row(self, slot: int) -> memoryview:
        """The words of a worker, indexed by `Word`."""
        start = _HEADER_WORDS + slot * _ROW_WORDS
        return self.words[start : start + _ROW_WORDS]

    def acked(self) -> int:
        """The epoch that every live worker has acknowledged."""
        rows = [self.row(slot) for slot in range(MAX_WORKERS)]
        return min((row[Word.ACKED] for row in rows if row[Word.ALIVE]), default=self.epoch)

    async def acknowledged(self, epoch: int, timeout_s: float) -> None:
        """Every live worker has acknowledged the epoch. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            # Words in memory ring no bell.
            while self.acked() < epoch:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    def total(self, word: Word) -> int:
        """The sum of a word over all workers."""
        return sum(self.row(slot)[word] for slot in range(MAX_WORKERS))

"""The ring of unlinked files: nothing is missed, and who is too far behind knows."""

import os
import sys
import threading
import time
from pathlib import Path

from appliance.board import RING, Board


def test_each_reader_hears_of_every_inode(tmp_path: Path) -> None:
    keeper, worker = Board(tmp_path / "board"), Board(tmp_path / "board")
    assert worker.since(worker.announced) == []
    epoch = keeper.announce([5, 2**64 - 1, 0])
    assert worker.epoch == epoch and worker.since(0) == [5, 2**64 - 1, 0]
    assert worker.since(2) == [0]
    again = Board(tmp_path / "board")  # another keeper goes on where the first one ended
    again.announce([7])
    assert worker.since(3) == [7] and worker.announced == 4


def test_who_is_too_far_behind_is_told_so(tmp_path: Path) -> None:
    board = Board(tmp_path / "board")
    board.announce(range(RING))
    assert board.since(0) == list(range(RING))
    board.announce([1])
    assert board.since(0) is None and board.since(1) == [*range(1, RING), 1]
    assert board.since(board.announced + 1) is None  # of another board, perhaps


def test_a_half_written_entry_is_not_believed(tmp_path: Path) -> None:
    board = Board(tmp_path / "board")
    board.announce([1, 2, 3])
    for word in (0, 1):  # the first or the second word of the second entry is not there yet
        at = len(board.words) - 2 * RING + 2 + word
        before, board.words[at] = board.words[at], 0
        assert board.since(0) is None and board.since(2) == [3]
        board.words[at] = before
    assert board.since(0) == [1, 2, 3]


def test_a_reader_beside_a_writer(tmp_path: Path) -> None:
    """What a reader is told is in the writer's order without gaps, whenever it looks."""
    keeper, worker = Board(tmp_path / "board"), Board(tmp_path / "board")
    done = threading.Event()

    def write() -> None:
        number = 0
        while not done.is_set():
            batch = range(number, number + int.from_bytes(os.urandom(2), "big") % 3_000)
            keeper.announce(batch)
            number += len(batch)
            time.sleep(0)  # or the reader may never have the lock for long enough

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread = threading.Thread(target=write)
    thread.start()
    try:
        cursor = told = lost = 0
        ends = time.monotonic() + 20.0
        while told < 500_000 and time.monotonic() < ends:
            now = worker.announced
            inodes = worker.since(cursor)
            if inodes is None:
                lost, cursor = lost + 1, now
            else:
                assert inodes == list(range(cursor, cursor + len(inodes)))
                told, cursor = told + len(inodes), cursor + len(inodes)
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(interval)
    assert told > 0

"""What of a file can be sent without waiting for the disk."""

import os
from pathlib import Path

import pytest

from appliance.open_file import WINDOW_BYTES, OpenFile

SIZE = 3 * WINDOW_BYTES + 5_000


@pytest.fixture
def file(tmp_path: Path) -> OpenFile:
    (tmp_path / "file").write_bytes(os.urandom(SIZE))
    return OpenFile(tmp_path / "file")


def drop(file: OpenFile) -> None:
    """Its pages leave the memory; skips where they cannot."""
    os.fdatasync(file.descriptor)
    for _ in range(100):
        os.posix_fadvise(file.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        try:
            os.preadv(file.descriptor, [bytearray(1)], 0, os.RWF_NOWAIT)
        except BlockingIOError:
            return
    pytest.skip("this file system keeps its pages in memory")


def test_it_is_looked_at_in_windows_and_once_in_a_while(file: OpenFile) -> None:
    ways = []
    for now in (1.0, 1.01, 2.0):
        offset, steps = 0, []
        while offset < SIZE:
            steps.append(file.ready(offset, SIZE, now))
            offset += steps[-1]
        ways.append(steps)
    windows = [WINDOW_BYTES] * 3 + [5_000]
    assert ways == [windows, [SIZE], windows]


def test_no_more_is_said_than_was_asked(file: OpenFile) -> None:
    assert file.ready(10, 20, 1.0) == file.ready(10, 20, 1.0) == 10
    assert file.ready(0, 3_000, 1.0) == 3_000
    assert file.ready(1_000, 2_500, 1.0) == 1_500  # known by now
    assert file.ready(1_000, SIZE, 1.0) == 2_000  # as far as known
    assert file.ready(SIZE - 10, SIZE, 1.0) == 10  # behind what is known
    assert file.ready(0, 0, 9.0) == 0


def test_cold_pages_are_read_first(file: OpenFile) -> None:
    assert file.ready(0, SIZE, 1.0) == WINDOW_BYTES
    drop(file)
    assert file.ready(0, SIZE, 2.0) == 0
    file.read_ahead(0, WINDOW_BYTES)
    assert file.ready(0, SIZE, 2.0) == WINDOW_BYTES


def test_who_finds_a_cold_page_forgets_what_was_in_memory(file: OpenFile) -> None:
    assert file.ready(0, SIZE, 1.0) == WINDOW_BYTES
    drop(file)
    assert file.ready(2 * WINDOW_BYTES, SIZE, 1.1) == 0
    assert file.ready(0, SIZE, 1.1) == 0

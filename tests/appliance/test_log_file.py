"""The access log's file is put aside when it is large, by whoever of several workers sees it."""

import fcntl
import json
import os
from pathlib import Path

import pytest

from appliance import log_file
from appliance.access_log import NOBODY
from appliance.log_file import LogFile

RECORD = (0.0, 5, '"status":200', NOBODY)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_file, "MAX_BYTES", 1_000)


def write(log: LogFile, records: int) -> None:
    for _ in range(records):
        log.add(RECORD)
    log.tick()


def lines(path: Path) -> int:
    return len([json.loads(line) for line in path.read_text().splitlines()])


def test_a_large_file_is_put_aside_and_the_older_one_let_go_of(tmp_path: Path) -> None:
    given_up: list[int] = []
    path, aside = tmp_path / "access.log", tmp_path / "access.1.log"
    log = LogFile(path, given_up.append)
    for _ in range(3):
        write(log, 20)
    assert (lines(path), lines(aside)) == (20, 20)
    # The first file has no name any more; who was given its descriptors frees its bytes.
    names = [os.fstat(descriptor).st_nlink for descriptor in given_up]
    assert names == [0, 0, 1] and os.fstat(given_up[0]).st_ino == os.fstat(given_up[1]).st_ino
    for descriptor in given_up:
        os.close(descriptor)


def test_two_workers_lose_no_line(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    one, other = LogFile(path), LogFile(path)
    write(other, 1)
    write(one, 20)
    write(one, 1)  # puts it aside
    write(other, 1)  # and the other notices
    assert (lines(tmp_path / "access.1.log"), lines(path)) == (21, 2)


def test_while_another_puts_it_aside_lines_go_on(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = LogFile(path)
    write(log, 20)
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        write(log, 1)
        assert lines(path) == 21 and not path.with_suffix(".1.log").exists()
    write(log, 1)
    assert (lines(path.with_suffix(".1.log")), lines(path)) == (21, 1)

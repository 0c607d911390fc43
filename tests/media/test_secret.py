"""Secrets: made once, private, whole."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from media.secret import read_or_make


def test_a_secret_is_made_once_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "thing"
    assert read_or_make(path, lambda: b"first") == b"first"
    assert read_or_make(path, lambda: b"second") == b"first"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_all_who_come_at_once_read_the_same(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "thing"
    with ThreadPoolExecutor(8) as threads:
        read = set(threads.map(lambda n: read_or_make(path, lambda: b"%d" % n * 999), range(64)))
    assert read == {path.read_bytes()}
    assert list(path.parent.iterdir()) == [path]


def test_one_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> bytes:
        raise OSError("no entropy")

    with pytest.raises(OSError, match="entropy"):
        read_or_make(tmp_path / "thing", fail)
    assert list(tmp_path.iterdir()) == []

"""Files take their places together, or not at all."""

import stat
from pathlib import Path

import pytest

from control_plane.swap import Swap


def tree(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "gone"):
        (tmp_path / name).write_bytes(b"old")
    return tmp_path


def test_all_take_their_places(folder: Path):
    with Swap() as swap:
        swap.stage(folder / "a", b"new")
        swap.stage(folder / "deeper" / "b", b"new")
        swap.stage_away(folder / "gone")
        swap.stage_away(folder / "never")
        assert tree(folder)["a"] == b"old" and "b" not in tree(folder)
        swap.into_place()
    assert tree(folder) == {"a": b"new", "b": b"new"}
    assert stat.S_IMODE((folder / "a").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "deeper").stat().st_mode) == 0o700


@pytest.mark.parametrize("when", ["before", "within", "after"])
def test_a_failure_leaves_what_was_there(folder: Path, when: str):
    with pytest.raises((RuntimeError, OSError)), Swap() as swap:
        swap.stage(folder / "a", b"new")
        swap.stage_away(folder / "gone")
        lost = swap.stage(folder / "b", b"new")
        if when == "before":
            raise RuntimeError
        if when == "within":
            lost.unlink()
        swap.into_place()
        raise RuntimeError
    assert tree(folder) == {"a": b"old", "gone": b"old"}

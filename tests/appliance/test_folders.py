"""Where a file lies: the same answer everywhere, by the folders' shares."""

from collections import Counter
from pathlib import Path

import pytest

from appliance.folders import Folders, FolderShare, shares_of
from runtime.errors import Problem

KEYS = [f"pkg_{number // 100:026d}/v-avc-720/{number % 100}.m4s" for number in range(6_000)]


def folders_of(**budgets: int) -> Folders:
    return Folders([FolderShare(Path("/", name), size) for name, size in budgets.items()], "boot")


def test_files_spread_by_budget() -> None:
    firsts = Counter(folders_of(a=100, b=200, c=300).places(key)[0] for key in KEYS)
    assert [round(firsts[number] / 1_000) for number in range(3)] == [1, 2, 3]


def test_a_folder_more_moves_only_what_goes_there() -> None:
    two, three = folders_of(a=100, b=100), folders_of(a=100, b=100, c=100)
    for key in KEYS[:500]:
        before, now = two.places(key), [n for n in three.places(key) if n != 2]
        assert list(before) == now


def test_a_reader_looks_in_that_order_and_ends_where_files_end() -> None:
    folders, key = folders_of(a=1, b=1), "pkg_x/v/1.m4s"
    first, second = ("/a", "/b") if folders.places(key)[0] == 0 else ("/b", "/a")
    new = f".new/boot/{key}"
    assert list(folders.paths(key)) == [
        f"{first}/{key}", f"{first}/{new}", f"{second}/{key}", f"{second}/{new}",
        f"{first}/{key}", f"{second}/{key}",
    ]  # fmt: skip
    assert list(folders.paths(key, out=0b10)) == [f"/a/{key}", f"/a/{new}", f"/a/{key}"]
    assert list(folders.paths(key, out=0b11)) == []


def test_shares_of_the_setting() -> None:
    default = Path("/d")
    assert shares_of([], 100, default) == [FolderShare(default, 100)]
    assert shares_of(["/a"], 100, default) == [FolderShare(Path("/a"), 100)]
    assert [s.budget_bytes for s in shares_of(["/a=60", "/b", "/c"], 100, default)] == [60, 20, 20]
    assert shares_of(["/a=b", "/c=40"], 100, default)[0] == FolderShare(Path("/a=b"), 60)
    for wrong in (["/a=101"], ["/a=100", "/b"], ["/a", "/a"], [f"/{n}" for n in range(33)]):
        with pytest.raises(Problem) as problem:
            shares_of(wrong, 100, default)
        assert problem.value.code == "bad_settings"

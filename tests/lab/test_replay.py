"""A trace through the caches that ship, and the command that does it."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from lab.replay import Cache, Counts, replay
from lab.trace import Request, write
from lab.trace_cli import bytes_of
from runtime.errors import Problem
from tests.console import run_nearcast


def test_what_is_counted() -> None:
    cache = Cache("lru", 10)
    wanted = [("a", 4), ("b", 4), ("a", 4), ("c", 4), ("b", 4), ("huge", 11), ("huge", 11)]
    replay((Request(at, key, size) for at, (key, size) in enumerate(wanted)), [cache])
    assert cache.counts == Counts(
        requests=7, hits=1, bytes=42, hit_bytes=4, evictions=2, evicted_bytes=8
    )
    assert cache.held_bytes == 8


def _requests() -> list[Request]:
    dice = random.Random(5)
    ranks = [int(500 ** dice.random()) for _ in range(3000)]
    return [Request(at, f"pkg/{rank}.m4s", 1000 + rank) for at, rank in enumerate(ranks)]


def _command(*arguments: str) -> dict[str, Any]:
    done = run_nearcast(["trace", "replay", *arguments, "--json"])
    return dict(json.loads(done.stdout), exit_code=done.returncode)


@pytest.mark.parametrize("name", ["a.csv", "a.oracle"])
def test_the_command_replays_a_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write(path, "csv" if name.endswith("csv") else "oracle", _requests())
    said = _command(str(path), "--bytes", "100kB", "--admission", "second_hit")
    assert said["exit_code"] == 0 and said["budget_bytes"] == 100_000
    assert [row["policy"] for row in said["rows"]] == ["lru", "sieve", "s3fifo"]
    for row in said["rows"]:
        cache = Cache(row["policy"], 100_000, admission="second_hit")
        replay(_requests(), [cache])
        assert (row["requests"], row["hits"]) == (3000, cache.counts.hits)


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("0,a\n")
    said = _command(str(path), "--bytes", "1GB")
    assert said["exit_code"] == 1 and "line 1 is no request" in said["detail"]
    path.write_text("0,a,1\n")
    for arguments, word in (
        (("--bytes", "1GB", "--policy", "fifo"), "fifo"),
        (("--bytes", "1GB", "--admission", "none"), "none"),
        (("--bytes", "1GB", "--format", "zip"), "zip"),
        (("--bytes", "much"), "much"),
    ):
        said = _command(str(path), *arguments)
        assert said["code"] == "bad_request" and word in said["detail"]


def test_sizes() -> None:
    given = ["1", "10GB", "1.5 MB", "2GiB", "3k", "4kib"]
    assert [bytes_of(one) for one in given] == [1, 10**10, 1_500_000, 2**31, 3000, 4096]
    for wrong in ("", "GB", "-1GB", "0", "1iB", "1e9", "9" * 16):
        with pytest.raises(Problem, match="is no size"):
            bytes_of(wrong)

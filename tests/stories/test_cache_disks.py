"""A cache on real disks that fill up and turn read-only: two small ones, in a mount namespace."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.stories.test_full_disk import UNSHARE, mount_namespace

__all__ = ["mount_namespace"]

DISKS = """
import asyncio, os, subprocess, sys
from pathlib import Path
from appliance.board import Board
from appliance.cache import Cache
from appliance.folders import Folders, FolderShare
from appliance.scrub import Scrubber
from appliance.upkeep import Upkeep
from media.inventory import sha256_of
from runtime.errors import Problem

MB = 1024 * 1024
top = Path(sys.argv[1])
one, two = top / "one", top / "two"


def mount(options, folder):
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], check=True)


async def put(cache, key, size):
    data = os.urandom(size)
    landing = await cache.begin(key, size)
    try:
        for start in range(0, size, MB // 4):
            cache.write(landing, data[start : start + MB // 4], start)
        await cache.commit(landing, sha256_of(data))
    finally:
        cache.abandon(landing)


def served(cache, key):
    for path in cache.folders.paths(key, cache._board.folders_out):
        if Path(path).exists():
            return True
    return False


async def run():
    for folder in (one, two):
        folder.mkdir()
        mount("size=8m", folder)
    # The budget says more than the disks have: it is the disks that decide then.
    folders = Folders([FolderShare(one, 100 * MB), FolderShare(two, 100 * MB)], "boot")
    cache = Cache(folders, Board(top / "board"))
    cache.open()
    upkeep = Upkeep(cache, Scrubber(cache, 0))
    for number in range(40):
        await put(cache, f"pkg_x/v/{number}", MB)
    assert cache.trouble == "" and cache.evictions >= 24, (cache.trouble, cache.evictions)
    assert all(served(cache, key) for key in cache) and len(cache) >= 10
    await upkeep.sync()

    subprocess.run(["mount", "-o", "remount,ro", str(one)], check=True)
    for number in range(100, 120):
        try:
            await put(cache, f"pkg_x/v/{number}", MB)
        except Problem as problem:
            assert problem.code == "disk_full"
    await upkeep.forget()
    assert "one" in cache.trouble and "Read-only" in cache.trouble, cache.trouble
    assert not cache.out and len(cache) > 0
    assert all(cache.path(key).is_relative_to(two) for key in cache)
    await upkeep.revive()
    assert "one" in cache.trouble  # it still is
    subprocess.run(["mount", "-o", "remount,rw", str(one)], check=True)
    await upkeep.revive()
    assert cache.trouble == "" and any(cache.path(key).is_relative_to(one) for key in cache)
    assert all(served(cache, key) for key in cache)

    # Somebody else takes all the space of one disk; the other one serves.
    with (one / "hog").open("wb", buffering=0) as file:
        try:
            for key in list(cache):
                if cache.path(key).is_relative_to(one):
                    cache.remove([key])
            while True:
                file.write(bytes(MB // 4))
        except OSError:
            pass
    for number in range(200, 230):
        try:
            await put(cache, f"pkg_x/v/{number}", MB)
        except Problem as problem:
            assert problem.code in ("disk_full", "cache_full"), problem.code
    assert "one" in cache.trouble and "full" in cache.trouble, cache.trouble
    assert all(cache.path(key).is_relative_to(two) for key in cache) and len(cache) > 3
    (one / "hog").unlink()
    await upkeep.revive()
    await put(cache, "pkg_x/v/last", MB)
    assert cache.trouble == ""


asyncio.run(run())
"""


@pytest.mark.story
def test_disks_that_fill_up_and_turn_read_only(tmp_path: Path, mount_namespace: None) -> None:
    done = subprocess.run(
        [*UNSHARE, sys.executable, "-c", DISKS, str(tmp_path)],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

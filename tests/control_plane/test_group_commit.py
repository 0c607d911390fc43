"""Writes that come together are committed together, and none fails for another's sake."""

import asyncio
from collections.abc import Sequence

from control_plane.group_commit import MOST, GroupCommit
from runtime.errors import Problem


class Disk:
    """Writes numbers when it is let, and knows in what groups they came."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.free = asyncio.Event()
        self.bad: set[int] = set()
        self.away = False

    async def write(self, numbers: Sequence[int]) -> list[bool]:
        self.groups.append(list(numbers))
        await self.free.wait()
        if self.away:
            raise Problem("unavailable")
        if self.bad & set(numbers):
            raise ValueError(f"{numbers}")
        return [number % 2 == 0 for number in numbers]


async def begun(commit: GroupCommit[int], *numbers: int) -> list["asyncio.Task[bool]"]:
    tasks = [asyncio.create_task(commit.add(number), name=f"add-{number}") for number in numbers]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_what_comes_meanwhile_goes_together():
    disk = Disk()
    commit = GroupCommit(disk.write)
    tasks = await begun(commit, 0)
    tasks += await begun(commit, *range(1, MOST + 11))
    disk.free.set()
    assert await asyncio.gather(*tasks) == [number % 2 == 0 for number in range(MOST + 11)]
    assert [len(group) for group in disk.groups] == [1, MOST, 10]
    disk.groups.clear()
    assert await commit.add(4)
    assert disk.groups == [[4]]  # who comes alone waits for nobody


async def test_one_that_cannot_be_written_fails_alone():
    disk = Disk()
    disk.bad = {3}
    commit = GroupCommit(disk.write)
    tasks = await begun(commit, 0)
    tasks += await begun(commit, 1, 2, 3, 4)
    disk.free.set()
    got = await asyncio.gather(*tasks, return_exceptions=True)
    assert got[:3] + got[4:] == [True, False, True, True]
    assert isinstance(got[3], ValueError)


async def test_a_disk_that_is_away_is_asked_once_for_all():
    disk = Disk()
    disk.away = True
    commit = GroupCommit(disk.write)
    tasks = await begun(commit, 0)
    tasks += await begun(commit, *range(1, 20))
    disk.free.set()
    got = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(one, Problem) for one in got)
    assert len(disk.groups) == 2
    disk.away = False
    assert await commit.add(2)


async def test_who_has_gone_hinders_nobody():
    disk = Disk()
    commit = GroupCommit(disk.write)
    tasks = await begun(commit, 0)
    tasks += await begun(commit, 1, 2)
    tasks[1].cancel()
    disk.free.set()
    got = await asyncio.gather(*tasks, return_exceptions=True)
    assert (got[0], got[2]) == (True, True)
    assert isinstance(got[1], asyncio.CancelledError)

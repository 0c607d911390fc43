"""Notices: versions, tombstones, what a restart finds, and waiting for news."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runtime.errors import Problem
from steering.notices import NoticeBoard, NoticeDesk
from tests.steering_fleet import NOW_S, package_id, session_id

NOW = datetime.fromtimestamp(NOW_S, UTC)
VERSION = int(NOW_S * 1000)
HOUR = timedelta(hours=1)
P, S = package_id(), session_id()


class Clock:
    def __init__(self) -> None:
        self.now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


def test_each_change_is_a_new_version_and_a_repeated_one_is_none() -> None:
    fresh = NoticeBoard.fresh(NOW)
    assert fresh.version == VERSION
    purged = fresh.entomb(P, NOW + HOUR, NOW)
    assert purged.version == fresh.version + 1
    assert purged.entomb(P, NOW + HOUR, NOW) is purged
    assert purged.entomb(P, NOW + HOUR / 2, NOW) is purged  # a tombstone never gets shorter
    assert purged.entomb(P, NOW + 2 * HOUR, NOW).purges == {P: NOW + 2 * HOUR}
    assert purged.entomb(package_id(2), NOW - HOUR, NOW) is purged
    drained = purged.drain("a1", True)
    assert drained.drain("a1", True) is drained
    assert drained.drain("a1", False).version == drained.version + 1
    assert drained.revoke(S, NOW + HOUR, NOW).version == drained.version + 1


def test_an_appliance_reads_its_own_drain_and_what_lasts() -> None:
    board = NoticeBoard.fresh(NOW).entomb(P, NOW + HOUR, NOW).revoke(S, NOW + 2 * HOUR, NOW)
    board = board.drain("a1", True)
    assert board.notices("a1", NOW).draining
    assert not board.notices("a2", NOW).draining
    assert [purge.package_id for purge in board.notices("a2", NOW).purges] == [P]
    later = board.notices("a2", NOW + HOUR)
    assert (later.purges, later.revoked_sessions) == ((), (S,))
    assert board.at(NOW + 2 * HOUR).revoked == {}


async def test_a_restart_finds_everything_but_what_has_expired(tmp_path: Path) -> None:
    path, clock = tmp_path / "steering" / "notices.json", Clock()
    desk = NoticeDesk(path, clock)
    await desk.entomb(P, NOW + HOUR, None)
    await desk.drain("a1", True)
    version = desk.board.version
    again = NoticeDesk(path, clock)
    assert again.board == desk.board
    assert again.purged() == {P}
    clock.now_s += 3600
    assert again.purged() == frozenset()
    expired = NoticeDesk(path, clock)
    assert expired.board.purges == {}
    assert expired.board.draining == {"a1"}
    assert expired.board.version == version


def test_a_damaged_file_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "notices.json"
    path.write_text('{"version":')
    with pytest.raises(Problem, match="damaged"):
        NoticeDesk(path)


async def test_a_change_that_cannot_be_written_does_not_happen(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    desk = NoticeDesk(tmp_path / "missing" / "notices.json", Clock())
    desk._path = tmp_path / "file" / "notices.json"  # a folder that cannot be
    with pytest.raises(Problem) as caught:
        await desk.entomb(P, NOW + HOUR, None)
    assert caught.value.code == "disk_full"
    assert desk.board.purges == {}


async def test_waiting_ends_with_the_next_change(tmp_path: Path) -> None:
    desk = NoticeDesk(tmp_path / "notices.json", Clock())
    version = desk.board.version
    waiting = [asyncio.create_task(desk.wait(name, version, 20)) for name in ("a1", "a2")]
    done, _ = await asyncio.wait(waiting, timeout=0.05)
    assert not done
    await desk.drain("a1", True)
    first, second = await asyncio.gather(*waiting)
    assert (first.version, first.draining) == (version + 1, True)
    assert (second.version, second.draining) == (version + 1, False)


@pytest.mark.parametrize("since", [0, VERSION + 1000])
async def test_another_version_is_answered_at_once(tmp_path: Path, since: float) -> None:
    desk = NoticeDesk(tmp_path / "notices.json", Clock())
    async with asyncio.timeout(1):
        assert (await desk.wait("a1", int(since), 20)).version == VERSION


async def test_without_news_the_same_document_comes_in_the_end(tmp_path: Path) -> None:
    desk = NoticeDesk(tmp_path / "notices.json", Clock())
    assert (await desk.wait("a1", desk.board.version, 0.01)).version == desk.board.version

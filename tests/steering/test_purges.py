"""Purges as jobs: whom they await, when they are over, and what a restart finds."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from media.fleet import PurgeTarget, Report
from media.purges import PurgeDetails
from runtime.errors import Problem
from steering.notices import NoticeDesk
from steering.purge_job import Purge
from steering.purges import PurgeDesk
from steering.roster import RosterBook
from tests.steering_fleet import ATLAS, NOW_S, package_id, report

P = package_id()
TARGET = PurgeTarget(package_id=P)
DEADLINE_S, KEEP_S, SILENT_S = 600.0, 3600.0, 15.0


class House:
    """A steering without its HTTP, at a time of its own."""

    def __init__(self, folder: Path, now_s: float = NOW_S) -> None:
        self.folder = folder
        self.now_s = now_s
        self.sequence = 0
        self.start()
        self.pass_time(SILENT_S)  # who lives has reported

    def start(self) -> None:
        """Steering as after a restart: it has what is on the disk, and nothing else."""
        self.roster = RosterBook(ATLAS, report_timeout_s=SILENT_S, forget_s=3600, session_bps=0)
        self.notices = NoticeDesk(self.folder / "notices.json", lambda: self.now_s)
        self.desk = PurgeDesk(
            self.folder / "purges",
            self.notices,
            self.roster,
            deadline_s=DEADLINE_S,
            keep_s=KEEP_S,
            known_after_s=SILENT_S,
            now_s=lambda: self.now_s,
        )

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds

    def heard(self, name: str, purge: PurgeDetails | None = None, **changes: object) -> None:
        """The appliance reports; of a purge it has at least heard."""
        self.sequence += 1
        said: Report = report(
            name,
            self.now_s,
            sequence=self.sequence,
            notices_version=self.notices.board.version if purge else 0,
            **changes,
        )
        assert self.roster.hear(said, self.now_s)
        self.desk.hear(said)

    def obeyed(self, name: str, purge: PurgeDetails, files: int = 3) -> None:
        """The appliance reports that it has obeyed."""
        serial = self.serial(purge)
        done = ({"serial": serial, "files": files},)
        self.heard(name, purge, purged_serial=serial, purged=done)

    def serial(self, purge: PurgeDetails) -> int:
        return self.notices.board.orders[purge.job_id].serial

    async def tick(self) -> None:
        """What `keep` does in one round."""
        for purge in list(self.desk._purges.values()):
            self.desk._catch_up(purge)
            self.desk._settle(purge)
        await self.desk._forget(self.desk._old())
        await self.desk.write()


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path)
    for name in ("a1", "a2"):
        made.heard(name)
    return made


def states(purge: PurgeDetails) -> dict[str, str]:
    return {one.appliance_id: one.state for one in purge.appliances}


async def test_pending_active_complete(house: House) -> None:
    purge = await house.desk.order(TARGET)
    assert (purge.state, purge.awaited) == ("pending", 2)
    (order,) = house.notices.board.notices("a1", datetime.now(UTC)).orders
    assert (order.package_id, order.serial) == (P, house.notices.board.version)
    house.heard("a1", purge)
    seen = house.desk.shown(purge.job_id)
    assert (seen.state, states(seen)) == ("active", {"a1": "active", "a2": "pending"})
    house.obeyed("a1", purge, files=5)
    seen = house.desk.shown(purge.job_id)
    assert (seen.state, seen.obeyed, seen.awaited, seen.files) == ("active", 1, 1, 5)
    house.obeyed("a2", purge, files=0)
    seen = house.desk.shown(purge.job_id)
    assert (seen.state, seen.files, seen.is_over) == ("complete", 5, True)
    assert [one.awaited for one in seen.appliances] == [False, False]
    assert seen.finished_at == datetime.fromtimestamp(house.now_s, UTC)


async def test_a_later_serial_counts_for_all_before(house: House) -> None:
    first, second = await house.desk.order(TARGET), await house.desk.order(TARGET)
    for name in ("a1", "a2"):
        house.obeyed(name, second)
    assert {job.state for job in house.desk.listed().purges} == {"complete"}
    # Nobody has told of the first one's files.
    assert [one.files for one in house.desk.shown(first.job_id).appliances] == [None, None]


async def test_one_that_is_away_is_awaited_then_named_and_still_obeys(house: House) -> None:
    purge = await house.desk.order(TARGET)
    house.obeyed("a1", purge)
    house.pass_time(DEADLINE_S - 1)
    await house.tick()
    seen = house.desk.shown(purge.job_id)
    assert (seen.state, seen.awaited) == ("active", 1)
    assert [(one.appliance_id, one.awaited, one.alive) for one in seen.appliances] == [
        ("a1", False, False),
        ("a2", True, False),
    ]
    house.pass_time(1)
    await house.tick()
    seen = house.desk.shown(purge.job_id)
    assert (seen.state, seen.why) == ("failed", "Not obeyed by the deadline: a2.")
    assert house.serial(purge)  # its order stands
    house.obeyed("a2", purge)
    late = house.desk.shown(purge.job_id)
    assert (late.state, states(late)["a2"]) == ("failed", "complete")


async def test_who_comes_meanwhile_is_awaited_and_who_was_dead_is_not(house: House) -> None:
    house.pass_time(2 * SILENT_S)
    house.heard("a1")
    purge = await house.desk.order(TARGET)
    assert list(states(purge)) == ["a1"]
    house.heard("a2")
    house.obeyed("a1", purge)
    assert house.desk.shown(purge.job_id).state == "active"
    house.obeyed("a2", purge)
    assert house.desk.shown(purge.job_id).state == "complete"


async def test_who_has_obeyed_and_forgotten_it_has_obeyed(house: House) -> None:
    purge = await house.desk.order(TARGET)
    house.obeyed("a1", purge)
    house.heard("a1", purge)  # with a new disk, or one that took no serial
    seen = house.desk.shown(purge.job_id)
    assert (seen.obeyed, seen.awaited, states(seen)["a1"]) == (1, 1, "complete")


async def test_nothing_is_complete_before_the_fleet_is_known(house: House) -> None:
    house.start()
    purge = await house.desk.order(TARGET)
    await house.tick()
    assert (purge.awaited, house.desk.shown(purge.job_id).state) == (0, "pending")
    house.heard("a1")
    house.pass_time(SILENT_S)
    await house.tick()
    assert house.desk.shown(purge.job_id).awaited == 1
    house.obeyed("a1", purge)
    assert house.desk.shown(purge.job_id).state == "complete"


async def test_a_restart_finds_orders_progress_and_ends(house: House) -> None:
    over, under_way = await house.desk.order(TARGET), await house.desk.order(TARGET)
    for name in ("a1", "a2"):
        house.obeyed(name, over)
    house.obeyed("a1", under_way, files=8)
    await house.tick()
    house.start()
    house.pass_time(SILENT_S)
    await house.tick()
    assert [job.job_id for job in house.desk.listed().purges] == [under_way.job_id, over.job_id]
    assert house.desk.shown(over.job_id).state == "complete"
    seen = house.desk.shown(under_way.job_id)
    # a2 has not reported to this steering, and is awaited all the same.
    assert (seen.state, seen.files, states(seen)) == (
        "active", 8, {"a1": "complete", "a2": "pending"},
    )  # fmt: skip
    house.obeyed("a2", under_way)
    assert house.desk.shown(under_way.job_id).state == "complete"


async def test_a_crash_between_the_job_and_its_order_leaves_neither(house: House) -> None:
    begun = house.desk._begin(TARGET)
    await house.desk._write(begun)
    kept = await house.desk.order(TARGET)  # and one between the order and the job's second writing
    house.start()
    assert [job.job_id for job in house.desk.listed().purges] == [kept.job_id]
    assert [path.stem for path in (house.folder / "purges").iterdir()] == [kept.job_id]
    for name in ("a1", "a2"):
        house.obeyed(name, kept)
    house.pass_time(SILENT_S)
    await house.tick()
    assert house.desk.shown(kept.job_id).state == "complete"


async def test_who_has_not_begun_a_cancelled_purge_never_will(house: House) -> None:
    purge = await house.desk.order(TARGET)
    house.obeyed("a1", purge)
    cancelled = await house.desk.cancel(purge.job_id)
    assert (cancelled.state, cancelled.awaited) == ("cancelling", 1)
    assert house.notices.board.notices("a2", datetime.now(UTC)).orders == ()
    again = await house.desk.cancel(purge.job_id)
    assert (again.state, house.notices.board.version) == ("cancelling", house.notices.board.version)
    later = await house.desk.order(TARGET)
    house.obeyed("a2", later)  # it has heard of both: that is no word on the one withdrawn
    seen = house.desk.shown(purge.job_id)
    assert (seen.state, seen.obeyed) == ("cancelled", 1)
    assert (await house.desk.cancel(purge.job_id)).state == "cancelled"


async def test_a_cancelled_purge_does_not_wait_for_the_dead(house: House) -> None:
    purge = await house.desk.order(TARGET)
    await house.desk.cancel(purge.job_id)
    house.pass_time(2 * SILENT_S)
    await house.tick()
    assert house.desk.shown(purge.job_id).state == "cancelled"


async def test_a_tombstone_is_a_purge_once(house: House) -> None:
    until = datetime.fromtimestamp(house.now_s, UTC) + timedelta(hours=1)
    await house.desk.entomb(P, until)
    version = house.notices.board.version
    await house.desk.entomb(P, until)
    (job,) = house.desk.listed().purges
    assert (job.package_id, job.forbidden_until) == (P, until)
    assert house.notices.purged() == {P}
    assert house.notices.board.version == version


async def test_what_is_over_makes_room_and_what_is_not_does_not(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("steering.purges", "steering.notices"):
        monkeypatch.setattr(f"{module}.MAX_PURGE_ORDERS", 2)
    first, second = await house.desk.order(TARGET), await house.desk.order(TARGET)
    with pytest.raises(Problem) as refused:
        await house.desk.order(TARGET)
    assert refused.value.code == "overloaded"
    until = datetime.fromtimestamp(house.now_s, UTC) + timedelta(hours=1)
    await house.desk.entomb(P, until)  # a deletion does not wait for room
    assert house.notices.purged() == {P} and len(house.desk.listed().purges) == 2
    for name in ("a1", "a2"):
        house.obeyed(name, first)
    third = await house.desk.order(TARGET)
    assert [job.job_id for job in house.desk.listed().purges] == [third.job_id, second.job_id]
    with pytest.raises(Problem) as unknown:
        house.desk.shown(first.job_id)
    assert unknown.value.code == "unknown_purge"


async def test_what_is_old_is_forgotten_with_its_order(house: House) -> None:
    purge = await house.desk.order(TARGET)
    house.pass_time(DEADLINE_S)
    await house.tick()
    assert house.desk.shown(purge.job_id).state == "failed"
    version = house.notices.board.version
    house.pass_time(KEEP_S)
    await house.tick()
    assert house.desk.listed().purges == ()
    assert list((house.folder / "purges").iterdir()) == []
    board = NoticeDesk(house.folder / "notices.json").board
    assert (board.orders, board.version) == ({}, version)  # and that is no news


async def test_an_order_that_cannot_be_written_is_none(house: House) -> None:
    def purges() -> Iterable[Path]:
        return (house.folder / "purges").glob("*")

    await house.desk.order(TARGET)
    house.notices._path = house.folder / "notices.json" / "no-folder"
    with pytest.raises(Problem) as refused:
        await house.desk.order(TARGET)
    assert refused.value.code == "disk_full"
    assert len(house.desk.listed().purges) == len(list(purges())) == 1


def test_reports_of_a_purge_that_is_over_change_nothing() -> None:
    now = datetime.fromtimestamp(NOW_S, UTC)
    purge = Purge(
        job_id="job_" + "0" * 26, target=TARGET, created_at=now, deadline_at=now, awaited={"a1"},
        serial=5,
    )  # fmt: skip
    assert purge.settle(now, frozenset, all_known=True)
    assert purge.state == "failed"
    assert not purge.hear(report("a1", purged_serial=5))
    assert not purge.settle(now + timedelta(hours=1), frozenset, all_known=True)

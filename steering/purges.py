"""Purges as jobs: ordered through the notices, followed by reports, ended by the last of them.

Each has a file of its own, written before its order goes out. What reports bring is written a
little later: when it was lost, the next report, whose serial is cumulative, says it again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from media.fleet import MAX_PURGE_ORDERS, PurgeTarget, Report
from media.ids import new_id
from media.purges import PurgeDetails, PurgeJobs
from runtime.durable import write_durably
from runtime.errors import Problem
from runtime.log import logger
from steering.notices import NoticeDesk
from steering.purge_job import Purge
from steering.roster import RosterBook

_LOOK_S = 0.5  # between two looks at deadlines; what reports bring is seen at once
# An appliance in a job is 100 bytes or so in memory: 50 MB for all jobs that are remembered.
MAX_FOLLOWED = 500_000


class PurgeDesk:
    """The purges of the last `keep_s` seconds, at most MAX_PURGE_ORDERS. For `known_after_s` from
    the start there may be appliances that have not reported yet: no purge is complete before."""

    def __init__(
        self,
        folder: Path,
        notices: NoticeDesk,
        roster: RosterBook,
        *,
        deadline_s: float,
        keep_s: float,
        known_after_s: float,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """Finds again what an earlier run has left."""
        self._folder = folder
        self._notices = notices
        self._roster = roster
        self._deadline = timedelta(seconds=deadline_s)
        self._keep = timedelta(seconds=keep_s)
        self._known_at_s = now_s() + known_after_s
        self._now_s = now_s
        self._changing = asyncio.Lock()
        self._unwritten: set[str] = set()
        self._purges = {purge.job_id: purge for purge in _found(folder, notices)}

    @property
    def open(self) -> int:
        """How many are under way."""
        return sum(not purge.is_over for purge in self._purges.values())

    async def order(self, target: PurgeTarget) -> PurgeDetails:
        """The order is out. Raises Problem `disk_full`, or `overloaded` when as many as can be kept
        are under way."""
        async with self._changing:
            await self._make_room()
            purge = self._begin(target)
            await self._send(purge, lambda: self._notices.order(purge.job_id, target))
            return self.shown(purge.job_id)

    async def entomb(self, package_id: str, until: datetime) -> None:
        """The package has a tombstone, and what is held of it is purged. Said again it is no news.
        A deletion never waits for room in the list of purges: then there is no job for it."""
        async with self._changing:
            if not self._notices.would_entomb(package_id, until):
                return
            try:
                await self._make_room()
            except Problem:
                await self._notices.entomb(package_id, until, None)
                return
            purge = self._begin(PurgeTarget(package_id=package_id), until)
            await self._send(purge, lambda: self._notices.entomb(package_id, until, purge.job_id))

    async def cancel(self, job_id: str) -> PurgeDetails:
        """Who has not begun never will; one that is over stays as it is. Raises Problem
        `unknown_purge` or `disk_full`."""
        async with self._changing:
            purge = self._get(job_id)
            if not purge.is_over and purge.state != "cancelling":
                await self._notices.withdraw((job_id,))
                purge.cancel(self._notices.board.version)
                self._settle(purge)
                await self._write(purge)
        return self.shown(job_id)

    def hear(self, report: Report) -> None:
        """The report counts for every purge under way."""
        for purge in self._purges.values():
            if purge.hear(report):
                self._unwritten.add(purge.job_id)
                self._settle(purge)

    def shown(self, job_id: str) -> PurgeDetails:
        """A purge, appliance by appliance. Raises Problem `unknown_purge`."""
        return self._get(job_id).details(self._roster, self._now_s())

    def listed(self) -> PurgeJobs:
        """All purges, the newest first."""
        return PurgeJobs(purges=tuple(p.job() for p in reversed(self._purges.values())))

    async def keep(self) -> None:
        """Deadlines pass, and what is old is forgotten, for ever."""
        while True:
            for purge in list(self._purges.values()):
                self._catch_up(purge)
                self._settle(purge)
                await asyncio.sleep(0)
            try:
                async with self._changing:
                    await self._forget(self._old())
                await self.write()
            except Problem as problem:
                logger().warning("purges_not_kept", why=problem.detail)
            await asyncio.sleep(_LOOK_S)

    async def write(self) -> None:
        """The files say what was known when this began. Raises Problem `disk_full`."""
        async with self._changing:
            for job_id in list(self._unwritten):
                self._unwritten.discard(job_id)
                if job_id in self._purges:
                    await self._write(self._purges[job_id])

    def _begin(self, target: PurgeTarget, until: datetime | None = None) -> Purge:
        now = self._now()
        return Purge(
            job_id=new_id("job"),
            target=target,
            forbidden_until=until,
            created_at=now,
            deadline_at=now + self._deadline,
            awaited={member.appliance_id for member in self._roster.members(self._now_s())},
        )

    async def _send(self, purge: Purge, order: Callable[[], Awaitable[None]]) -> None:
        """The purge is written, then its order, and both are known; or neither."""
        await self._write(purge)
        try:
            await order()
        except Problem:
            await asyncio.to_thread(self._path(purge.job_id).unlink, missing_ok=True)
            raise
        purge.serial = self._notices.board.orders[purge.job_id].serial
        self._purges[purge.job_id] = purge
        self._unwritten.add(purge.job_id)

    def _catch_up(self, purge: Purge) -> None:
        """What another instance has heard, or this one in the midst of an order, counts too."""
        for name in list(purge.awaited) if not purge.is_over else ():
            record = self._roster.get(name)
            if record is not None and purge.hear(record.report):
                self._unwritten.add(purge.job_id)

    def _settle(self, purge: Purge) -> None:
        if purge.settle(self._now(), self._alive, self._now_s() >= self._known_at_s):
            self._unwritten.add(purge.job_id)
            logger().info(
                "purge_over", job_id=purge.job_id, state=purge.state, awaited=len(purge.awaited)
            )

    def _alive(self) -> frozenset[str]:
        return frozenset(m.appliance_id for m in self._roster.members(self._now_s()))

    def _get(self, job_id: str) -> Purge:
        try:
            return self._purges[job_id]
        except KeyError:
            raise Problem("unknown_purge") from None

    def _old(self) -> list[str]:
        """What is over and too old, or too much, the oldest first; and orders without a purge."""
        born = self._now() - self._keep
        follows = sum(purge.follows for purge in self._purges.values())
        old = [job_id for job_id in self._notices.board.orders if job_id not in self._purges]
        for purge in self._purges.values():
            if purge.is_over and (purge.created_at < born or follows > MAX_FOLLOWED):
                follows -= purge.follows
                old.append(purge.job_id)
        return old

    async def _make_room(self) -> None:
        """There is room for one more. Raises Problem."""
        if len(self._purges) >= MAX_PURGE_ORDERS:
            over = [purge.job_id for purge in self._purges.values() if purge.is_over]
            if not over:
                raise Problem("overloaded", f"{MAX_PURGE_ORDERS} purges are under way.")
            await self._forget(over[:1])

    async def _forget(self, job_ids: Collection[str]) -> None:
        """Nothing is left of these; who has not obeyed them yet does not any more."""
        if not job_ids:
            return
        await self._notices.withdraw(job_ids, news=False)
        for job_id in job_ids:
            self._purges.pop(job_id, None)
            await asyncio.to_thread(self._path(job_id).unlink, missing_ok=True)

    async def _write(self, purge: Purge) -> None:
        try:
            raw = purge.model_dump_json().encode()
            await asyncio.to_thread(write_durably, self._path(purge.job_id), raw)
        except OSError as error:
            self._unwritten.add(purge.job_id)
            logger().error("purge_not_written", job_id=purge.job_id, why=str(error))
            raise Problem("disk_full", "Steering cannot write its purges.") from None

    def _path(self, job_id: str) -> Path:
        return self._folder / f"{job_id}.json"

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._now_s(), UTC)


def _found(folder: Path, notices: NoticeDesk) -> Iterable[Purge]:
    """The purges in the folder, the oldest first, each with its order's serial. One whose order
    never went out is no purge: nobody was told of it."""
    for path in sorted(folder.glob("job_*.json")):
        try:
            purge = Purge.model_validate_json(path.read_bytes())
        except ValidationError:
            logger().error("purge_unreadable", path=str(path))
            continue
        order = notices.board.orders.get(purge.job_id)
        if order is not None:
            purge.serial = order.serial
        if purge.serial:
            yield purge
        else:
            path.unlink()

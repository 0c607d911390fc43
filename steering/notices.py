"""Notices: tombstones, purge orders, drains, revoked sessions and keys of appliances, as one
versioned document for the fleet.

`NoticeBoard` is pure: each change gives a new board. `NoticeDesk` has it on disk before anyone
sees it, and lets appliances wait for news.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from media.fleet import (
    MAX_MACHINES,
    MAX_PURGE_ORDERS,
    Notices,
    PublicKey,
    Purge,
    PurgeOrder,
    PurgeTarget,
)
from media.ids import JobId, Name, PackageId, SessionId
from runtime.durable import write_durably
from runtime.errors import Problem
from runtime.log import logger
from steering.roster import MAX_APPLIANCES

MAX_WAIT_S = 20.0
MAX_ENTRIES = 100_000  # of each kind, as many as `Notices` may carry
_TARGET = set(PurgeTarget.model_fields)


class NoticeBoard(BaseModel):
    """What the fleet has to know at once. Tombstones (`purges`) and revocations end at their time;
    orders stand until they are withdrawn. An order's serial is the version that brought it."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    version: int = Field(ge=1)
    draining: frozenset[Name] = frozenset()
    purges: dict[PackageId, AwareDatetime] = Field({}, max_length=MAX_ENTRIES)
    revoked: dict[SessionId, AwareDatetime] = Field({}, max_length=MAX_ENTRIES)
    orders: dict[JobId, PurgeOrder] = Field({}, max_length=MAX_PURGE_ORDERS)
    keys: dict[Name, PublicKey | None] = Field({}, max_length=MAX_MACHINES)

    @classmethod
    def fresh(cls, now: datetime) -> "NoticeBoard":
        """An empty board. Versions start at the time in milliseconds, and no disk takes a change in
        each: so after the loss of the file they, and the serials of orders, are still greater than
        all before, and `since=0` is answered at once."""
        return cls(version=max(1, int(now.timestamp() * 1000)))

    def entomb(self, package_id: str, until: datetime, now: datetime) -> "NoticeBoard":
        """The package has a tombstone, at least until then."""
        return self._with_entry("purges", self.purges, package_id, until, now)

    def order(self, job_id: str, target: PurgeTarget) -> "NoticeBoard":
        """Every appliance purges the target, once. Raises Problem when too many orders stand."""
        if len(self.orders) >= MAX_PURGE_ORDERS:
            raise Problem("overloaded", f"At most {MAX_PURGE_ORDERS} purges can stand at a time.")
        order = PurgeOrder(serial=self.version + 1, **target.model_dump(include=_TARGET))
        return self.model_copy(
            update={"orders": self.orders | {job_id: order}, "version": order.serial}
        )

    def withdraw(self, job_ids: Collection[str], *, news: bool = True) -> "NoticeBoard":
        """These orders stand no more. It is no news when nobody is left to obey them."""
        left = {job_id: order for job_id, order in self.orders.items() if job_id not in job_ids}
        if len(left) == len(self.orders):
            return self
        return self.model_copy(update={"orders": left, "version": self.version + news})

    def revoke(self, session_id: str, until: datetime, now: datetime) -> "NoticeBoard":
        """The session opens nothing any more, at least until then."""
        return self._with_entry("revoked", self.revoked, session_id, until, now)

    def drain(self, appliance_id: str, draining: bool) -> "NoticeBoard":
        """The appliance is draining, or is not."""
        if (appliance_id in self.draining) == draining:
            return self
        if draining and len(self.draining) >= MAX_APPLIANCES:
            raise Problem("overloaded", f"At most {MAX_APPLIANCES} appliances can drain.")
        changed = self.draining ^ {appliance_id}
        return self.model_copy(update={"draining": changed, "version": self.version + 1})

    def trust(self, keys: dict[str, str | None]) -> "NoticeBoard":
        """These are the appliances' keys; None for one that is trusted no more."""
        if keys == self.keys:
            return self
        return self.model_copy(update={"keys": keys, "version": self.version + 1})

    @property
    def forgotten(self) -> frozenset[str]:
        """The appliances that are trusted no more."""
        return frozenset(name for name, key in self.keys.items() if key is None)

    def at(self, now: datetime) -> "NoticeBoard":
        """The board without what has expired; dropping it is no news, so the version stays."""
        return self.model_copy(
            update={"purges": _lasting(self.purges, now), "revoked": _lasting(self.revoked, now)}
        )

    def notices(self, appliance_id: str, now: datetime) -> Notices:
        """The document for one appliance."""
        return Notices(
            version=self.version,
            draining=appliance_id in self.draining,
            purges=tuple(
                Purge(package_id=package_id, until=until)
                for package_id, until in _lasting(self.purges, now).items()
            ),
            orders=tuple(self.orders.values()),
            revoked_sessions=tuple(_lasting(self.revoked, now)),
            keys=self.keys,
        )

    def _with_entry(
        self, kind: str, entries: dict[str, datetime], key: str, until: datetime, now: datetime
    ) -> "NoticeBoard":
        if until <= max(now, entries.get(key, now)):
            return self
        lasting = _lasting(entries, now)
        if len(lasting) >= MAX_ENTRIES and key not in lasting:
            raise Problem("overloaded", f"At most {MAX_ENTRIES} {kind} can stand at a time.")
        return self.model_copy(update={kind: lasting | {key: until}, "version": self.version + 1})


class NoticeDesk:
    """Keeps the board in a file and wakes those who wait for a change."""

    def __init__(self, path: Path, now_s: Callable[[], float] = time.time) -> None:
        """Reads the file, if there is one. Raises Problem when it is damaged: going on without it
        would bring back what was purged."""
        self._path = path
        self._now_s = now_s
        self._writing = asyncio.Lock()
        self._changed = asyncio.Condition()
        try:
            self.board = NoticeBoard.model_validate_json(path.read_bytes()).at(self._now())
        except FileNotFoundError:
            self.board = NoticeBoard.fresh(self._now())
        except ValidationError:
            raise Problem(
                "internal", f"{path} is damaged. Restore it, or delete it to lift all purges."
            ) from None

    def would_entomb(self, package_id: str, until: datetime) -> bool:
        """The tombstone would be news."""
        return self.board.entomb(package_id, until, self._now()) is not self.board

    async def entomb(self, package_id: str, until: datetime, job_id: str | None) -> None:
        """The tombstone is on disk, with an order for what is held of the package, and appliances
        hear of both. Without a job there is no order, and without news neither."""

        def change(board: NoticeBoard) -> NoticeBoard:
            changed = board.entomb(package_id, until, self._now())
            if changed is board or job_id is None:
                return changed
            return changed.order(job_id, PurgeTarget(package_id=package_id))

        await self._change(change)

    async def order(self, job_id: str, target: PurgeTarget) -> None:
        """The order is on disk, and appliances hear of it."""
        await self._change(lambda board: board.order(job_id, target))

    async def withdraw(self, job_ids: Collection[str], *, news: bool = True) -> None:
        """The orders are gone from the disk. With `news` appliances hear of it."""
        await self._change(lambda board: board.withdraw(job_ids, news=news))

    async def revoke(self, session_id: str, until: datetime) -> None:
        """The revocation is on disk, and appliances hear of it."""
        await self._change(lambda board: board.revoke(session_id, until, self._now()))

    async def drain(self, appliance_id: str, draining: bool) -> None:
        """The appliance's state is on disk, and it hears of it."""
        await self._change(lambda board: board.drain(appliance_id, draining))

    async def trust(self, keys: dict[str, str | None]) -> None:
        """The appliances' keys are on disk, and appliances hear of them."""
        await self._change(lambda board: board.trust(keys))

    def purged(self) -> frozenset[str]:
        """The packages that have a tombstone now."""
        return frozenset(_lasting(self.board.purges, self._now()))

    async def wait(self, appliance_id: str, since: int, wait_s: float) -> Notices:
        """The appliance's notices: at once when their version is not `since`, else with the next
        change, or unchanged after `wait_s` seconds. (A version greater than ours comes from a
        history that we have lost, so it is answered at once too.)"""
        try:
            async with asyncio.timeout(min(wait_s, MAX_WAIT_S)), self._changed:
                await self._changed.wait_for(lambda: self.board.version != since)
        except TimeoutError:
            pass
        return self.board.notices(appliance_id, self._now())

    async def _change(self, change: Callable[[NoticeBoard], NoticeBoard]) -> None:
        async with self._writing:
            board = change(self.board)
            if board is self.board:
                return
            try:
                await asyncio.to_thread(write_durably, self._path, _dump(board))
            except OSError as error:
                logger().error("notices_not_written", why=str(error))
                raise Problem("disk_full", "Steering cannot write its notices.") from None
            async with self._changed:
                self.board = board
                self._changed.notify_all()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._now_s(), UTC)


def _lasting(entries: dict[str, datetime], now: datetime) -> dict[str, datetime]:
    return {key: until for key, until in entries.items() if until > now}


def _dump(board: NoticeBoard) -> bytes:
    return board.model_dump_json().encode()

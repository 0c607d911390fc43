"""The audit log: what operators and admins did, and what they tried."""

from datetime import timedelta

from sqlalchemy import delete, select

from control_plane.clock import Clock
from control_plane.database import Database
from control_plane.tables import AuditRow
from media.accounts import AuditEntry, AuditPage
from media.ids import new_id
from runtime.api import Call, Deed
from runtime.errors import Problem
from runtime.log import logger


class Audit:
    """Entries, each for `days` days."""

    def __init__(self, database: Database, clock: Clock, *, days: float) -> None:
        self._database = database
        self._clock = clock
        self._keep = timedelta(days=days)

    async def record(self, call: Call, deed: Deed) -> None:
        """The deed is in the log. When the database cannot take it, it is in the service's own."""
        who = call.who
        row = AuditRow(
            entry_id=new_id("aud"),
            at=self._clock(),
            who=who.name,
            role=who.role,
            address=call.address,
            what=deed.what,
            subject=deed.subject,
            outcome=deed.outcome,
            request_id=call.request_id,
        )
        try:
            async with self._database.writing() as session:
                session.add(row)
        except Problem as problem:
            logger().error("audit_lost", who=who.name, why=problem.detail, **deed._asdict())

    async def page(self, cursor: str | None, limit: int) -> AuditPage:
        """Entries, the newest first, after the one that `cursor` names."""
        wanted = select(AuditRow).order_by(AuditRow.entry_id.desc()).limit(limit + 1)
        if cursor:
            wanted = wanted.where(AuditRow.entry_id < cursor)
        async with self._database.reading() as session:
            rows = (await session.scalars(wanted)).all()
        entries = tuple(_entry(row) for row in rows[:limit])
        more = len(rows) > limit
        return AuditPage(entries=entries, next_cursor=entries[-1].entry_id if more else None)

    async def drop_old(self) -> None:
        """Entries that were kept long enough are gone."""
        async with self._database.writing() as session:
            old = AuditRow.at < self._clock() - self._keep
            await session.execute(delete(AuditRow).where(old))


def _entry(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        entry_id=row.entry_id,
        at=row.at,
        who=row.who,
        role=row.role,
        address=row.address,
        what=row.what,
        subject=row.subject,
        outcome=row.outcome,
        request_id=row.request_id,
    )

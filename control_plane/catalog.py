"""The catalog: titles from their first mention to their deletion.

Viewers see published titles only. A deleted title is gone for everybody at once; `removal`
clears away what it leaves.
"""

from sqlalchemy import ColumnElement, Select, and_, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from control_plane.clock import Clock
from control_plane.database import Database
from control_plane.tables import JobRow, PackageRow, SessionRow, TitleRow
from media.api import Encode, NewTitle, Title, TitlePage
from media.fleet import MAX_PLAN_ITEMS, PackageList, PackageRef
from media.ids import new_id
from runtime.errors import REFUSED_MASTER, Problem


class Catalog:
    """Titles. `drafts` says whether the caller may see those that are not published."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(self, new: NewTitle) -> Title:
        """A draft of this name."""
        row = TitleRow(
            title_id=new_id("ttl"),
            name=new.name,
            folded=new.name.casefold(),
            state="draft",
            package_id=None,
            created_at=self._clock(),
        )
        async with self._database.writing() as session:
            session.add(row)
        return _title(row, None, None, drafts=True)

    async def page(self, *, q: str, cursor: str | None, limit: int, drafts: bool) -> TitlePage:
        """Titles whose name contains `q`, in either case, after the one that `cursor` names."""
        wanted = _titles(drafts).order_by(TitleRow.title_id.desc()).limit(limit + 1)
        if q:
            wanted = wanted.where(TitleRow.folded.contains(q.casefold(), autoescape=True))
        if cursor:
            wanted = wanted.where(TitleRow.title_id < cursor)
        async with self._database.reading() as session:
            found = [_title(*row, drafts=drafts) for row in await session.execute(wanted)]
        more = len(found) > limit
        titles = tuple(found[:limit])
        return TitlePage(titles=titles, next_cursor=titles[-1].title_id if more else None)

    async def get(self, title_id: str, *, drafts: bool) -> Title:
        """The title. Raises Problem `unknown_title`."""
        async with self._database.reading() as session:
            return await _get(session, title_id, drafts=drafts)

    async def publish(self, title_id: str) -> Title:
        """Viewers can play it. Raises Problem `title_not_ready` before it has a package."""
        async with self._database.writing() as session:
            row = await live_title(session, title_id, lock=True)
            if row.package_id is None:
                raise Problem("title_not_ready")
            publish(row, self._clock)
            await session.flush()
            return await _get(session, title_id, drafts=True)

    async def unpublish(self, title_id: str) -> Title:
        """It is a draft again; sessions that run, run on."""
        async with self._database.writing() as session:
            row = await live_title(session, title_id, lock=True)
            row.state = "draft"
            row.published_at = None
            await session.flush()
            return await _get(session, title_id, drafts=True)

    async def delete(self, title_id: str) -> list[str]:
        """Nobody sees it any more; its sessions have ended, its jobs are cancelled. Returns those
        jobs. Its objects are still there: see `removal`."""
        now = self._clock()
        unfinished = and_(JobRow.title_id == title_id, JobRow.state.in_(("queued", "running")))
        async with self._database.writing() as session:
            row = await live_title(session, title_id, lock=True)
            row.deleted_at = now
            jobs = (await session.scalars(select(JobRow.job_id).where(unfinished))).all()
            ended = {"state": "cancelled", "finished_at": now, "error_code": None, "error": None}
            await session.execute(update(JobRow).where(unfinished).values(ended))
            await session.execute(delete(SessionRow).where(SessionRow.title_id == title_id))
        return list(jobs)

    async def packages(self) -> PackageList:
        """The packages of published titles, the newest first."""
        wanted = (
            select(
                PackageRow.title_id,
                PackageRow.package_id,
                PackageRow.inventory_sha256,
                PackageRow.total_bytes,
                TitleRow.published_at,
            )
            .join(TitleRow, TitleRow.package_id == PackageRow.package_id)
            .where(TitleRow.state == "published", TitleRow.deleted_at.is_(None))
            .order_by(TitleRow.published_at.desc(), PackageRow.package_id.desc())
            .limit(MAX_PLAN_ITEMS)
        )
        async with self._database.reading() as session:
            rows = (await session.execute(wanted)).mappings().all()
        return PackageList(packages=tuple(PackageRef(**row) for row in rows))


async def live_title(session: AsyncSession, title_id: str, *, lock: bool = False) -> TitleRow:
    """The row of a title that was not deleted. Raises Problem `unknown_title`."""
    row = await session.get(TitleRow, title_id, with_for_update=lock or None)
    if row is None or row.deleted_at is not None:
        raise Problem("unknown_title")
    return row


def publish(row: TitleRow, clock: Clock) -> None:
    """The title is published; one that was keeps its date."""
    row.state = "published"
    row.published_at = row.published_at or clock()


async def _get(session: AsyncSession, title_id: str, *, drafts: bool) -> Title:
    found = (
        await session.execute(_titles(drafts).where(TitleRow.title_id == title_id))
    ).one_or_none()
    if found is None:
        raise Problem("unknown_title")
    return _title(*found, drafts=drafts)


def _titles(drafts: bool) -> Select[TitleRow, PackageRow | None, JobRow | None]:
    """Each title with its package and its latest job."""
    job = aliased(JobRow)
    latest_job = (
        select(func.max(job.job_id))  # ids sort by time
        .where(job.title_id == TitleRow.title_id)
        .correlate(TitleRow)
        .scalar_subquery()
    )
    visible: ColumnElement[bool] = TitleRow.deleted_at.is_(None)
    if not drafts:
        visible &= TitleRow.state == "published"
    return (
        select(TitleRow, PackageRow, JobRow)
        .outerjoin(PackageRow, PackageRow.package_id == TitleRow.package_id)
        .outerjoin(JobRow, JobRow.job_id == latest_job)
        .where(visible)
    )


def _title(row: TitleRow, package: PackageRow | None, job: JobRow | None, *, drafts: bool) -> Title:
    return Title(
        title_id=row.title_id,
        name=row.name,
        state=row.state,
        package_id=row.package_id,
        duration_s=package.duration_s if package else None,
        max_height=package.max_height if package else None,
        created_at=row.created_at,
        published_at=row.published_at,
        job_id=job.job_id if job else None,
        encode=_encode(job, drafts) if job else None,
    )


def _encode(job: JobRow, drafts: bool) -> Encode:
    refused = job.state == "failed" and job.error_code in REFUSED_MASTER
    return Encode(
        state="refused" if refused else job.state,
        code=job.error_code if drafts else None,
        why=job.error if drafts else None,
    )

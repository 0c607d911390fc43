"""The catalog: titles from their first mention to their deletion.

Viewers see titles that are published, in their days, and for the age of the profile they name. A
deleted title is gone for everybody at once; `removal` clears away what it leaves.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from control_plane.artwork_keys import ArtworkKeys
from control_plane.clock import Clock
from control_plane.database import Database
from control_plane.entitlement import Window
from control_plane.packages import renditions_of
from control_plane.plans import joined, split
from control_plane.search import forget_all, index, index_fresh, matching
from control_plane.tables import JobRow, PackageRow, SessionRow, TitleRow
from media.api import About, Encode, NewTitle, Title, TitleChange, TitlePage
from media.fleet import MAX_PLAN_ITEMS, PackageList, PackageRef
from media.ids import new_id
from runtime.errors import REFUSED_MASTER, Problem

PAGE = 1000  # titles, when all are indexed anew
# Of `About`, what decides has columns of its own; the rest is kept as it is.
_DECIDES = frozenset({"maturity", "regions", "available_from", "available_until"})


@dataclass(frozen=True)
class View:
    """What a caller sees: `drafts` everything; else what is out at `now`, up to an `age`."""

    now: datetime
    drafts: bool = False
    age: int | None = None

    def shows(self) -> ColumnElement[bool]:
        """Whether a title is in it."""
        seen: ColumnElement[bool] = TitleRow.deleted_at.is_(None)
        if not self.drafts:
            seen &= TitleRow.state == "published"
            seen &= or_(TitleRow.available_from.is_(None), TitleRow.available_from <= self.now)
            seen &= or_(TitleRow.available_until.is_(None), TitleRow.available_until > self.now)
        if self.age is not None:
            seen &= TitleRow.maturity <= self.age
        return seen


class Catalog:
    """Titles."""

    def __init__(self, database: Database, clock: Clock, artwork: ArtworkKeys) -> None:
        self._database = database
        self._clock = clock
        self._artwork = artwork

    async def create(self, new: NewTitle) -> Title:
        """A draft of this name. Raises Problem `invalid_field`."""
        row = TitleRow(title_id=new_id("ttl"), state="draft", created_at=self._clock())
        async with self._database.writing() as session:
            session.add(row)
            await _describe(session, row, new.model_dump(mode="python"))
        return title_of(row, None, None, self._artwork, drafts=True)

    async def change(self, title_id: str, change: TitleChange) -> Title:
        """The title with other values. Raises Problem `unknown_title`, `invalid_field`."""
        async with self._database.writing() as session:
            row = await live_title(session, title_id, lock=True)
            await _describe(session, row, change.model_dump())
            await session.flush()
            return await self._get(session, title_id, View(self._clock(), drafts=True))

    async def page(self, view: View, *, q: str, cursor: str | None, limit: int) -> TitlePage:
        """Titles that `q` finds, by name, people, genres and synopsis, the newest first, after the
        one that `cursor` names."""
        wanted = titles(view).order_by(TitleRow.title_id.desc()).limit(limit + 1)
        if q:
            wanted = wanted.where(matching(self._database.dialect, q))
        if cursor:
            wanted = wanted.where(TitleRow.title_id < cursor)
        async with self._database.reading() as session:
            rows = (await session.execute(wanted)).all()
        found = tuple(
            title_of(*row, self._artwork, drafts=view.drafts, brief=True) for row in rows[:limit]
        )
        more = len(rows) > limit
        return TitlePage(titles=found, next_cursor=found[-1].title_id if more else None)

    async def get(self, title_id: str, view: View) -> Title:
        """The title. Raises Problem `unknown_title`."""
        async with self._database.reading() as session:
            return await self._get(session, title_id, view)

    async def publish(self, title_id: str) -> Title:
        """Viewers can play it. Raises Problem `title_not_ready` before it has a package."""
        async with self._database.writing() as session:
            row = await live_title(session, title_id, lock=True)
            if row.package_id is None:
                raise Problem("title_not_ready")
            publish(row, self._clock)
            await session.flush()
            return await self._get(session, title_id, View(self._clock(), drafts=True))

    async def unpublish(self, title_id: str) -> Title:
        """It is a draft again; sessions that run, run on."""
        async with self._database.writing() as session:
            row = await live_title(session, title_id, lock=True)
            row.state = "draft"
            row.published_at = None
            await session.flush()
            return await self._get(session, title_id, View(self._clock(), drafts=True))

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
                PackageRow.renditions,
                TitleRow.published_at,
            )
            .join(TitleRow, TitleRow.package_id == PackageRow.package_id)
            .where(TitleRow.state == "published", TitleRow.deleted_at.is_(None))
            .order_by(TitleRow.published_at.desc(), PackageRow.package_id.desc())
            .limit(MAX_PLAN_ITEMS)
        )
        async with self._database.reading() as session:
            rows = (await session.execute(wanted)).mappings().all()
        return PackageList(
            packages=tuple(
                PackageRef(**{**row, "renditions": renditions_of(row["renditions"])})
                for row in rows
            )
        )

    async def _get(self, session: AsyncSession, title_id: str, view: View) -> Title:
        wanted = titles(view).where(TitleRow.title_id == title_id)
        found = (await session.execute(wanted)).one_or_none()
        if found is None:
            raise Problem("unknown_title")
        return title_of(*found, self._artwork, drafts=view.drafts)


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


def window_of(row: TitleRow) -> Window:
    """When and where a title plays, and from what age."""
    return Window(row.maturity, split(row.regions), row.available_from, row.available_until)


# Made once: to put the question together would cost more than to ask it.
_job = aliased(JobRow)
_LATEST_JOB = (
    select(func.max(_job.job_id))  # ids sort by time
    .where(_job.title_id == TitleRow.title_id)
    .correlate(TitleRow)
    .scalar_subquery()
)
_TITLES = (
    select(TitleRow, PackageRow, JobRow)
    .outerjoin(PackageRow, PackageRow.package_id == TitleRow.package_id)
    .outerjoin(JobRow, JobRow.job_id == _LATEST_JOB)
)


def titles(view: View) -> Select[TitleRow, PackageRow | None, JobRow | None]:
    """Each title of the view with its package and its latest job."""
    return _TITLES.where(view.shows())


def title_of(
    row: TitleRow,
    package: PackageRow | None,
    job: JobRow | None,
    artwork: ArtworkKeys,
    *,
    drafts: bool,
    brief: bool = False,
) -> Title:
    """A title as callers see it; `brief` without what may be long."""
    about = About(
        **json.loads(row.about),
        maturity=row.maturity,
        regions=split(row.regions),
        available_from=row.available_from,
        available_until=row.available_until,
    )
    return Title(
        title_id=row.title_id,
        name=row.name,
        about=about.model_copy(update={"synopsis": "", "people": ()}) if brief else about,
        state=row.state,
        package_id=row.package_id,
        duration_s=package.duration_s if package else None,
        max_height=package.max_height if package else None,
        artwork_url=artwork.address(row, package, drafts=drafts),
        created_at=row.created_at,
        published_at=row.published_at,
        job_id=job.job_id if job else None,
        encode=_encode(job, drafts) if job else None,
    )


async def _describe(session: AsyncSession, row: TitleRow, given: dict[str, Any]) -> None:
    """The row says what is given, and the search knows it. Raises Problem `invalid_field`."""
    said = json.loads(row.about or "{}")
    for name, value in given.items():
        if name == "name":
            row.name, row.folded = value, value.casefold()
        elif name == "regions":
            row.regions = joined(value)
        elif name in _DECIDES:
            setattr(row, name, value)
        else:
            said[name] = value
    until = row.available_until
    if until is not None and row.available_from is not None and until <= row.available_from:
        raise Problem("invalid_field", "available_until: lies before available_from.")
    row.about = json.dumps(said)
    await session.flush()
    await index(session, row.title_id, _found_by(row.name, said))


async def reindex(session: AsyncSession) -> None:
    """Every title is found by what is said of it, and nothing else is."""
    await forget_all(session)
    told = select(TitleRow.title_id, TitleRow.name, TitleRow.about).order_by(TitleRow.title_id)
    last = ""
    while page := (await session.execute(told.where(TitleRow.title_id > last).limit(PAGE))).all():
        last = page[-1][0]
        said = ((title_id, _found_by(name, json.loads(about))) for title_id, name, about in page)
        await index_fresh(session, said)


def _found_by(name: str, about: dict[str, Any]) -> list[str]:
    people: Sequence[dict[str, str]] = about.get("people", ())
    said = [name, about.get("synopsis", ""), *about.get("genres", ())]
    return said + [person["name"] for person in people]


def _encode(job: JobRow, drafts: bool) -> Encode:
    refused = job.state == "failed" and job.error_code in REFUSED_MASTER
    return Encode(
        state="refused" if refused else job.state,
        code=job.error_code if drafts else None,
        why=job.error if drafts else None,
    )

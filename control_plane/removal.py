"""What deleted titles leave behind is cleared away: first where it is served, then where it is
stored, the row last; and so is what was begun by jobs that made no package, with masters that are
no films. Each step may be repeated, so a service that is away only delays it."""

import asyncio
from datetime import datetime, timedelta
from itertools import islice

from sqlalchemy import and_, delete, or_, select, update

from control_plane import search
from control_plane.clock import Clock
from control_plane.database import Database
from control_plane.parts import subtitles_of
from control_plane.playback import Life
from control_plane.steering_client import SteeringClient
from control_plane.tables import JobRow, PackageRow, TitleRow, UploadRow
from media.fleet import TombstoneRequest
from media.inventory import package_prefix
from media.objects import ObjectStore
from media.token import LEEWAY_S
from runtime.errors import REFUSED_MASTER

AT_ONCE = 20  # titles or jobs in a round
DELETES_AT_ONCE = 16
KEPT = timedelta(days=1)  # what a job had encoded that failed


class Removal:
    """Clears away."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        steering: SteeringClient,
        clock: Clock,
        life: Life,
    ) -> None:
        self._database = database
        self._store = store
        self._steering = steering
        self._clock = clock
        self._life = life

    async def clear_jobs(self) -> None:
        """Nothing is left in the store of jobs that failed or were cancelled, but for those whose
        encoder may still be writing, and for a day of those that may be tried again; of a master
        only when it was refused for its own sake. Raises StoreUnavailable."""
        now = self._clock()
        final = or_(JobRow.state == "cancelled", JobRow.error_code.in_(REFUSED_MASTER))
        old = and_(JobRow.state == "failed", JobRow.finished_at <= now - KEPT)
        over = and_(JobRow.attempt > 0, or_(final, old), JobRow.state.in_(("failed", "cancelled")))
        alone = or_(JobRow.lease_expires_at.is_(None), JobRow.lease_expires_at <= now)
        wanted = select(JobRow).where(over, alone, JobRow.cleared_at.is_(None)).limit(AT_ONCE)
        async with self._database.reading() as session:
            jobs = (await session.scalars(wanted)).all()
        for job in jobs:
            await self._clear(package_prefix(job.title_id, job.package_id))
            await self._clear(f"work/{job.package_id}/")
            if job.error_code in REFUSED_MASTER:
                beside = subtitles_of(job.master_key, job.subtitles).values()
                for key in (job.master_key, *beside):
                    await self._store.delete(key)
            cleared = update(JobRow).where(JobRow.job_id == job.job_id).values(cleared_at=now)
            async with self._database.writing() as session:
                await session.execute(cleared)

    async def remove_titles(self) -> None:
        """Nothing is left of the titles that were deleted, but for those whose encoder may still be
        writing. Raises Problem or StoreUnavailable when a service is away."""
        when = TitleRow.deleted_at
        deleted = select(TitleRow.title_id, when).where(when.is_not(None)).limit(AT_ONCE)
        async with self._database.reading() as session:
            titles = (await session.execute(deleted)).all()
        for title_id, deleted_at in titles:
            assert deleted_at is not None
            await self._remove(title_id, deleted_at)

    async def _remove(self, title_id: str, deleted_at: datetime) -> None:
        async with self._database.reading() as session:
            packages = await session.scalars(select(PackageRow).filter_by(title_id=title_id))
            tombstones = {p.package_id: self._tombstone(p, deleted_at) for p in packages}
            jobs = (await session.scalars(select(JobRow).filter_by(title_id=title_id))).all()
            uploads = (await session.scalars(select(UploadRow).filter_by(title_id=title_id))).all()
        # First of all: else an appliance might fill from what is left.
        for package_id, tombstone in tombstones.items():
            await self._steering.entomb(package_id, tombstone)
        now = self._clock()
        if any(job.lease_expires_at and job.lease_expires_at > now for job in jobs):
            return
        for upload in uploads:
            if upload.store_upload_id is not None:
                await self._store.abort_upload(upload.store_key, upload.store_upload_id)
        folders = [f"masters/{title_id}/", f"titles/{title_id}/"]
        for folder in folders + [f"work/{job.package_id}/" for job in jobs]:
            await self._clear(folder)
        async with self._database.writing() as session:
            await search.forget(session, title_id)
            await session.execute(delete(TitleRow).where(TitleRow.title_id == title_id))

    async def _clear(self, folder: str) -> None:
        keys = iter([found.key async for found in self._store.list_objects(folder)])
        while batch := list(islice(keys, DELETES_AT_ONCE)):
            await asyncio.gather(*(self._store.delete(key) for key in batch))

    def _tombstone(self, package: PackageRow, deleted_at: datetime) -> TombstoneRequest:
        """The tombstone outlives the last token, which may have been signed just before. Said
        again it is the same one, so that steering has no news for the fleet."""
        longest = self._life.of(package.duration_s) + timedelta(seconds=LEEWAY_S)
        return TombstoneRequest(until=deleted_at + longest)

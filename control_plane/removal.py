"""What deleted titles leave behind is cleared away: first where it is served, then where it is
stored, the row last; so are packages in whose place others play, once nobody can play them; and so
is what was begun by jobs that made no package, with masters that are no films. Each step may be
repeated, so a service that is away only delays it."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, delete, exists, or_, select, update

from control_plane import search
from control_plane.artwork import artwork_prefix
from control_plane.clearing import clear_folder
from control_plane.clock import Clock
from control_plane.database import Database
from control_plane.parts import subtitles_of
from control_plane.playback import Life
from control_plane.steering_client import SteeringClient
from control_plane.tables import JobRow, PackageRow, SessionRow, TitleRow, UploadRow
from media.fleet import TombstoneRequest
from media.inventory import package_prefix
from media.objects import ObjectStore
from media.token import LEEWAY_S
from runtime.errors import REFUSED_MASTER
from runtime.log import logger

AT_ONCE = 20  # titles, jobs or packages in a round
LOOKED_AT = 1000  # superseded packages of which those are chosen that nobody can play
KEPT = timedelta(days=1)  # what a job had encoded that failed
START = timedelta(minutes=1)  # no session takes longer to start
TOLD_FOR = timedelta(days=1)  # an appliance that is away for less drops what it has of a package


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
            await clear_folder(self._store, package_prefix(job.title_id, job.package_id))
            await clear_folder(self._store, f"work/{job.package_id}/")
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

    async def remove_superseded(self) -> None:
        """Nothing is left of packages in whose place others play and that nobody can play any more.
        Raises Problem or StoreUnavailable when a service is away."""
        now = self._clock()
        first = now - self._longest(0.0)
        wanted = (
            select(PackageRow)
            .where(PackageRow.superseded_at <= first, _GIVEN_UP, ~_is_played(now))
            .order_by(PackageRow.superseded_at)
            .limit(LOOKED_AT)
        )
        async with self._database.reading() as session:
            packages = (await session.scalars(wanted)).all()
        lapsed = [p for p in packages if self._lapsed_at(p) <= now]
        for package in lapsed[:AT_ONCE]:
            # Whoever still holds it drops it, and nobody fills from what is left.
            tombstone = TombstoneRequest(until=told_until(now))
            await self._steering.entomb(package.package_id, tombstone)
            await clear_folder(self._store, package_prefix(package.title_id, package.package_id))
            this = PackageRow.package_id == package.package_id
            async with self._database.writing() as session:
                await session.execute(delete(PackageRow).where(this, _GIVEN_UP))
            logger().info(
                "package_removed", package_id=package.package_id, title_id=package.title_id
            )

    def _lapsed_at(self, package: PackageRow) -> datetime:
        """When the last token has. A start may have found the package while the other was about to
        take its place."""
        assert package.superseded_at is not None
        return package.superseded_at + START + self._longest(package.duration_s)

    def _longest(self, film_s: float) -> timedelta:
        """How long a token for a film opens something."""
        return self._life.of(film_s) + timedelta(seconds=LEEWAY_S)

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
        folders = [f"masters/{title_id}/", f"titles/{title_id}/", artwork_prefix(title_id)]
        for folder in folders + [f"work/{job.package_id}/" for job in jobs]:
            await clear_folder(self._store, folder)
        async with self._database.writing() as session:
            await search.forget(session, title_id)
            await session.execute(delete(TitleRow).where(TitleRow.title_id == title_id))

    def _tombstone(self, package: PackageRow, deleted_at: datetime) -> TombstoneRequest:
        """The tombstone outlives the last token, which may have been signed just before. Said
        again it is the same one, so that steering has no news for the fleet."""
        return TombstoneRequest(until=deleted_at + self._longest(package.duration_s))


def told_until(now: datetime) -> datetime:
    """The end of a tombstone that is about what lies on disks, for no token is left. Within a day
    it is the same, so that steering has no news for the fleet when it is said again; pure."""
    days = (now - datetime.min.replace(tzinfo=now.tzinfo)).days
    return datetime.min.replace(tzinfo=now.tzinfo) + timedelta(days=days + 1) + TOLD_FOR


def _is_played(now: datetime) -> ColumnElement[bool]:
    """Whether a session has the package: its row outlives what the settings say today when they
    said another life before. Tokens are taken for LEEWAY_S longer."""
    return exists().where(
        SessionRow.title_id == PackageRow.title_id,
        SessionRow.package_id == PackageRow.package_id,
        SessionRow.expires_at > now - timedelta(seconds=LEEWAY_S),
    )


# What a title plays is never given up, whatever its row says; what goes with its title is another
# chore's.
_GIVEN_UP = PackageRow.superseded_at.is_not(None) & ~exists().where(
    TitleRow.title_id == PackageRow.title_id,
    or_(TitleRow.package_id == PackageRow.package_id, TitleRow.deleted_at.is_not(None)),
)

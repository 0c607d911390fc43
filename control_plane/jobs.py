"""Encode jobs: queued, leased to one encoder at a time, done, failed or cancelled.

A lease has an attempt number that only grows; words of an earlier attempt are refused
(`lease_lost`), so an encoder that was thought dead and comes back changes nothing. An encoder
that falls silent loses the job when its lease ends. After `max_attempts` that ended badly the job
has failed; one that an encoder hands back, because it has to stop, has not ended badly.
"""

from datetime import datetime, timedelta
from typing import cast

from sqlalchemy import ColumnElement, Update, and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.bell import Bell
from control_plane.catalog import live_title, publish
from control_plane.clock import Clock
from control_plane.database import Database
from control_plane.housekeeping import LEFTOVERS
from control_plane.packages import dumped, read_inventory
from control_plane.parts import subtitles_of
from control_plane.tables import JobRow, PackageRow, TitleRow, UploadRow
from media.api import (
    Beside,
    Job,
    JobComplete,
    JobFailed,
    JobHandedBack,
    JobHeartbeat,
    JobList,
    JobState,
    Lease,
    Progress,
)
from media.ids import new_id
from media.inventory import POSTER, Inventory
from media.objects import ObjectStore
from media.protection import Protection, Scheme, derived
from runtime.errors import Problem
from runtime.log import logger

QUEUE = "queue"  # the bell's topic for new work; a job's own topic is its id
ENDED = ("done", "failed", "cancelled")
NEVER_CAME_BACK = "The encoder fell silent at each attempt."
# What is worth another try (a store that is away, a full disk) is seldom over at once: seconds to
# wait after the first failure, and after later ones.
RETRY_AFTER_S = (10, 300)
MAX_LISTED, ENDED_LISTED = 500, 20
_TURN = (JobRow.priority.desc(), JobRow.job_id)


class Jobs:
    """All jobs; `holder` is the name of the encoder that speaks. Keys of packages come from the
    `secret`."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        bell: Bell,
        clock: Clock,
        secret: bytes,
        *,
        lease_s: float,
        max_attempts: int,
    ) -> None:
        self._database = database
        self._store = store
        self._bell = bell
        self._clock = clock
        self._secret = secret
        self._lease_s = lease_s
        self._max_attempts = max_attempts

    async def create(self, upload: UploadRow, master_sha256: str | None) -> Job:
        """The job of an upload that is complete; a second call returns the first one's job."""
        async with self._database.writing() as session:
            await live_title(session, upload.title_id)
            open_upload = await session.get(UploadRow, upload.upload_id, with_for_update=True)
            if open_upload is None or open_upload.dropped:
                raise Problem("unknown_upload")
            if open_upload.job_id is not None:
                return job_of(await _get(session, open_upload.job_id))
            row = self._row(open_upload, master_sha256)
            open_upload.job_id = row.job_id
            session.add(row)
        logger().info("job_queued", job_id=row.job_id, title_id=row.title_id)
        self._bell.ring(QUEUE)
        return job_of(row)

    async def get(self, job_id: str) -> Job:
        """The job. Raises Problem `unknown_job`."""
        async with self._database.reading() as session:
            return job_of(await _get(session, job_id))

    async def list(self) -> JobList:
        """The jobs that wait or run, in the order of their turn, and those that ended last."""
        ended = JobRow.state.in_(ENDED)
        latest = JobRow.finished_at.desc()
        async with self._database.reading() as session:
            going = await session.scalars(
                select(JobRow).where(~ended).order_by(*_TURN).limit(MAX_LISTED)
            )
            over = await session.scalars(
                select(JobRow).where(ended).order_by(latest).limit(ENDED_LISTED)
            )
            return JobList(jobs=tuple(job_of(row) for row in (*going, *over)))

    async def lease(self, holder: str) -> Lease | None:
        """Of the jobs that wait, or whose encoder fell silent, the oldest of the highest priority;
        None when there is no work."""
        now = self._clock()
        rested = or_(JobRow.not_before.is_(None), JobRow.not_before <= now)
        waits = and_(JobRow.state == "queued", rested)
        silent = and_(_silent(now), JobRow.failures + 1 < self._max_attempts)
        first = select(JobRow).where(or_(waits, silent)).order_by(*_TURN).limit(1)
        async with self._database.writing() as session:
            row = await session.scalar(first.with_for_update(skip_locked=True))
            if row is None:
                return None
            expires_at = now + timedelta(seconds=self._lease_s)
            row.failures += row.state == "running"
            row.state = "running"
            row.attempt += 1
            row.holder = holder
            row.lease_expires_at = expires_at
            row.not_before = row.error_code = row.error = None
            _note(row, Progress())
        logger().info("job_leased", job_id=row.job_id, attempt=row.attempt, encoder=holder)
        self._bell.ring(row.job_id)
        return Lease(
            job_id=row.job_id,
            attempt=row.attempt,
            title_id=row.title_id,
            package_id=row.package_id,
            master_key=row.master_key,
            master_sha256=row.master_sha256,
            subtitles=tuple(
                Beside(language=language, key=key)
                for language, key in subtitles_of(row.master_key, row.subtitles).items()
            ),
            protection=self._protection(row),
            expires_at=expires_at,
        )

    async def heartbeat(self, job_id: str, holder: str, word: JobHeartbeat) -> Job:
        """The lease is renewed and the progress noted. Raises Problem `lease_lost`."""
        async with self._database.writing() as session:
            row = await _held(session, job_id, holder, word.attempt)
            row.lease_expires_at = self._clock() + timedelta(seconds=self._lease_s)
            _note(row, word.progress)
        self._bell.ring(job_id)
        return job_of(row)

    async def complete(self, job_id: str, holder: str, word: JobComplete) -> Job:
        """The package is the title's, and published if the upload said so.

        Raises Problem `lease_lost`, `not_in_package` when there is no inventory in the store, or
        `invalid_field` when it is not the one that the encoder names.
        """
        async with self._database.reading() as session:
            row = await _get(session, job_id)
            if await _said_before(session, row, holder, word):
                return job_of(row)
            _check_held(row, holder, word.attempt)
        inventory = await read_inventory(
            self._store, row.title_id, row.package_id, word.inventory_sha256
        )
        async with self._database.writing() as session:
            row = await _held(session, job_id, holder, word.attempt)
            session.add(self._package(inventory, word.inventory_sha256))
            title = await live_title(session, row.title_id, lock=True)
            # Of two encodes that run side by side, that of the later upload stays.
            if title.package_id is None or title.package_id < row.package_id:
                title.package_id = row.package_id
            await session.flush()
            await session.execute(_supersede(title, self._clock()))
            if row.publish:
                publish(title, self._clock)
            _note(row, Progress(stage="done", fraction=1.0))
            self._end(row, "done")
        logger().info("job_done", job_id=job_id, title_id=row.title_id, package_id=row.package_id)
        self._bell.ring(job_id)
        return job_of(row)

    async def fail(self, job_id: str, holder: str, word: JobFailed) -> Job:
        """The job has failed; with `retry`, and an attempt left, it waits again, for a while. What
        is left of it, and a master that is refused for its own sake, is for `removal`."""
        async with self._database.writing() as session:
            row = await _held(session, job_id, holder, word.attempt)
            row.failures += 1
            again = word.retry and row.failures < self._max_attempts
            if again:
                rest_s = RETRY_AFTER_S[min(row.failures, len(RETRY_AFTER_S)) - 1]
                row.not_before = self._clock() + timedelta(seconds=rest_s)
                self._requeue(row)
            else:
                self._end(row, "failed")
            row.error_code, row.error = word.code, word.message
        logger().warning("job_failed", job_id=job_id, code=word.code, again=again)
        self._bell.ring(job_id)
        if not again:
            self._bell.ring(LEFTOVERS)
        return job_of(row)

    async def hand_back(self, job_id: str, holder: str, word: JobHandedBack) -> Job:
        """The job waits for another encoder, as if this attempt had not been."""
        async with self._database.writing() as session:
            row = await _held(session, job_id, holder, word.attempt)
            self._requeue(row)
        logger().info("job_handed_back", job_id=job_id, encoder=holder)
        self._bell.ring(job_id)
        self._bell.ring(QUEUE)
        return job_of(row)

    async def cancel(self, job_id: str) -> Job:
        """The job has ended; one that had before stays as it was."""
        async with self._database.writing() as session:
            row = await _get(session, job_id, lock=True)
            if row.state not in ENDED:
                # The lease stays: until it ends, its encoder may still write to the store.
                row.state = "cancelled"
                row.error_code = row.error = None
                row.finished_at = self._clock()
        self._bell.ring(job_id)
        return job_of(row)

    async def retry(self, job_id: str) -> Job:
        """A job that failed or was cancelled waits again, as if it were new; pieces of its encode
        that still stand count. Another stays as it was. Raises Problem `unknown_job`, and
        `not_found` when its master is gone."""
        async with self._database.reading() as session:
            row = await _get(session, job_id)
            if row.state not in ("failed", "cancelled"):
                return job_of(row)
        try:
            await self._store.stat(row.master_key)
        except FileNotFoundError:
            raise Problem("not_found", "The master is no longer in the store.") from None
        async with self._database.writing() as session:
            row = await _get(session, job_id, lock=True)
            if row.state in ("failed", "cancelled"):
                self._requeue(row)
                row.failures = 0
                row.not_before = row.finished_at = row.cleared_at = None
                row.error_code = row.error = None
        logger().info("job_retried", job_id=job_id)
        self._bell.ring(job_id)
        self._bell.ring(QUEUE)
        return job_of(row)

    async def give_up(self) -> None:
        """Jobs whose last attempt fell silent have failed."""
        now = self._clock()
        silent = and_(_silent(now), JobRow.failures + 1 >= self._max_attempts)
        failed = {
            "state": "failed",
            "error_code": "encode_failed",
            "error": NEVER_CAME_BACK,
            "finished_at": now,
            "lease_expires_at": None,
        }
        async with self._database.writing() as session:
            jobs = (
                await session.scalars(
                    update(JobRow).where(silent).values(failed).returning(JobRow.job_id)
                )
            ).all()
        for job_id in jobs:
            logger().warning("job_given_up", job_id=job_id)
            self._bell.ring(job_id)

    def _row(self, upload: UploadRow, master_sha256: str | None) -> JobRow:
        return JobRow(
            job_id=new_id("job"),
            title_id=upload.title_id,
            package_id=new_id("pkg"),
            master_key=upload.store_key,
            master_sha256=master_sha256,
            publish=upload.publish,
            priority=upload.priority,
            subtitles=upload.subtitles,
            encryption=upload.encryption,
            state="queued",
            attempt=0,
            failures=0,
            stage="waiting",
            fraction=0.0,
            created_at=self._clock(),
        )

    def _protection(self, row: JobRow) -> Protection | None:
        if not row.encryption:
            return None
        return derived(cast("Scheme", row.encryption), row.package_id, self._secret)

    def _package(self, inventory: Inventory, sha256: str) -> PackageRow:
        heights = [r.height for r in inventory.renditions if r.height is not None]
        return PackageRow(
            package_id=inventory.package_id,
            title_id=inventory.title_id,
            inventory_sha256=sha256,
            duration_s=inventory.duration_s,
            max_height=max(heights, default=None),
            total_bytes=inventory.total_bytes,
            renditions=dumped(inventory),
            encryption=next((r.locked.scheme for r in inventory.renditions if r.locked), ""),
            poster_sha256=next((f.sha256 for f in inventory.files if f.path == POSTER), ""),
            created_at=self._clock(),
        )

    def _requeue(self, row: JobRow) -> None:
        row.state = "queued"
        row.lease_expires_at = None
        _note(row, Progress())

    def _end(self, row: JobRow, state: JobState) -> None:
        row.state = state
        row.lease_expires_at = None
        row.finished_at = self._clock()


def _silent(now: datetime) -> ColumnElement[bool]:
    """Jobs whose encoder has let its lease run out."""
    return and_(JobRow.state == "running", JobRow.lease_expires_at < now)


def _supersede(title: TitleRow, now: datetime) -> Update:
    """Of the title's packages, those that do not play are noted as such."""
    others = and_(PackageRow.title_id == title.title_id, PackageRow.package_id != title.package_id)
    noted = update(PackageRow).where(others, PackageRow.superseded_at.is_(None))
    return noted.values(superseded_at=now)


def job_of(row: JobRow) -> Job:
    """The job as clients see it."""
    return Job(
        job_id=row.job_id,
        title_id=row.title_id,
        state=row.state,
        master_sha256=row.master_sha256,
        progress=Progress(**{name: getattr(row, name) for name in Progress.model_fields}),
        priority=row.priority,
        attempt=row.attempt,
        error_code=row.error_code,
        error=row.error,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )


async def _get(session: AsyncSession, job_id: str, *, lock: bool = False) -> JobRow:
    row = await session.get(JobRow, job_id, with_for_update=lock or None)
    if row is None:
        raise Problem("unknown_job")
    return row


async def _held(session: AsyncSession, job_id: str, holder: str, attempt: int) -> JobRow:
    row = await _get(session, job_id, lock=True)
    _check_held(row, holder, attempt)
    return row


def _check_held(row: JobRow, holder: str, attempt: int) -> None:
    """Raises Problem `lease_lost` unless this attempt is the one that counts. A lease that has
    run out still counts until another encoder has it."""
    if (row.state, row.holder, row.attempt) != ("running", holder, attempt):
        raise Problem("lease_lost")


async def _said_before(session: AsyncSession, row: JobRow, holder: str, word: JobComplete) -> bool:
    """Whether this very word was taken already, and only the answer got lost."""
    if (row.state, row.holder, row.attempt) != ("done", holder, word.attempt):
        return False
    package = await session.get(PackageRow, row.package_id)
    return package is not None and package.inventory_sha256 == word.inventory_sha256


def _note(row: JobRow, progress: Progress) -> None:
    for name in Progress.model_fields:
        setattr(row, name, getattr(progress, name))

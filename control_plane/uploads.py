"""Uploads: a master goes to the store in parts, straight to it where it gives out addresses.

A row names the upload before the store is asked, so whatever is begun there is known here and
can be dropped: by the client, or after `upload_s` by `drop_stale`, which also ends what a crash
interrupted. Completing may be repeated; it leads to one job. Of completing and dropping side by
side one wins, by what the row says.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, or_, select, update

from control_plane.catalog import live_title
from control_plane.clock import Clock
from control_plane.database import Database
from control_plane.jobs import Jobs
from control_plane.parts import (
    Span,
    master_key,
    part_count,
    part_size,
    span,
    subtitles_key,
    subtitles_of,
)
from control_plane.tables import UploadRow
from media.api import CompleteUpload, Job, NewUpload, Part, Upload
from media.ids import new_id
from media.objects import DonePart, ObjectStore
from runtime.errors import Problem
from runtime.log import logger
from runtime.sidecars import read_cues

# Addresses of parts are signed in threads; more at once only queues up there.
SIGNING_AT_ONCE = 32
# What a crash left in the store without a row (it came between the two) goes this long after an
# upload could last, and is looked for this often.
SWEEP_AFTER = timedelta(days=1)
SWEEP_EVERY = timedelta(hours=1)
MAX_SUBTITLES = 32
_ETAG = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True)
class OpenPart:
    """A part of an open upload, and where the store wants it."""

    store_key: str
    store_upload_id: str
    span: Span


class Uploads:
    """Uploads in progress. `public_url` is where clients reach this service."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        jobs: Jobs,
        clock: Clock,
        public_url: str,
        *,
        part_bytes: int,
        upload_s: int,
    ) -> None:
        self._database = database
        self._store = store
        self._jobs = jobs
        self._clock = clock
        self._public_url = public_url
        self._part_bytes = part_bytes
        self._upload_s = upload_s
        self._completing: dict[str, asyncio.Task[Job]] = {}
        self._swept_at: datetime | None = None

    async def start(self, title_id: str, new: NewUpload) -> Upload:
        """An open upload. Raises Problem `unknown_title`."""
        row = await self._reserve(title_id, new)
        try:
            row.store_upload_id = await self._store.start_upload(row.store_key)
            async with self._database.writing() as session:
                await live_title(session, title_id)
                named = {"store_upload_id": row.store_upload_id}
                chosen = UploadRow.upload_id == row.upload_id
                await session.execute(update(UploadRow).where(chosen).values(named))
            parts = await self._parts(row)
        except BaseException:
            await asyncio.shield(self._drop(row))
            raise
        return Upload(upload_id=row.upload_id, title_id=title_id, parts=parts)

    async def part(self, upload_id: str, number: int) -> OpenPart:
        """The part that may be put. Raises Problem `unknown_upload` or `not_found`."""
        row = await self._open(upload_id)
        wanted = span(number, row.total_bytes, row.part_bytes)
        if wanted is None:
            raise Problem("not_found", "The upload has no such part.")
        return OpenPart(row.store_key, _id_in_store(row), wanted)

    async def put_part(self, part: OpenPart, pieces: AsyncIterable[bytes]) -> str:
        """The part is in the store; returns its etag. Raises Problem `parts_differ` for another
        length than announced, and where the store takes parts itself."""
        number, size = part.span.number, part.span.bytes
        try:
            return await self._store.put_part(
                part.store_key, part.store_upload_id, number, pieces, size
            )
        except FileNotFoundError:
            raise Problem("unknown_upload") from None
        except ValueError as error:
            raise Problem("parts_differ", f"Part {number}: {error}.") from None

    async def put_subtitles(self, upload_id: str, language: str, raw: bytes) -> None:
        """The subtitles stand beside the master; those that were sent before in this language do
        not. Raises Problem `unknown_upload` or `bad_subtitles`."""
        await self._open(upload_id)
        await asyncio.to_thread(read_cues, raw, language)
        # The row names them before they are there: so whoever drops the upload drops them, too.
        async with self._database.writing() as session:
            row = await session.get(UploadRow, upload_id, with_for_update=True)
            if row is None or row.dropped or row.job_id is not None:
                raise Problem("unknown_upload")
            told = [one for one in row.subtitles.split(",") if one]
            if language.lower() not in map(str.lower, told):
                told.append(language)
            if len(told) > MAX_SUBTITLES:
                raise Problem("bad_subtitles", f"There are at most {MAX_SUBTITLES} languages.")
            row.subtitles = ",".join(told)
        await self._store.put_bytes(subtitles_key(row.store_key, language), raw)

    async def complete(self, upload_id: str, done: CompleteUpload) -> Job:
        """The master stands and its job is queued. Raises Problem `parts_differ`; when that is
        because of size or digest the upload has ended and nothing of it is left.

        The work outlives a client that leaves, and one that comes back joins it.
        """
        task = self._completing.get(upload_id)
        if task is None:
            work = self._complete(upload_id, done)
            task = asyncio.create_task(work, name=f"complete-{upload_id}")
            self._completing[upload_id] = task
            task.add_done_callback(lambda _: self._completing.pop(upload_id, None))
        return await asyncio.shield(task)

    async def abort(self, upload_id: str) -> None:
        """Nothing of the upload is left. Raises Problem `unknown_upload`."""
        await self._drop(await self._open(upload_id))

    async def drop_stale(self) -> None:
        """Uploads that were begun too long ago are gone, and those that were being dropped."""
        before = self._clock() - timedelta(seconds=self._upload_s)
        over = or_(UploadRow.created_at < before, UploadRow.dropped)
        stale = select(UploadRow).where(over, UploadRow.job_id.is_(None))
        async with self._database.reading() as session:
            rows = (await session.scalars(stale.limit(100))).all()
        for row in rows:
            if row.upload_id not in self._completing:
                await self._drop(row)
                logger().info("upload_dropped", upload_id=row.upload_id, title_id=row.title_id)

    async def sweep(self) -> None:
        """Nothing is in the store that no row names, unless it came lately."""
        now = self._clock()
        if self._swept_at is None or now - self._swept_at >= SWEEP_EVERY:
            before = now - timedelta(seconds=self._upload_s) - SWEEP_AFTER
            await self._store.sweep(before.timestamp())
            self._swept_at = now

    async def close(self) -> None:
        """What was being completed has ended."""
        for task in list(self._completing.values()):
            task.cancel()
        await asyncio.gather(*self._completing.values(), return_exceptions=True)

    async def _reserve(self, title_id: str, new: NewUpload) -> UploadRow:
        upload_id = new_id("upl")
        key = master_key(title_id, new.filename, upload_id)
        async with self._database.writing() as session:
            await live_title(session, title_id, lock=True)
            same = select(UploadRow.upload_id).where(UploadRow.store_key == key)
            if await session.scalar(same) is not None:
                key = master_key(title_id, new.filename, upload_id, taken=True)
            row = UploadRow(
                upload_id=upload_id,
                title_id=title_id,
                store_key=key,
                total_bytes=new.bytes,
                part_bytes=part_size(new.bytes, self._part_bytes),
                publish=new.publish,
                priority=new.priority,
                encryption=new.encryption or "",
                created_at=self._clock(),
                dropped=False,
            )
            session.add(row)
        return row

    async def _parts(self, row: UploadRow) -> tuple[Part, ...]:
        numbers = range(1, part_count(row.total_bytes, row.part_bytes) + 1)
        signing = asyncio.Semaphore(SIGNING_AT_ONCE)

        async def part(number: int) -> Part:
            of = span(number, row.total_bytes, row.part_bytes)
            assert of is not None
            async with signing:
                url = await self._store.part_url(
                    row.store_key, _id_in_store(row), number, self._upload_s
                )
            here = f"{self._public_url}/v1/uploads/{row.upload_id}/parts/{number}"
            return Part(number=number, offset=of.offset, bytes=of.bytes, url=url or here)

        return tuple(await asyncio.gather(*(part(number) for number in numbers)))

    async def _open(self, upload_id: str) -> UploadRow:
        async with self._database.reading() as session:
            row = await session.get(UploadRow, upload_id)
        if row is None or row.dropped or row.job_id is not None or row.store_upload_id is None:
            raise Problem("unknown_upload")
        return row

    async def _complete(self, upload_id: str, done: CompleteUpload) -> Job:
        async with self._database.reading() as session:
            row = await session.get(UploadRow, upload_id)
        if row is None or row.dropped or row.store_upload_id is None:
            raise Problem("unknown_upload")
        if row.job_id is not None:
            return await self._jobs.get(row.job_id)
        await self._assemble(row, _in_order(done, row))
        await self._check(row, done.sha256)
        try:
            return await self._jobs.create(row, done.sha256)
        except Problem as problem:
            if problem.code in ("unknown_title", "unknown_upload"):  # it was dropped meanwhile
                await self._store.delete(row.store_key)
            raise

    async def _assemble(self, row: UploadRow, parts: list[DonePart]) -> None:
        try:
            await self._store.finish_upload(row.store_key, _id_in_store(row), parts)
        except ValueError as error:
            raise Problem("parts_differ", f"The store says: {error}.") from None
        except FileNotFoundError:
            pass  # an earlier try got this far: the object is there, or `_check` misses it

    async def _check(self, row: UploadRow, sha256: str | None) -> None:
        """The object is what was announced, or it is gone again."""
        try:
            size = (await self._store.stat(row.store_key)).bytes
        except FileNotFoundError:
            raise Problem("unknown_upload") from None
        if size != row.total_bytes:
            await self._drop(row)
            raise Problem("parts_differ", f"{size} bytes came, {row.total_bytes} were announced.")
        if sha256 is not None and await self._sha256(row.store_key) != sha256:
            await self._drop(row)
            raise Problem("parts_differ", "The SHA-256 of what came is another one.")

    async def _sha256(self, key: str) -> str:
        digest = hashlib.sha256()
        await self._store.pour(key, digest.update)
        return digest.hexdigest()

    async def _drop(self, row: UploadRow) -> None:
        """Neither parts nor object nor row are left, and the row goes last; of an upload that has
        its job by now all stays."""
        this = UploadRow.upload_id == row.upload_id
        closing = update(UploadRow).where(this, UploadRow.job_id.is_(None)).values(dropped=True)
        async with self._database.writing() as session:
            if await session.scalar(closing.returning(UploadRow.upload_id)) is None:
                return
        if row.store_upload_id is not None:
            await self._store.abort_upload(row.store_key, row.store_upload_id)
            for key in (row.store_key, *subtitles_of(row.store_key, row.subtitles).values()):
                await self._store.delete(key)
        async with self._database.writing() as session:
            await session.execute(delete(UploadRow).where(this))


def _in_order(done: CompleteUpload, row: UploadRow) -> list[DonePart]:
    """The parts as the store wants them. Raises Problem `parts_differ` unless all are there."""
    parts = sorted((part.number, part.etag.strip('"')) for part in done.parts)
    count = part_count(row.total_bytes, row.part_bytes)
    if [number for number, _ in parts] != list(range(1, count + 1)):
        raise Problem("parts_differ", f"The upload has {count} parts, each of them once.")
    if not all(_ETAG.fullmatch(etag) for _, etag in parts):
        raise Problem("parts_differ", "An etag is not one that the store gave.")
    return [DonePart(number, etag) for number, etag in parts]


def _id_in_store(row: UploadRow) -> str:
    if row.store_upload_id is None:
        raise Problem("unknown_upload")
    return row.store_upload_id

"""The client side of an upload: a file goes out in parts, its digest is taken on the way."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

from pydantic import ValidationError

from control_plane.pictures import MAX_BYTES, picture_of
from media.api import MAX_MASTER_BYTES, CompleteUpload, DonePart, Job, NewUpload, Part
from media.protection import Scheme
from runtime.control_api import ControlApi
from runtime.errors import CODES, Problem

# Enough to fill a line; each holds a part in memory.
PARTS_AT_ONCE = 4
TRIES = 3
RETRY_S = 1.0
PART_TIMEOUT_S = 600.0
# The control plane reads the whole master once to compare digests: 1 TB at 300 MB/s.
COMPLETE_TIMEOUT_S = 3600.0
POLL_S = 0.5
# How long the control plane may be away while a job runs: it can be started again meanwhile.
AWAY_S = 60.0
_MAY_PASS = {"unavailable", "store_unavailable", "overloaded"}

T = TypeVar("T")
Tell = Callable[[int], None]


def master_size(path: Path) -> int:
    """The file's size in bytes. Raises Problem, in one plain sentence, for what cannot be sent."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
    except FileNotFoundError:
        raise Problem("bad_request", f"There is no file {path}.") from None
    except IsADirectoryError:
        raise Problem("bad_request", f"{path} is a folder, not a film.") from None
    except OSError as error:
        raise Problem("bad_request", f"{path} cannot be read: {error.strerror}.") from None
    if size == 0:
        raise Problem("empty_file", f"{path} is empty.")
    if size > MAX_MASTER_BYTES:
        raise Problem("bad_request", f"{path} is larger than {MAX_MASTER_BYTES >> 40} TiB.")
    return size


def read_picture(path: Path) -> bytes:
    """The bytes of a picture. Raises Problem, in one plain sentence, for what cannot be sent."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Problem("bad_request", f"{path} cannot be read: {error.strerror}.") from None
    try:
        picture_of(raw)
    except Problem as problem:
        raise Problem(problem.code, f"{path}: {problem.detail}") from None
    return raw


async def send_master(
    api: ControlApi,
    title_id: str,
    path: Path,
    *,
    publish: bool,
    priority: int = 0,
    encryption: Scheme | None = None,
    beside: Sequence[tuple[str, bytes]] = (),
    tell: Tell = lambda sent: None,
) -> Job:
    """The file is the title's master, with subtitles `beside` it (language and bytes), and its
    encode is queued. `tell` gets the bytes of each part that went through. An upload that fails
    leaves nothing behind. Raises Problem."""
    try:
        new = NewUpload(
            filename=path.name,
            bytes=master_size(path),
            publish=publish,
            priority=priority,
            encryption=encryption,
        )
    except ValidationError as error:
        raise Problem("bad_request", f"{path.name}: {error.errors()[0]['msg']}.") from None
    upload = await api.start_upload(title_id, new)
    address = f"{api.client.base_url}/v1/uploads/{upload.upload_id}"
    try:
        for language, raw in beside:
            url = f"{address}/subtitles/{language}"
            await _patiently(partial(api.client.send, "PUT", url, raw, timeout_s=PART_TIMEOUT_S))
        parts, sha256 = await _send_parts(api, path, upload.parts, tell)
        done = CompleteUpload(parts=parts, sha256=sha256)
        return await _patiently(
            lambda: api.complete_upload(upload.upload_id, done, timeout_s=COMPLETE_TIMEOUT_S)
        )
    except BaseException:
        with suppress(Problem):
            await asyncio.shield(api.abort_upload(upload.upload_id))
        raise


async def ended_job(api: ControlApi, job_id: str, tell: Callable[[Job], None]) -> Job:
    """The job, once it is done. `tell` gets it at every look. Raises Problem with its error when it
    has failed, or was cancelled."""
    loop = asyncio.get_running_loop()
    heard_at = loop.time()
    while True:
        try:
            job = await api.job(job_id)
        except Problem as problem:
            if problem.code not in _MAY_PASS or loop.time() - heard_at > AWAY_S:
                raise
        else:
            heard_at = loop.time()
            tell(job)
            if job.state == "done":
                return job
            if job.state in ("failed", "cancelled"):
                raise _failure(job)
        await asyncio.sleep(POLL_S)


def _failure(job: Job) -> Problem:
    code = job.error_code if job.error_code in CODES else "encode_failed"
    said = job.error or ("The encode was cancelled." if job.state == "cancelled" else "")
    return Problem(str(code), said)


async def _send_parts(
    api: ControlApi, path: Path, parts: Sequence[Part], tell: Tell
) -> tuple[tuple[DonePart, ...], str]:
    """The parts as the store took them, and the SHA-256 of the file."""
    digest = hashlib.sha256()
    room = asyncio.Semaphore(PARTS_AT_ONCE)
    sent: list[asyncio.Task[DonePart]] = []

    async def send(part: Part, data: bytes) -> DonePart:
        try:
            headers = await _patiently(
                lambda: api.client.send("PUT", part.url, data, timeout_s=PART_TIMEOUT_S)
            )
        finally:
            room.release()
        tell(part.bytes)
        return DonePart(number=part.number, etag=headers.get("ETag", ""))

    try:
        with path.open("rb") as file:
            async with asyncio.TaskGroup() as group:
                for part in parts:
                    await room.acquire()
                    data = await asyncio.to_thread(_read, file, part, digest.update)
                    task = group.create_task(send(part, data), name=f"part-{part.number}")
                    sent.append(task)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return tuple(task.result() for task in sent), digest.hexdigest()


def _read(file: BinaryIO, part: Part, also: Callable[[bytes], None]) -> bytes:
    data = file.read(part.bytes)
    if len(data) != part.bytes:
        raise Problem("bad_request", f"{file.name} changed while it was read.")
    also(data)
    return data


async def _patiently(call: Callable[[], Awaitable[T]]) -> T:
    """The call's answer. It is repeated when what went wrong may pass. Raises Problem."""
    for _ in range(TRIES - 1):
        try:
            return await call()
        except Problem as problem:
            if problem.code not in _MAY_PASS:
                raise
        await asyncio.sleep(RETRY_S)
    return await call()

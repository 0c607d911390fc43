"""The pull loop: takes a job, makes its package, says how it ended, and takes the next.

The control plane may be away at any time: questions and last words are repeated until they are
taken, and an encode goes on meanwhile. A job that another encoder has got is dropped at once.
When the encoder is stopped, its jobs are handed back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog

from encoder.control import LOST, Control, backoff
from encoder.farm import Farm
from encoder.pieces import ADDRESS_S, Kept
from encoder.pipeline import Workshop, encode
from encoder.progress import OnProgress, at
from encoder.publish import publish, standing
from encoder.settings import EncoderSettings
from encoder.subtitles import Beside
from encoder.workplace import check_room, disk_problem, private_folder
from media.api import Lease, Progress
from media.inventory import sha256_of_file
from media.objects import ObjectStore, StoreUnavailable
from media.webvtt import MAX_BYTES
from runtime.errors import Problem
from runtime.log import logger

T = TypeVar("T")

# Troubles of this place or of a service, not of the film: another try may go well.
_WORTH_ANOTHER_TRY = frozenset({"store_unavailable", "unavailable", "disk_full"})
# Between two questions for work, should the control plane not keep them open.
_IDLE_S = 0.1
# Of the ten seconds that a stopping service has, what the control plane may take.
_LAST_WORD_S = 3.0


class Worker:
    """Jobs of one control plane and store, worked on below `folder`."""

    def __init__(
        self,
        control: Control,
        store: ObjectStore,
        farm: Farm,
        folder: Path,
        settings: EncoderSettings,
    ) -> None:
        self._control = control
        self._farm = farm
        self._store = store
        self._folder = folder
        self._settings = settings

    async def run(self, stopping: asyncio.Event) -> None:
        """Works until `stopping`, and returns when nothing is left of what was under way."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._settings.jobs):
                group.create_task(self._pull(stopping), name=f"pull-{number}")

    async def _pull(self, stopping: asyncio.Event) -> None:
        delays = backoff()
        while not stopping.is_set():
            try:
                lease = await _unless(stopping, self._control.lease(self._settings.wait_s))
            except Problem as problem:
                logger().warning("control_away", code=problem.code, detail=problem.detail)
                await _pause(next(delays), stopping)
                continue
            delays = backoff()
            if lease is not None:
                with structlog.contextvars.bound_contextvars(
                    job_id=lease.job_id, title_id=lease.title_id, package_id=lease.package_id
                ):
                    await self._work(lease, stopping)
            else:
                await _pause(_IDLE_S, stopping)

    async def _work(self, lease: Lease, stopping: asyncio.Event) -> None:
        """The job has ended, here at least: done, failed, handed back, or lost to another."""
        logger().info("job_started", attempt=lease.attempt)
        lost = asyncio.Event()
        latest = at("waiting")

        def note(progress: Progress) -> None:
            nonlocal latest
            latest = progress

        beating = asyncio.create_task(self._beat(lease, lambda: latest, lost), name="heartbeat")
        try:
            problem: Problem | None = None
            try:
                made = await _unless(stopping, _unless(lost, self._make(lease, note)))
            except Problem as failure:
                made, problem = None, failure
            if lost.is_set():
                logger().warning("job_lost")
            elif made is not None:
                logger().info("job_done", inventory_sha256=made)
                await self._say(partial(self._control.complete, lease, made), lost, stopping)
            elif problem is not None:
                retry = problem.code in _WORTH_ANOTHER_TRY
                logger().warning("job_failed", code=problem.code, detail=problem.detail)
                word = partial(self._control.fail, lease, problem, retry=retry)
                await self._say(word, lost, stopping)
            else:
                await self._hand_back(lease)
        finally:
            beating.cancel()
            with suppress(asyncio.CancelledError):
                await beating

    async def _make(self, lease: Lease, on_progress: OnProgress) -> str:
        """The package of the job stands in the store; returns its inventory's SHA-256.

        Raises Problem.
        """
        try:
            kept = Kept(self._store, lease.package_id)
            stands = await standing(self._store, lease.title_id, lease.package_id)
            if stands is not None:  # an earlier attempt came that far and could not say so
                await kept.clear()
                return stands
            with private_folder(self._folder) as folder:
                master = folder / "upload"
                digest = await self._download(lease, master, on_progress)
                address = None
                if self._farm.far:
                    address = await self._store.address(lease.master_key, ADDRESS_S)
                made = await encode(
                    master,
                    folder / "package",
                    lease.title_id,
                    lease.package_id,
                    self._settings,
                    master_sha256=digest,
                    workshop=Workshop(self._farm, kept, address),
                    beside=await self._beside(lease),
                    protection=lease.protection,
                    on_progress=on_progress,
                )
                await publish(made, self._store, on_progress)
            await kept.clear()
            return made.inventory_sha256
        except StoreUnavailable as error:
            raise Problem("store_unavailable", f"The object store: {error}.") from error
        except OSError as error:
            raise disk_problem(error) from error
        except Problem:
            raise
        except Exception as error:
            logger().exception("job_crashed")
            raise Problem("internal", "The encoder met an error of its own.") from error

    async def _beside(self, lease: Lease) -> list[Beside]:
        try:
            return [
                Beside(
                    one.language,
                    await self._store.get_bytes(one.key, max_bytes=MAX_BYTES),
                )
                for one in lease.subtitles
            ]
        except FileNotFoundError:
            raise Problem("not_found", "Its subtitles are no longer in the store.") from None

    async def _download(self, lease: Lease, master: Path, on_progress: OnProgress) -> str:
        """The master is there; returns its SHA-256."""
        try:
            size = (await self._store.stat(lease.master_key)).bytes
            check_room(self._folder, size + self._settings.spare_bytes)
            await self._store.get_file(
                lease.master_key,
                master,
                progress=lambda done: on_progress(at("download", done / max(size, 1))),
            )
        except FileNotFoundError:
            raise Problem("not_found", "The master is no longer in the store.") from None
        digest = await asyncio.to_thread(sha256_of_file, master)
        if lease.master_sha256 and digest != lease.master_sha256:
            raise Problem("parts_differ", "The master in the store is not the file announced.")
        return digest

    async def _beat(
        self, lease: Lease, latest: Callable[[], Progress], lost: asyncio.Event
    ) -> None:
        """Renews the lease until cancelled; sets `lost` when it is another's."""
        while True:
            try:
                await self._control.heartbeat(lease, latest())
            except Problem as problem:
                if problem.code in LOST:
                    lost.set()
                    return
                logger().warning("heartbeat_failed", code=problem.code)
            await asyncio.sleep(self._settings.heartbeat_s)

    async def _say(
        self, word: Callable[[], Awaitable[None]], lost: asyncio.Event, stopping: asyncio.Event
    ) -> None:
        """The control plane has taken the word, or does not want it."""
        for delay in backoff():
            try:
                await word()
                return
            except Problem as problem:
                logger().warning("word_not_taken", code=problem.code, detail=problem.detail)
                if problem.status < 500 or lost.is_set() or stopping.is_set():
                    return
            await _pause(delay, stopping)

    async def _hand_back(self, lease: Lease) -> None:
        logger().info("job_handed_back")
        with suppress(Problem):
            await self._control.hand_back(lease, _LAST_WORD_S)


async def _unless(event: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of the work; None when the event came first, and the work was cancelled."""
    task = asyncio.create_task(work)
    coming = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({task, coming}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        coming.cancel()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _pause(seconds: float, stopping: asyncio.Event) -> None:
    """Waits that long, or until `stopping`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()

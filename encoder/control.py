"""The control plane as an encoder sees it: work, signs of life, and the word at the end."""

from collections.abc import Iterator

from media.api import (
    JobComplete,
    JobFailed,
    JobHandedBack,
    JobHeartbeat,
    Lease,
    Progress,
)
from runtime.client import Client
from runtime.control_api import ControlApi
from runtime.errors import Problem

# The job has another encoder, has ended, or is gone with its title.
LOST = frozenset({"lease_lost", "unknown_job", "unknown_title", "not_found"})
_BACKOFF_S = (0.1, 5.0)
_HEARTBEAT_TIMEOUT_S = 5.0
_MAX_MESSAGE_CHARS = 1000  # media.api.JobFailed


class Control:
    """The lease API. Every method raises Problem."""

    def __init__(self, client: Client) -> None:
        self._api = ControlApi(client)

    async def lease(self, wait_s: float) -> Lease | None:
        """A job, or None when none came within `wait_s` seconds."""
        offer = await self._api.lease_job(wait=wait_s, timeout_s=wait_s + 10.0)
        return offer.lease

    async def heartbeat(self, lease: Lease, progress: Progress) -> None:
        """The lease is renewed."""
        word = JobHeartbeat(attempt=lease.attempt, progress=progress)
        await self._api.renew_lease(lease.job_id, word, timeout_s=_HEARTBEAT_TIMEOUT_S)

    async def complete(self, lease: Lease, inventory_sha256: str) -> None:
        """The job is done: the package stands."""
        word = JobComplete(attempt=lease.attempt, inventory_sha256=inventory_sha256)
        await self._api.complete_job(lease.job_id, word)

    async def hand_back(self, lease: Lease, timeout_s: float) -> None:
        """The job waits for another encoder."""
        word = JobHandedBack(attempt=lease.attempt)
        await self._api.hand_back_job(lease.job_id, word, timeout_s=timeout_s)

    async def fail(self, lease: Lease, problem: Problem, *, retry: bool) -> None:
        """The job has failed, or with `retry` waits for another try."""
        word = JobFailed(
            attempt=lease.attempt,
            code=problem.code,
            message=_plain(problem.detail)[:_MAX_MESSAGE_CHARS],
            retry=retry,
        )
        await self._api.fail_job(lease.job_id, word)


def backoff() -> Iterator[float]:
    """Seconds to wait before one try after another."""
    least, most = _BACKOFF_S
    while True:
        yield least
        least = min(least * 2, most)


def _plain(text: str) -> str:
    """The text as `JobFailed` takes it: ffmpeg's last words may quote the film's bytes."""
    return "".join(character if character.isprintable() else " " for character in text)

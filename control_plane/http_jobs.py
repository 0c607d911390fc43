"""Handlers of encode jobs: for encoders, and for people who watch."""

import asyncio
from contextlib import suppress

from aiohttp import web
from pydantic import Field

from control_plane.bell import Bell, heard
from control_plane.jobs import ENDED, QUEUE, Jobs
from media.accounts import Request
from media.api import (
    Job,
    JobComplete,
    JobFailed,
    JobHandedBack,
    JobHeartbeat,
    JobList,
    LeaseOffer,
)
from runtime.api import REQUEST_ID, Call
from runtime.errors import Problem

# How often to look though no bell rang: changes of other processes, leases that ran out.
LOOK_AGAIN_S = 2.0
KEEP_ALIVE_S = 15.0


class LeaseQuery(Request):
    """`POST /v1/jobs/lease`: `wait` is how many seconds to wait for work when there is none."""

    wait: float = Field(0.0, ge=0, le=10)


class JobsHttp:
    """Jobs and their leases."""

    def __init__(self, jobs: Jobs, bell: Bell) -> None:
        self._jobs = jobs
        self._bell = bell

    async def lease(self, call: Call) -> LeaseOffer:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + call.query(LeaseQuery).wait
        while True:
            rung = self._bell.listen(QUEUE)
            lease = await self._jobs.lease(call.who.name)
            left = deadline - loop.time()
            if lease is not None or left <= 0:
                return LeaseOffer(lease=lease)
            await heard(rung, min(left, LOOK_AGAIN_S))

    async def heartbeat(self, call: Call) -> Job:
        return await self._jobs.heartbeat(_job_id(call), call.who.name, call.body(JobHeartbeat))

    async def complete(self, call: Call) -> Job:
        return await self._jobs.complete(_job_id(call), call.who.name, call.body(JobComplete))

    async def fail(self, call: Call) -> Job:
        return await self._jobs.fail(_job_id(call), call.who.name, call.body(JobFailed))

    async def hand_back(self, call: Call) -> Job:
        return await self._jobs.hand_back(_job_id(call), call.who.name, call.body(JobHandedBack))

    async def get(self, call: Call) -> Job:
        return await self._jobs.get(_job_id(call))

    async def list(self, call: Call) -> JobList:
        return await self._jobs.list()

    async def retry(self, call: Call) -> Job:
        return await self._jobs.retry(_job_id(call))

    async def cancel(self, call: Call) -> Job:
        return await self._jobs.cancel(_job_id(call))

    async def events(self, call: Call) -> web.StreamResponse:
        """Server-sent events (HTML Living Standard 9.2): `job` events, the first at once, the last
        with the end of the job. The stream just ends when the job is gone with its title, or the
        database is away; a browser then asks again and is told."""
        job = await self._jobs.get(_job_id(call))
        response = web.StreamResponse(headers=_EVENT_STREAM | {REQUEST_ID: call.request_id})
        await response.prepare(call.request)
        await response.write(_event(job))
        with suppress(Problem):  # too late for another status
            await self._follow(job, response)
        await response.write_eof()
        return response

    async def _follow(self, job: Job, response: web.StreamResponse) -> None:
        quiet_s = 0.0
        while job.state not in ENDED:
            rung = self._bell.listen(job.job_id)
            latest = await self._jobs.get(job.job_id)
            if latest != job:
                job, quiet_s = latest, 0.0
                await response.write(_event(job))
            elif quiet_s >= KEEP_ALIVE_S:
                quiet_s = 0.0
                await response.write(b":\n\n")
            else:
                quiet_s += LOOK_AGAIN_S
                await heard(rung, LOOK_AGAIN_S)


_EVENT_STREAM = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold events back
}


def _event(job: Job) -> bytes:
    return f"event: job\ndata: {job.model_dump_json()}\n\n".encode()


def _job_id(call: Call) -> str:
    return call.path["job_id"]

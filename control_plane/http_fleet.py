"""Handlers that show the fleet, as steering knows it, and let machines into it."""

import asyncio
from dataclasses import replace

from aiohttp import web
from pydantic import Field

from control_plane.audit import Audit
from control_plane.bell import Bell, heard
from control_plane.enrolments import MACHINES, Enrolments
from control_plane.standby import Standby
from control_plane.steering_client import SteeringClient
from media.accounts import Request
from media.api import NewPurge, Regions
from media.enrolment import (
    Enrolled,
    Enrolment,
    Invitations,
    MadeInvitation,
    NewInvitation,
)
from media.fills import FillPlan, FillStatus, Pin, PinRequest
from media.fleet import DrainRequest, Roster
from media.inventory import sha256_of
from media.purges import PurgeDetails, PurgeJobs
from runtime.api import Call, Caller, Deed, has_tag
from runtime.errors import Problem
from runtime.log import logger

LOOK_AGAIN_S = 2.0  # though no bell rang: another process may have changed something


class MachinesQuery(Request):
    """`GET /v1/machines`: `wait` is how many seconds to wait for other keys than the known ones."""

    wait: float = Field(0.0, ge=0, le=10)


class FleetHttp:
    """The fleet."""

    def __init__(
        self,
        steering: SteeringClient,
        standby: Standby,
        enrolments: Enrolments,
        audit: Audit,
        bell: Bell,
    ) -> None:
        self._steering = steering
        self._standby = standby
        self._enrolments = enrolments
        self._audit = audit
        self._bell = bell

    async def roster(self, call: Call) -> Roster:
        return await self._steering.roster()

    async def drain(self, call: Call) -> None:
        await self._steering.drain(call.path["appliance"], call.body(DrainRequest))

    async def plan(self, call: Call) -> FillPlan:
        return await self._steering.plan(call.path["appliance"])

    async def fills(self, call: Call) -> FillStatus:
        return await self._steering.fills()

    async def pin(self, call: Call) -> Pin:
        return await self._steering.pin(call.path["package_id"], call.body(PinRequest))

    async def unpin(self, call: Call) -> None:
        await self._steering.unpin(call.path["package_id"])

    async def purge(self, call: Call) -> PurgeDetails:
        return await self._steering.purge(call.body(NewPurge))

    async def purges(self, call: Call) -> PurgeJobs:
        return await self._steering.purges()

    async def purge_of(self, call: Call) -> PurgeDetails:
        return await self._steering.purge_of(call.path["job_id"])

    async def cancel_purge(self, call: Call) -> PurgeDetails:
        return await self._steering.cancel_purge(call.path["job_id"])

    async def regions(self, call: Call) -> Regions:
        """Where viewers can say they are; by the last copy, while steering is away."""
        try:
            roster = await self._steering.roster()
        except Problem:
            if self._standby.roster is None:
                raise
            roster = self._standby.roster
        return Regions(regions=tuple(sorted({entry.region for entry in roster.appliances})))

    async def invite(self, call: Call) -> MadeInvitation:
        new = call.body(NewInvitation)
        try:
            sites = await self._steering.sites()
        except Problem:
            sites = self._standby.sites
            if not sites:
                raise
        if new.site not in sites:
            known = ", ".join(sorted(sites)[:20])
            raise Problem("invalid_field", f"site: steering knows no {new.site}, but {known}.")
        return await self._enrolments.invite(new)

    async def invitations(self, call: Call) -> Invitations:
        return await self._enrolments.invitations()

    async def withdraw(self, call: Call) -> None:
        await self._enrolments.withdraw(call.path["appliance"])

    async def enrol(self, call: Call) -> Enrolled:
        """In the audit log stands who was let in; who was not, in the service's own: anybody could
        fill the other."""
        enrolment = call.body(Enrolment)
        name = enrolment.token.partition(".")[0]
        try:
            enrolled = await self._enrolments.enrol(enrolment, call.address)
        except Problem as problem:
            logger().warning(
                "not_enrolled", appliance_id=name, code=problem.code, address=call.address
            )
            raise
        who = replace(call, caller=Caller(name, "appliance"))
        await self._audit.record(who, Deed("POST /v1/enrolments", name, "ok"))
        return enrolled

    async def forget(self, call: Call) -> None:
        await self._enrolments.forget(call.path["appliance"])

    async def machines(self, call: Call) -> web.Response:
        """By long poll: who asks with `If-None-Match` waits for news."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + call.query(MachinesQuery).wait
        while True:
            rung = self._bell.listen(MACHINES)
            body = (await self._enrolments.keys()).model_dump_json().encode()
            tag = sha256_of(body)
            left = deadline - loop.time()
            if not has_tag(call.request, tag):
                return web.Response(
                    body=body, content_type="application/json", headers={"ETag": f'"{tag}"'}
                )
            if left <= 0:
                return web.Response(status=304, headers={"ETag": f'"{tag}"'})
            await heard(rung, min(left, LOOK_AGAIN_S))

"""Handlers that show the fleet, as steering knows it."""

from control_plane.standby import Standby
from control_plane.steering_client import SteeringClient
from media.api import NewPurge, Regions
from media.fleet import DrainRequest, Roster
from media.purges import PurgeDetails, PurgeJobs
from runtime.api import Call
from runtime.errors import Problem


class FleetHttp:
    """The fleet."""

    def __init__(self, steering: SteeringClient, standby: Standby) -> None:
        self._steering = steering
        self._standby = standby

    async def roster(self, call: Call) -> Roster:
        return await self._steering.roster()

    async def drain(self, call: Call) -> None:
        await self._steering.drain(call.path["appliance"], call.body(DrainRequest))

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

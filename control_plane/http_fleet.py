"""Handlers that show the fleet, as steering knows it."""

from control_plane.steering_client import SteeringClient
from media.api import Regions
from media.fleet import DrainRequest, Roster
from runtime.api import Call


class FleetHttp:
    """The fleet."""

    def __init__(self, steering: SteeringClient) -> None:
        self._steering = steering

    async def roster(self, call: Call) -> Roster:
        return await self._steering.roster()

    async def drain(self, call: Call) -> None:
        await self._steering.drain(call.path["appliance"], call.body(DrainRequest))

    async def regions(self, call: Call) -> Regions:
        roster = await self._steering.roster()
        return Regions(regions=tuple(sorted({entry.region for entry in roster.appliances})))

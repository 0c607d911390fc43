"""What the control plane asks of steering."""

import time
from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from control_plane.clock import Clock
from media.fills import FillPlan, FillStatus, Pin, PinRequest
from media.fleet import (
    DrainRequest,
    PurgeTarget,
    RankAnswer,
    RankRequest,
    RevokeRequest,
    Roster,
    TombstoneRequest,
)
from media.keys import Identity
from media.places import Geography
from media.purges import PurgeDetails, PurgeJobs
from media.token import sign_machine_token
from runtime.client import Client
from runtime.errors import Problem
from runtime.flow import Breaker

AUDIENCE = "steering"
# A viewer waits for this: a steering service that is slower is as good as away.
TIMEOUT_S = 2.0
REUSED_S = 10  # of the two minutes that a machine's token lives
# What steering may say that the caller of the control plane can act on. Anything else (that our
# own token is refused, say) is between the two services.
PASSED_ON = {
    "unknown_region",
    "unknown_site",
    "too_many",
    "unknown_appliance",
    "unknown_purge",
    "purged",
    "steering_unavailable",
}

M = TypeVar("M", bound=BaseModel)


class SteeringClient:
    """Every call raises Problem `steering_unavailable` when there is no answer within 2 s."""

    def __init__(self, url: str, identity: Identity, clock: Clock) -> None:
        self._client = Client(
            url,
            authorize=_signer(identity, clock),
            timeout_s=TIMEOUT_S,
            away="steering_unavailable",
        )
        self._breaker = Breaker()

    async def rank(self, request: RankRequest) -> RankAnswer:
        """Pathways, best first, and who was passed over. Raises Problem `unknown_region`
        or `purged`. While steering has failed several times in a row nobody waits for it."""
        if not self._breaker.allows(time.monotonic()):
            raise Problem("steering_unavailable")
        try:
            answer = await self._model("POST", "/v1/rank", RankAnswer, request)
        except Problem as problem:
            self._breaker.record(problem.code != "steering_unavailable", time.monotonic())
            raise
        self._breaker.record(True, time.monotonic())
        return answer

    async def geography(self, known: str = "") -> bytes:
        """Steering's map (`media.places.Geography`), as JSON; nothing if it is still the one with
        this SHA-256."""
        try:
            return await self._client.call_raw("GET", "/v1/geography", known=known)
        except Problem as problem:
            raise _passed_on(problem) from None

    async def sites(self) -> frozenset[str]:
        """The sites that steering knows."""
        try:
            geography = Geography.model_validate_json(await self.geography())
        except ValidationError:
            raise Problem("steering_unavailable", "Steering's map is not one.") from None
        return frozenset(site.id for site in geography.sites)

    async def roster(self) -> Roster:
        """The latest reports."""
        return await self._model("GET", "/v1/roster", Roster)

    async def drain(self, appliance_id: str, request: DrainRequest) -> None:
        """The appliance drains, or serves again. Raises Problem `unknown_appliance`."""
        await self._raw("PUT", f"/v1/drains/{appliance_id}", request)

    async def fills(self) -> FillStatus:
        """How far the plans are filled."""
        return await self._model("GET", "/v1/fills", FillStatus)

    async def plan(self, appliance_id: str) -> FillPlan:
        """What the appliance is to hold. Raises Problem `unknown_appliance`."""
        return await self._model("GET", f"/v1/plans/{appliance_id}", FillPlan)

    async def pin(self, package_id: str, request: PinRequest) -> Pin:
        """The package is in plans before all others. Raises Problem `unknown_site`,
        `unknown_region`, `purged` or `too_many`."""
        return await self._model("POST", f"/v1/fills/{package_id}", Pin, request)

    async def unpin(self, package_id: str) -> None:
        """It is not, or not any more."""
        await self._raw("DELETE", f"/v1/fills/{package_id}")

    async def entomb(self, package_id: str, request: TombstoneRequest) -> None:
        """No appliance serves or fills the package until then, and what they hold of it goes."""
        await self._raw("PUT", f"/v1/tombstones/{package_id}", request)

    async def purge(self, target: PurgeTarget) -> PurgeDetails:
        """The purge is ordered: appliances drop what they hold of the target."""
        return await self._model("POST", "/v1/purges", PurgeDetails, target)

    async def purges(self) -> PurgeJobs:
        """The purges that steering remembers."""
        return await self._model("GET", "/v1/purges", PurgeJobs)

    async def purge_of(self, job_id: str) -> PurgeDetails:
        """A purge, appliance by appliance. Raises Problem `unknown_purge`."""
        return await self._model("GET", f"/v1/purges/{job_id}", PurgeDetails)

    async def cancel_purge(self, job_id: str) -> PurgeDetails:
        """Who has not begun never will. Raises Problem `unknown_purge`."""
        return await self._model("POST", f"/v1/purges/{job_id}/cancel", PurgeDetails)

    async def revoke(self, request: RevokeRequest) -> None:
        """No appliance serves the session until then."""
        await self._raw("POST", "/v1/revocations", request)

    async def close(self) -> None:
        """Connections are closed."""
        await self._client.close()

    async def _model(
        self, method: str, path: str, answer: type[M], body: BaseModel | None = None
    ) -> M:
        try:
            return await self._client.call(method, path, answer, body=body)
        except Problem as problem:
            raise _passed_on(problem) from None

    async def _raw(self, method: str, path: str, body: BaseModel | None = None) -> None:
        try:
            await self._client.call_raw(method, path, body=body)
        except Problem as problem:
            raise _passed_on(problem) from None


def _signer(identity: Identity, clock: Clock) -> Callable[[], str]:
    """Gives our token, a new one every REUSED_S: hundreds of viewers a second need no more."""
    token, made_s = "", -REUSED_S

    def sign() -> str:
        nonlocal token, made_s
        now_s = int(clock().timestamp())
        if not made_s <= now_s < made_s + REUSED_S:
            token, made_s = sign_machine_token(identity, AUDIENCE, now_s), now_s
        return token

    return sign


def _passed_on(problem: Problem) -> Problem:
    if problem.code in PASSED_ON:
        return problem
    return Problem("steering_unavailable", f"Steering answered {problem.code}: {problem.detail}")

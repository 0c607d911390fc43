"""The admin port: health, metrics, state, drain and purge, for operators and the fleet."""

from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from pydantic import BaseModel, ConfigDict, Field

from appliance.quality import SessionQuality
from media.fleet import DrainRequest, PurgeTarget, Quality, Report
from media.keys import Keyring
from media.token import TokenRefused, verify_machine_token
from runtime.api import Authenticate, Call, Caller, Route, make_app
from runtime.errors import Problem
from runtime.openapi import openapi

if TYPE_CHECKING:
    from appliance.keeper import Keeper

_FLEET = frozenset({"control", "steering"})


class State(BaseModel):
    """`GET /v1/state`: what the appliance is and does."""

    report: Report
    complete_packages: tuple[str, ...]
    fills_in_flight: int
    plan_version: str
    plan_missing_files: int
    peers: tuple[str, ...]  # whom it may fill from, by the plan


class HowMany(BaseModel):
    """How many sessions to show, of at most quality.MAX_SESSIONS."""

    model_config = ConfigDict(extra="ignore")
    count: int = Field(100, ge=1, le=1000)


class Sessions(BaseModel):
    """`GET /v1/sessions`: the sums over all since boot, and the sessions heard last."""

    totals: Quality
    remembered: int
    sessions: tuple[SessionQuality, ...]


class Ok(BaseModel):
    """Done."""

    ok: bool = True


class Unlinked(Ok):
    """Purged."""

    files: int


def make_admin_app(keeper: "Keeper", trust: Path) -> web.Application:
    """The application of the admin port. Reading is open (the port is on loopback, or behind the
    fleet's network); changing wants a machine token of the control plane or steering."""
    admin = _Admin(keeper)
    routes = [
        Route("GET", "/healthz", admin.healthz, "The process lives", answer=Ok),
        Route(
            "GET",
            "/readyz",
            admin.readyz,
            "It can serve",
            answer=Ok,
            errors=("unavailable",),
        ),
        Route("GET", "/metrics", admin.metrics, "Prometheus metrics", media_type="text/plain"),
        Route("GET", "/v1/state", admin.state, "What it is and does", answer=State),
        Route(
            "GET",
            "/v1/sessions",
            admin.sessions,
            "How sessions play, by their players' words; the one heard last comes first",
            query=HowMany,
            answer=Sessions,
        ),
        Route(
            "PUT",
            "/v1/drain",
            admin.drain,
            "Takes no new sessions, until told otherwise",
            body=DrainRequest,
            answer=Ok,
            roles=_FLEET,
        ),
        Route(
            "POST",
            "/v1/purge",
            admin.purge,
            "Unlinks a title, a package or what a pattern matches; answers when no worker has any "
            "of it at hand",
            body=PurgeTarget,
            answer=Unlinked,
            roles=_FLEET,
            errors=("unavailable", "disk_full"),
        ),
    ]
    described = openapi(routes, "Nearcast appliance", "1")

    async def document(call: Call) -> web.Response:
        return web.json_response(described)

    routes.append(
        Route("GET", "/openapi.json", document, "This document", media_type="application/json")
    )
    return make_app(routes, _authenticator(keeper.appliance_id, trust))


class _Admin:
    def __init__(self, keeper: "Keeper") -> None:
        self._keeper = keeper

    async def healthz(self, call: Call) -> Ok:
        return Ok()

    async def readyz(self, call: Call) -> Ok:
        health = self._keeper.health()
        if health.state == "out":
            raise Problem("unavailable", health.bottleneck)
        return Ok()

    async def metrics(self, call: Call) -> web.Response:
        return web.Response(
            body=self._keeper.metrics(), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4}
        )

    async def state(self, call: Call) -> State:
        keeper = self._keeper
        return State(
            report=keeper.report(),
            complete_packages=keeper.ledger.complete_packages(),
            fills_in_flight=len(keeper.fills),
            plan_version=keeper.plan.plan.version if keeper.plan.plan else "",
            plan_missing_files=keeper.plan.missing_files,
            peers=keeper.plan.peers,
        )

    async def sessions(self, call: Call) -> Sessions:
        players = self._keeper.watch.players
        return Sessions(
            totals=players.totals,
            remembered=len(players),
            sessions=tuple(players.sessions(call.query(HowMany).count)),
        )

    async def drain(self, call: Call) -> Ok:
        self._keeper.drain(call.body(DrainRequest).draining)
        return Ok()

    async def purge(self, call: Call) -> Unlinked:
        try:
            files = await self._keeper.purger.purge(call.body(PurgeTarget))
        except TimeoutError:
            raise Problem("unavailable", "A worker has not let go of the files yet.") from None
        except OSError as error:
            raise Problem(
                "disk_full", f"The disk takes no changes: {error.strerror or error}."
            ) from None
        return Unlinked(files=files)


def _authenticator(appliance_id: str, trust: Path) -> Authenticate:
    async def authenticate(request: web.Request) -> Caller | None:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer":
            return None
        try:
            signer = verify_machine_token(token, Keyring.read(trust), appliance_id)
        except TokenRefused as refused:
            raise Problem(refused.code) from None
        return Caller(signer.name, signer.role)

    return authenticate

"""A real control plane for tests: SQLite, files, port 0; beside it a small steering service that
ranks for real over HTTP, and a clock that can be moved."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import BaseModel, ConfigDict

from control_plane.app import ControlPlane, serve
from control_plane.clock import utc_now
from control_plane.settings import ControlPlaneSettings
from media.accounts import Login, Tokens
from media.api import Lease, LeaseOffer, Session, Title
from media.fills import FillStatus, Pin, PinRequest
from media.fleet import (
    DrainRequest,
    Pathway,
    Plan,
    PurgeTarget,
    RankAnswer,
    RankRequest,
    Report,
    RevokeRequest,
    Roster,
    RosterEntry,
    Skipped,
    TombstoneRequest,
)
from media.ids import new_id
from media.keys import Identity, Keyring
from media.objects import ObjectStore, open_store
from media.places import Geography, Region, Site
from media.purges import PurgeDetails, PurgeJobs
from media.token import sign_machine_token, verify_machine_token
from runtime.api import Call, Caller, Route, make_app
from runtime.client import Client
from runtime.errors import Problem
from runtime.service import serve_http
from tests.control_plane.film import film_of, put_package

# Of a module whose tests hold on both pairs: SQLite and memory, PostgreSQL and Redis.
BOTH = pytest.mark.parametrize("house", ["embedded", "servers"], indirect=True)
PASSWORD = "correct horse battery"
MASTER = b"film " * 1000
# Argon2 as light as it gets: these tests are not about its weight.
LIGHT = {"argon2_passes": 1, "argon2_memory_kib": 8, "argon2_lanes": 1}


class Clock:
    """The real time, moved by as much as a test likes."""

    def __init__(self) -> None:
        self.moved = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.moved

    def advance(self, seconds: float) -> None:
        self.moved += timedelta(seconds=seconds)


@dataclass
class Steering:
    """Ranks as steering does, and keeps what it is told."""

    ring: Keyring
    url: str = ""
    regions: tuple[str, ...] = ("north", "south")
    pathways: list[Pathway] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    asked: list[RankRequest] = field(default_factory=list)
    tombstones: dict[str, TombstoneRequest] = field(default_factory=dict)
    purges: dict[str, PurgeDetails] = field(default_factory=dict)
    revoked: list[RevokeRequest] = field(default_factory=list)
    drains: dict[str, bool] = field(default_factory=dict)
    pins: dict[str, Pin] = field(default_factory=dict)
    purged: asyncio.Event = field(default_factory=asyncio.Event)
    refuses: str = ""  # with this code
    dead: set[str] = field(default_factory=set)

    def routes(self) -> list[Route]:
        only = frozenset({"control"})
        tombstone, target = TombstoneRequest, PurgeTarget
        return [
            Route("POST", "/v1/rank", self.rank, "", body=RankRequest, roles=only),
            Route("GET", "/v1/roster", self.roster, "", roles=only),
            Route("GET", "/v1/geography", self.geography, "", roles=only),
            Route("PUT", "/v1/tombstones/{p}", self.entomb, "", body=tombstone, roles=only),
            Route("POST", "/v1/purges", self.purge, "", body=target, status=201, roles=only),
            Route("GET", "/v1/purges", self.give_purges, "", roles=only),
            Route("GET", "/v1/purges/{job}", self.give_purge, "", roles=only),
            Route("POST", "/v1/purges/{job}/cancel", self.cancel_purge, "", roles=only),
            Route("POST", "/v1/revocations", self.revoke, "", body=RevokeRequest, roles=only),
            Route("PUT", "/v1/drains/{a}", self.drain, "", body=DrainRequest, roles=only),
            Route("GET", "/v1/plans/{a}", self.plan, "", roles=only),
            Route("GET", "/v1/fills", self.fills, "", roles=only),
            Route("POST", "/v1/fills/{p}", self.pin, "", body=PinRequest, roles=only),
            Route("DELETE", "/v1/fills/{p}", self.unpin, "", roles=only),
        ]

    async def authenticate(self, request: web.Request) -> Caller:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        machine = verify_machine_token(token, self.ring, "steering")
        return Caller(machine.name, machine.role)

    async def rank(self, call: Call) -> RankAnswer:
        wanted = call.body(RankRequest)
        self.asked.append(wanted)
        if self.refuses:
            raise Problem(self.refuses)
        region = wanted.region or "north"
        if region not in self.regions:
            raise Problem("unknown_region")
        return RankAnswer(
            region=region,
            site=None,
            pathways=tuple(self.pathways[: wanted.count]),
            skipped=tuple(self.skipped),
            steering_url=f"{self.url}/steer/context",
        )

    async def roster(self, call: Call) -> Roster:
        return Roster(
            appliances=tuple(
                _entry_of(pathway, alive=pathway.appliance_id not in self.dead)
                for pathway in self.pathways
            )
        )

    async def geography(self, call: Call) -> Geography:
        places = {"north": 60.0, "south": 40.0}
        return Geography(
            regions=tuple(
                Region(id=name, name=name, latitude=latitude, longitude=0)
                for name, latitude in places.items()
            ),
            sites=tuple(
                Site(id=one.site, region=one.region, networks=_networks(one.site))
                for one in self.pathways
            ),
        )

    async def drain(self, call: Call) -> None:
        appliance = call.path["a"]
        if appliance not in {pathway.appliance_id for pathway in self.pathways}:
            raise Problem("unknown_appliance")
        self.drains[appliance] = call.body(DrainRequest).draining

    async def plan(self, call: Call) -> Plan:
        appliance = call.path["a"]
        if appliance not in {pathway.appliance_id for pathway in self.pathways}:
            raise Problem("unknown_appliance")
        return Plan(appliance_id=appliance, version="1", items=())

    async def fills(self, call: Call) -> FillStatus:
        return FillStatus(appliances=(), packages=(), pins=tuple(self.pins.values()))

    async def pin(self, call: Call) -> Pin:
        asked = call.body(PinRequest)
        if asked.sites not in ((), ("north-1",)):
            raise Problem("unknown_site")
        pin = Pin(package_id=call.path["p"], made_at=utc_now(), **asked.model_dump())
        self.pins[pin.package_id] = pin
        return pin

    async def unpin(self, call: Call) -> None:
        self.pins.pop(call.path["p"], None)

    async def revoke(self, call: Call) -> None:
        self.revoked.append(call.body(RevokeRequest))

    async def entomb(self, call: Call) -> None:
        self.tombstones[call.path["p"]] = call.body(TombstoneRequest)
        self.purged.set()

    async def purge(self, call: Call) -> PurgeDetails:
        now = utc_now()
        ordered = PurgeDetails(
            **call.body(PurgeTarget).model_dump(), job_id=new_id("job"), state="pending",
            created_at=now, deadline_at=now, obeyed=0, awaited=0, files=0, appliances=(),
        )  # fmt: skip
        self.purges[ordered.job_id] = ordered
        return ordered

    async def give_purges(self, call: Call) -> PurgeJobs:
        return PurgeJobs(purges=tuple(self.purges.values()))

    async def give_purge(self, call: Call) -> PurgeDetails:
        if call.path["job"] not in self.purges:
            raise Problem("unknown_purge")
        return self.purges[call.path["job"]]

    async def cancel_purge(self, call: Call) -> PurgeDetails:
        purge = await self.give_purge(call)
        self.purges[purge.job_id] = purge.model_copy(update={"state": "cancelled"})
        return self.purges[purge.job_id]


def pathway(appliance_id: str, url: str, region: str = "north") -> Pathway:
    """An appliance that serves."""
    return Pathway(
        appliance_id=appliance_id,
        site=f"{region}-1",
        region=region,
        url=url,
        score=0.1,
        reasons=("same region",),
    )


@dataclass
class House:
    """Everything that a test needs to talk to a control plane."""

    control: ControlPlane
    data: Path
    clock: Clock
    steering: Steering
    store: ObjectStore
    identities: dict[str, Identity]
    stack: AsyncExitStack
    steering_runner: web.AppRunner | None = None
    clients: dict[str, Client] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    signing_in: dict[str, asyncio.Lock] = field(default_factory=dict)
    terminal: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def url(self) -> str:
        return self.control.url

    async def start_steering(self) -> None:
        """Steering answers, where it did before."""
        app = make_app(self.steering.routes(), self.steering.authenticate)
        listen = self.steering.url.removeprefix("http://")
        self.steering_runner, self.steering.url = await serve_http(app, listen)

    async def stop_steering(self) -> None:
        """Nobody answers there."""
        if self.steering_runner is not None:
            await self.steering_runner.cleanup()
            self.steering_runner = None

    def machine_token(self, name: str) -> str:
        """What a machine shows to the control plane."""
        return sign_machine_token(self.identities[name], "control", int(time.time()))

    def machine(self, name: str) -> Client:
        """The API, in the name of a machine."""
        return self._client(name, self.machine_token(name))

    async def access_token(self, role: str) -> str:
        """The token of the admin, or of a new user of another role and the same name."""
        async with self.signing_in.setdefault(role, asyncio.Lock()):
            return await self._token_of(role)

    async def _token_of(self, role: str) -> str:
        if role not in self.tokens:
            login = Login(name=role, password=PASSWORD)
            if role == "admin":
                login = Login.model_validate_json((self.data / "secrets/admin.json").read_text())
            else:
                new = {"name": role, "password": PASSWORD, "role": role}
                admin = await self.account("admin")
                assert await code_of(send(admin, "POST", "/v1/users", **new)) in ("", "name_taken")
            answer = await self.anonymous().call("POST", "/v1/auth/login", Tokens, body=login)
            self.tokens[role] = answer.access_token
        return self.tokens[role]

    def expired(self) -> None:
        """Access tokens have ended meanwhile: accounts sign in anew."""
        for role in self.tokens:
            del self.clients[role]
        self.tokens.clear()

    async def account(self, role: str) -> Client:
        """The API, signed in as `admin`, or as a new user of another role."""
        return self._client(role, await self.access_token(role))

    def anonymous(self) -> Client:
        """The API, not signed in."""
        return self._client("anonymous", None)

    async def upload(
        self,
        name: str = "Film",
        *,
        publish: bool = True,
        priority: int = 0,
        encryption: str | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """Sends MASTER for a new title through the API; the job."""
        api = await self.account("operator")
        title = await send(api, "POST", "/v1/titles", name=name)
        where = f"/v1/titles/{title['title_id']}/uploads"
        new = {"filename": "film.mp4", "bytes": len(MASTER), "publish": publish}
        told = {"priority": priority, "encryption": encryption}
        upload = await send(api, "POST", where, **new, **told)
        headers = await api.send("PUT", upload["parts"][0]["url"], MASTER, timeout_s=5)
        done = {"parts": [{"number": 1, "etag": headers["ETag"]}], **more}
        return await send(api, "POST", f"/v1/uploads/{upload['upload_id']}/complete", **done)

    async def lease(self, encoder: str = "encoder") -> Lease:
        """The next job, for this encoder."""
        offer = await self.machine(encoder).call("POST", "/v1/jobs/lease", LeaseOffer)
        assert offer.lease is not None
        return offer.lease

    async def complete(
        self, lease: Lease, encoder: str = "encoder", film: Mapping[str, bytes] | None = None
    ) -> dict[str, Any]:
        """Puts a tiny package in the store and completes the job with it."""
        sha256 = await put_package(
            self.store, lease.title_id, lease.package_id, film=film, protection=lease.protection
        )
        return await send(
            self.machine(encoder),
            "POST",
            f"/v1/jobs/{lease.job_id}/complete",
            attempt=lease.attempt,
            inventory_sha256=sha256,
        )

    async def published(
        self, name: str = "Film", encryption: str | None = None, renditions: tuple[str, ...] = ()
    ) -> Title:
        """A title that was uploaded, encoded and published."""
        await self.upload(name, encryption=encryption)
        lease = await self.lease()
        await self.complete(lease, film=film_of(*renditions) or None)
        api = await self.account("viewer")
        return await api.call("GET", f"/v1/titles/{lease.title_id}", Title)

    async def describe(self, title: Title, **change: Any) -> None:
        """The title is as an operator says."""
        path = f"/v1/titles/{title.title_id}"
        await send(await self.account("operator"), "PATCH", path, **change)

    async def put_on_plan(self, name: str, plan: str, **limits: Any) -> None:
        """The user of this name has a plan of these limits."""
        await self.account(name)
        admin = await self.account("admin")
        await send(admin, "PUT", f"/v1/plans/{plan}", **{"streams": None} | limits)
        users = (await send(admin, "GET", "/v1/users"))["users"]
        user_id = next(user["user_id"] for user in users if user["name"] == name)
        await send(admin, "PATCH", f"/v1/users/{user_id}", plan=plan)

    async def play(self, title: Title, role: str = "viewer", **more: Any) -> Session:
        """A session for the title."""
        api = await self.account(role)
        answer = await send(api, "POST", "/v1/sessions", title_id=title.title_id, **more)
        return Session.model_validate(answer)

    def _client(self, key: str, token: str | None) -> Client:
        if key not in self.clients:
            client = Client(self.url, authorize=lambda: token)
            self.stack.push_async_callback(client.close)
            self.clients[key] = client
        return self.clients[key]


@asynccontextmanager
async def open_house(data: Path, *machines: str, **settings: Any) -> AsyncIterator[House]:
    """A control plane and its steering, with keys for "encoder", "steering" and `machines`, which
    are encoders too unless they are named like an appliance ("oslo-1")."""
    clock = Clock()
    identities = {
        name: Identity.open(name, _role(name), data / "secrets" / f"{name}.key")
        for name in ("control", "steering", "encoder", *machines)
    }
    ring = Keyring([identity.public for identity in identities.values()])
    ring.write(data / "secrets" / "trust.json")
    steering = Steering(ring)
    steering.pathways = [
        pathway("north-1", "http://127.0.1.1:8090"),
        pathway("south-1", "http://127.0.2.1:8090", "south"),
    ]
    async with AsyncExitStack() as stack:
        # At once: a port that is let go for a while may be another's by then.
        app = make_app(steering.routes(), steering.authenticate)
        runner, steering.url = await serve_http(app, "127.0.0.1:0")
        stack.push_async_callback(runner.cleanup)
        given = {"listen": "127.0.0.1:0", "steering_url": steering.url, **LIGHT, **settings}
        chosen = ControlPlaneSettings.model_validate(given)
        control = await stack.enter_async_context(serve(chosen, data, clock=clock))
        store = open_store(chosen.store_url(data))
        house = House(control, data, clock, steering, store, identities, stack, runner)
        stack.push_async_callback(house.stop_steering)
        yield house


class Fields(BaseModel):
    """A body of any fields."""

    model_config = ConfigDict(extra="allow")


async def send(api: Client, method: str, path: str, **body: Any) -> dict[str, Any]:
    """The JSON of an answer, empty for none. Raises Problem."""
    raw = await api.call_raw(method, path, body=Fields(**body) if body else None)
    return dict(json.loads(raw)) if raw else {}


async def code_of(work: Any) -> str:
    """The code of the Problem that the work raises; "" when it raises none."""
    try:
        await work
    except Problem as problem:
        return problem.code
    return ""


def _networks(site: str) -> tuple[str, ...]:
    """Of the site in the south, the whole of loopback."""
    return ("127.0.0.0/8",) if site == "south-1" else ()


def _entry_of(pathway: Pathway, *, alive: bool) -> RosterEntry:
    report = Report(
        appliance_id=pathway.appliance_id,
        site=pathway.site,
        url=pathway.url,
        boot_id="1",
        sequence=1,
        clock=utc_now(),
        state="serving",
        capacity_bps=10**9,
        budget_bytes=10**9,
        used_bytes=0,
    )
    return RosterEntry(
        report=report,
        region=pathway.region,
        age_s=0.5,
        alive=alive,
        draining=False,
        packages_held=1,
    )


def _role(name: str) -> Any:
    named = {"control": "control", "steering": "steering"}
    return named.get(name, "encoder" if name.startswith("encoder") else "appliance")

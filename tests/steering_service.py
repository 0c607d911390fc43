"""The real steering over HTTP, with four appliances that sign with keys of their own, for tests."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, web

from media.enrolment import MachineKeys
from media.fleet import (
    Notices,
    PackageList,
    PackageRef,
    Plan,
    RankAnswer,
)
from media.inventory import sha256_of
from media.keys import Identity, Keyring
from media.token import sign_machine_token, verify_machine_token
from runtime.api import Call, Caller, Route, has_tag, make_app
from runtime.service import Service, serve_http
from steering.app import serve
from steering.settings import SteeringSettings
from tests.steering_fleet import holdings, package, package_id, report

SITE_OF = {"north-1": "north", "north-2": "north", "south-1": "south", "west-1": "west"}
P = package_id(1)


class ControlPlane:
    """The two routes of a control plane that steering asks, and the keys of everyone."""

    def __init__(self, data: Path) -> None:
        secrets = data / "secrets"
        self.steering = Identity.open("steering", "steering", secrets / "steering.key")
        self.control = Identity.open("control", "control", secrets / "control.key")
        self.appliances = {
            name: Identity.open(name, "appliance", secrets / f"{name}.key") for name in SITE_OF
        }
        self.stranger = Identity.open("north-9", "appliance", data / "elsewhere.key")
        self.trust(self.steering, self.control, *self.appliances.values(), data=data)
        self.packages: tuple[PackageRef, ...] = tuple(package(n, 300_000) for n in (1, 3, 2))
        self.answered: list[int] = []
        self.keys: dict[str, str | None] = {}
        self.told = asyncio.Event()
        self.runner: web.AppRunner | None = None
        self.url = "http://127.0.0.1:1"

    def trust(self, *machines: Identity, data: Path) -> None:
        Keyring([machine.public for machine in machines]).write(data / "secrets" / "trust.json")

    def tell(self, keys: dict[str, str | None]) -> None:
        """The appliances' keys are these from now on."""
        self.keys = keys
        self.told.set()
        self.told = asyncio.Event()

    async def start(self) -> None:
        ring = Keyring([self.steering.public])

        async def authenticate(request: web.Request) -> Caller:
            token = request.headers["Authorization"].removeprefix("Bearer ")
            machine = verify_machine_token(token, ring, "control")
            return Caller(machine.name, machine.role)

        async def give(call: Call) -> web.Response:
            listed = PackageList(packages=self.packages).model_dump_json().encode()
            tag = sha256_of(listed)
            known = has_tag(call.request, tag)
            response = web.Response(status=304) if known else web.Response(body=listed)
            response.etag = tag
            self.answered.append(response.status)
            return response

        async def give_keys(call: Call) -> web.Response:
            body = MachineKeys(keys=self.keys).model_dump_json().encode()
            if has_tag(call.request, sha256_of(body)):
                with suppress(TimeoutError):
                    async with asyncio.timeout(5):
                        await self.told.wait()
                return web.Response(status=304)
            return web.Response(body=body)

        roles = frozenset({"steering"})
        table = [
            Route("GET", "/v1/packages", give, "Packages", answer=PackageList, roles=roles),
            Route("GET", "/v1/machines", give_keys, "Keys", answer=MachineKeys, roles=roles),
        ]
        self.runner, self.url = await serve_http(make_app(table, authenticate), "127.0.0.1:0")

    async def stop(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()
            self.runner = None


class Fleet:
    """A running steering, and everyone who talks to it."""

    def __init__(self, control: ControlPlane, session: ClientSession, url: str) -> None:
        self.control = control
        self.session = session
        self.url = url

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        by: Identity | None = None,
        audience: str = "steering",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes, Any]:
        """Status, body and headers of the answer to a request signed by `by`."""
        sent = dict(headers or {})
        if by is not None:
            sent["Authorization"] = f"Bearer {sign_machine_token(by, audience, int(time.time()))}"
        data = body if isinstance(body, bytes | None) else body.model_dump_json().encode()
        async with self.session.request(method, self.url + path, data=data, headers=sent) as answer:
            return answer.status, await answer.read(), answer.headers

    async def report(self, name: str, sequence: int = 1, **changes: Any) -> int:
        host = f"127.0.{list(SITE_OF.values()).index(SITE_OF[name]) + 1}.{name[-1]}"
        said = report(
            name,
            time.time(),
            site=SITE_OF[name],
            url=f"http://{host}:8090",
            sequence=sequence,
            **changes,
        )
        by = self.control.appliances[name]
        return (await self.ask("PUT", f"/v1/reports/{name}", said, by=by))[0]

    async def hold(self, name: str, *packages: str, sequence: int = 0) -> int:
        message = holdings(sequence, *((p, "v-avc-720", 1.0) for p in packages), snapshot=True)
        by = self.control.appliances[name]
        return (await self.ask("PUT", f"/v1/holdings/{name}", message, by=by))[0]

    async def everyone_reports(self) -> None:
        assert {await self.report(name) for name in SITE_OF} == {200}

    async def rank(self, **asked: Any) -> RankAnswer:
        body = json.dumps({"package_id": P} | asked).encode()
        status, raw, _ = await self.ask("POST", "/v1/rank", body, by=self.control.control)
        assert status == 200, raw
        return RankAnswer.model_validate_json(raw)

    async def notices(self, name: str, since: int, wait_s: float = 10) -> Notices:
        path = f"/v1/notices/{name}?since={since}&wait_s={wait_s}"
        status, raw, _ = await self.ask("GET", path, by=self.control.appliances[name])
        assert status == 200, raw
        return Notices.model_validate_json(raw)

    async def plan(self, name: str, tag: str = "") -> tuple[int, Plan | None, str]:
        headers = {"If-None-Match": tag} if tag else {}
        by = self.control.appliances[name]
        status, raw, got = await self.ask("GET", f"/v1/plans/{name}", by=by, headers=headers)
        return status, Plan.model_validate_json(raw) if status == 200 else None, got.get("ETag", "")

    async def until_packages(self, count: int) -> None:
        """Steering has heard of this many packages."""
        async with asyncio.timeout(5):
            while True:
                _, raw, _ = await self.ask("GET", "/readyz")
                if json.loads(raw)["packages"] == count:
                    return
                await asyncio.sleep(0.01)


@asynccontextmanager
async def running(data: Path, control: ControlPlane, **changes: Any) -> AsyncIterator[Fleet]:
    """A steering on the data folder, until the end of the block."""
    fields = {
        "listen": "127.0.0.1:0",
        "control_plane_url": control.url,
        "catalog_poll_s": 0.05,
        "ttl_s": 10,
    }
    settings = SteeringSettings.model_validate(fields | changes)
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    class Watched(Service):
        def ready(self, **urls: str) -> None:
            ready.set_result(urls["http"])

    service = Watched("steering", "test", None)
    task = asyncio.create_task(serve(service, data, settings), name="steering")
    either: list[asyncio.Future[Any]] = [ready, task]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    try:
        if task.done():
            await task
        async with ClientSession() as session:
            yield Fleet(control, session, ready.result())
    finally:
        service.stop()
        await task

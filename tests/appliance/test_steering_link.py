"""What steering says, on a bad day of ours."""

import asyncio
import errno
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from appliance import steering_link
from appliance.holdings import Ledger
from appliance.steering_link import SteeringLink
from media.fleet import Notices, ReportAnswer
from runtime.durable import write_durably
from tests.steering_fleet import report


async def test_notices_are_heard_again_when_the_disk_was_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def notices(request: web.Request) -> web.Response:
        return web.Response(text=Notices(version=7, draining=True).model_dump_json())

    full = iter((True, True))

    def write(path: Path, data: bytes) -> None:
        if next(full, False):
            raise OSError(errno.ENOSPC, "No space left on device")
        write_durably(path, data)

    monkeypatch.setattr(steering_link, "write_durably", write)
    monkeypatch.setattr(steering_link, "_RETRY_S", 0.01)
    app = web.Application()
    app.router.add_get("/v1/notices/north-1", notices)
    obeyed: asyncio.Future[Notices] = asyncio.get_running_loop().create_future()
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        link = SteeringLink(str(server.make_url("/")), "north-1", session, lambda: "word")
        hearing = asyncio.create_task(
            link.hear_notices(tmp_path / "notices.json", Notices(version=0), obeyed.set_result)
        )
        async with asyncio.timeout(5):
            assert (await obeyed).version == 7
        hearing.cancel()
    assert b'"version":7' in (tmp_path / "notices.json").read_bytes()


async def test_reports_come_as_often_as_steering_wants_them() -> None:
    came: asyncio.Queue[None] = asyncio.Queue()

    async def take(request: web.Request) -> web.Response:
        came.put_nowait(None)
        return web.Response(text=ReportAnswer(within_s=0.3).model_dump_json())

    async def took(request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_put("/v1/reports/a1", take)
    app.router.add_put("/v1/holdings/a1", took)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        link = SteeringLink(str(server.make_url("/")), "a1", session, lambda: "word")
        work = link.report(report, lambda: "calm", Ledger("boot-1"), interval_s=3600)
        reporting = asyncio.create_task(work, name="reports")
        async with asyncio.timeout(10):
            await came.get()
            await came.get()
        reporting.cancel()

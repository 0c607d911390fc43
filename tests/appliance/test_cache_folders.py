"""A real appliance with two cache folders, one of which is out of order."""

import asyncio
import json
from pathlib import Path

from media.fleet import HealthState
from tests.appliance.conftest import Standing
from tests.appliance.test_serving import get
from tests.packages import make_keys


async def asked(standing: Standing, path: str) -> str:
    assert standing.daemon is not None
    status, body, _ = await get(f"{standing.daemon.urls['admin']}{path}")
    assert status == 200
    return body.decode()


async def state_of(standing: Standing) -> tuple[HealthState, str]:
    report = json.loads(await asked(standing, "/v1/state"))["report"]
    return report["state"], report["bottleneck"]


async def test_a_folder_out_of_order_is_reported_and_done_without(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"no folder")
    standing = Standing(tmp_path, make_keys(tmp_path, "north-1"))
    standing.settings = {
        "cache_dirs": f"{tmp_path}/good=50000000,{tmp_path}/bad",
        "policy": "sieve",
    }
    await standing.start()
    try:
        package = standing.package()
        for turn in range(2):
            for path, data in package.files.items():
                status, body, fields = await get(standing.url(package, path))
                assert (status, body) == (200, data)
                assert turn == 0 or fields["Cache-Status"].endswith("hit")
        state, bottleneck = await state_of(standing)
        assert state == "strained" and "/bad: " in bottleneck
        lines = (await asked(standing, "/metrics")).splitlines()
        told = "nearcast_appliance_cache_folder_in_service"
        assert f'{told}{{folder="{tmp_path}/good"}} 1.0' in lines
        assert f'{told}{{folder="{tmp_path}/bad"}} 0.0' in lines
        assert "nearcast_appliance_cache_budget_bytes 5e+07" in lines
        await standing.stop()
        # The disk is there after all, and files have their places in both.
        (tmp_path / "bad").unlink()
        await standing.start()
        for _ in range(2):
            async with asyncio.timeout(10):
                for path, data in package.files.items():
                    assert (await get(standing.url(package, path)))[1] == data
        assert (await state_of(standing))[0] == "serving"
    finally:
        await standing.stop()

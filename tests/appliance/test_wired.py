"""A real appliance under load, and what its players say."""

import asyncio
import time

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from media.ids import id_from
from tests.appliance.conftest import Standing

SAYS = "?CMCD=bs%2Cbl%3D4000%2Cot%3Dv%2Cmsd%3D700"


async def metrics(standing: Standing) -> dict[tuple[str, ...], float]:
    """Samples by name, without prefix, and label."""
    assert standing.daemon is not None
    url = f"{standing.daemon.urls['admin']}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        text = await answer.text()
    return {
        (sample.name.removeprefix("nearcast_appliance_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.parametrize("appliance", [{"early_fills": "0"}], indirect=True)
async def test_what_players_say_reaches_the_admin_port(appliance: Standing) -> None:
    assert appliance.daemon is not None
    package = appliance.package()
    sessions = f"{appliance.daemon.urls['admin']}/v1/sessions"
    async with aiohttp.ClientSession() as session:
        for name in ("1.m4s", "2.m4s"):
            url = appliance.url(package, f"v-avc-720/{name}") + SAYS
            for _ in range(3):
                async with session.get(url) as answer:
                    await answer.read()
        async with asyncio.timeout(10):
            while True:
                async with session.get(sessions) as answer:
                    told = await answer.json()
                if told["totals"]["requests"] == 6:
                    break
                await asyncio.sleep(0.05)
    assert [one["startup_ms"] for one in told["sessions"]] == [700, 700]
    told = await metrics(appliance)
    assert told["hit_first_byte_seconds_count",] == 4
    assert told["fill_first_byte_seconds_count",] == 4  # inventory, list and two segments
    assert told["answers_total", "2xx"] == 6
    assert told["flights",] == 0


@pytest.mark.parametrize("appliance", [{"capacity_bps": "1000000"}], indirect=True)
async def test_beyond_capacity_new_sessions_are_refused_and_running_ones_are_not(
    appliance: Standing,
) -> None:
    package = appliance.package()
    running = id_from("ses", int(time.time() * 1000) - 60_000, 5)

    async def get(session: aiohttp.ClientSession, **claims: object) -> tuple[int, str]:
        url = appliance.url(package, "v-avc-720/3.m4s", **claims)
        async with session.get(url) as answer:
            await answer.read()
            return answer.status, answer.headers.get("Retry-After", "")

    async with aiohttp.ClientSession() as session, asyncio.timeout(20):
        while (told := await get(session))[0] == 200:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert told[0] == 503 and 2 <= int(told[1]) <= 7
        assert (await get(session, session_id=running))[0] == 200
    seen = await metrics(appliance)
    assert seen["sheds_total", "first"] == 1
    assert seen["health_state", "strained"] == 1

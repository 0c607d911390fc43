"""Steering is away: sessions start all the same, by what it knew last."""

import asyncio
from pathlib import Path

import aiohttp

from control_plane.clock import utc_now
from control_plane.standby import Standby
from control_plane.steering_client import SteeringClient
from media.api import Regions
from media.fleet import RankRequest
from media.ids import new_id
from tests.control_plane.house import House, code_of


async def test_sessions_start_without_steering(house: House):
    title = await house.published()
    assert await code_of(_away(house, title)) == "steering_unavailable"  # nothing is known yet
    await house.start_steering()
    await house.control.standby.refresh()
    await house.stop_steering()
    session = await house.play(title)
    # By its own map: the south serves loopback, and the north is the other way.
    assert [p.appliance_id for p in session.pathways] == ["south-1", "north-1"]
    assert session.region == "south"
    viewer = await house.account("viewer")
    assert (await viewer.call("GET", "/v1/regions", Regions)).regions == ("north", "south")
    assert (await house.play(title, region="north")).pathways[0].appliance_id == "north-1"
    assert await code_of(house.play(title, region="atlantis")) == "unknown_region"
    async with aiohttp.ClientSession() as browser, browser.get(session.hls_url) as answer:
        playlist = await answer.text()
    assert answer.status == 200
    # Both pathways are there, and nobody who would steer between them.
    assert "127.0.1.1:8090" in playlist and "127.0.2.1:8090" in playlist
    assert "CONTENT-STEERING" not in playlist
    await house.start_steering()
    async with asyncio.timeout(10):  # its rest over, steering is asked again
        # An answer over HTTP rings no bell.
        while (await house.play(title)).pathways[0].appliance_id != "north-1":  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_who_was_dead_or_draining_is_not_chosen(house: House):
    dead = house.steering.pathways[1].appliance_id
    house.steering.dead = {dead}
    await house.control.standby.refresh()
    answer = house.control.standby.rank(RankRequest(package_id=new_id("pkg"), client="127.0.0.1"))
    assert answer is not None
    assert [p.appliance_id for p in answer.pathways] == ["north-1"]
    assert [(s.appliance_id, s.code) for s in answer.skipped] == [(dead, "H")]
    assert answer.skipped[0].why.startswith("silent")


async def test_the_copy_outlives_a_restart_and_may_be_broken(house: House, tmp_path: Path):
    steering = SteeringClient(house.steering.url, house.identities["control"], utc_now)
    standby = Standby(steering, tmp_path / "copy.json")
    assert standby.rank(RankRequest(package_id=new_id("pkg"))) is None
    await standby.refresh()
    again = Standby(steering, tmp_path / "copy.json")
    answer = again.rank(RankRequest(package_id=new_id("pkg")))
    assert answer is not None and len(answer.pathways) == 2
    # Steering that has just started knows nobody: the copy stands.
    house.steering.pathways = []
    await again.refresh()
    assert again.rank(RankRequest(package_id=new_id("pkg"))) is not None
    (tmp_path / "copy.json").write_text("{")
    assert Standby(steering, tmp_path / "copy.json").rank(
        RankRequest(package_id=new_id("pkg"))
    ) is None  # fmt: skip
    await steering.close()


async def _away(house: House, title):
    await house.stop_steering()
    return await house.play(title)

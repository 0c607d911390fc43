"""Sessions: what is refused, and in which words."""

import socket
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

import control_plane.steering_client
from lab.peers.process import free_port
from media.api import Session, SteerAnswer
from media.fleet import Roster, Skipped
from media.ids import new_id
from tests.control_plane.house import House, code_of, open_house, send


async def test_no_session_for_what_is_not_there(house: House):
    viewer = await house.account("viewer")
    start = send(viewer, "POST", "/v1/sessions", title_id=new_id("ttl"))
    assert await code_of(start) == "unknown_title"
    assert await code_of(send(viewer, "POST", "/v1/sessions", title_id="x")) == "invalid_field"


async def test_an_unknown_region(house: House):
    title = await house.published()
    assert await code_of(house.play(title, region="atlantis")) == "unknown_region"
    assert await code_of(house.play(title, region="Not a name")) == "invalid_field"


async def test_no_appliance_says_who_was_passed_over(house: House):
    title = await house.published()
    house.steering.pathways = []
    house.steering.skipped = [Skipped(appliance_id="north-1", code="H", why="disk errors")]
    viewer = await house.account("viewer")
    with pytest.raises(Exception, match="north-1: disk errors") as caught:
        await send(viewer, "POST", "/v1/sessions", title_id=title.title_id)
    assert caught.value.code == "no_appliance"


async def test_steering_away(house: House):
    title = await house.published()
    await house.stop_steering()
    viewer, operator = await house.account("viewer"), await house.account("operator")
    body = {"title_id": title.title_id}
    headers = {"Authorization": f"Bearer {await house.access_token('viewer')}"}
    async with (
        aiohttp.ClientSession(headers=headers) as browser,
        browser.post(f"{house.url}/v1/sessions", json=body) as answer,
    ):
        assert (answer.status, (await answer.json())["code"]) == (503, "steering_unavailable")
    assert await code_of(send(viewer, "GET", "/v1/regions")) == "steering_unavailable"
    assert await code_of(send(operator, "GET", "/v1/fleet")) == "steering_unavailable"
    steer = send(operator, "GET", f"/v1/titles/{title.title_id}/steer")
    assert await code_of(steer) == "steering_unavailable"


async def test_steering_that_hangs_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(control_plane.steering_client, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, says nothing
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with open_house(tmp_path) as elsewhere:
            title = await elsewhere.published()
        async with open_house(tmp_path, steering_url=url) as house:
            start = send(
                await house.account("admin"), "POST", "/v1/sessions", title_id=title.title_id
            )
            assert await code_of(start) == "steering_unavailable"


async def test_what_concerns_the_caller_is_passed_on(house: House):
    title = await house.published()
    for code, heard in {"purged": "purged", "overloaded": "steering_unavailable"}.items():
        house.steering.refuses = code
        assert await code_of(house.play(title)) == heard


async def test_our_own_quarrel_with_steering_is_not_the_viewers(house: House):
    """Steering refuses our token: for the viewer it is away, nobody has to sign in again."""
    title = await house.published()
    house.steering.ring = type(house.steering.ring)([])
    assert await code_of(house.play(title)) == "steering_unavailable"


async def test_a_key_opens_its_own_session_only(house: House):
    title = await house.published()
    one, other = await house.play(title), await house.play(title)
    key = one.hls_url.split("/")[-2]
    for url, status, code in (
        (other.hls_url.replace(other.hls_url.split("/")[-2], key), 403, "token_invalid"),
        (one.hls_url.replace(key, "0" * 32), 403, "token_invalid"),
        (one.hls_url.replace(one.session_id, new_id("ses")), 403, "token_invalid"),
        (one.dash_url.replace(key, "0" * 32), 403, "token_invalid"),
        (one.hls_url.replace(key, "short"), 404, "not_found"),
    ):
        async with aiohttp.ClientSession() as browser, browser.get(url) as answer:
            assert (answer.status, (await answer.json())["code"]) == (status, code)


async def test_sessions_end_with_their_tokens(house: House):
    session = await house.play(await house.published())
    house.clock.advance(4 * 3600 + 23)
    async with aiohttp.ClientSession() as browser, browser.get(session.hls_url) as answer:
        assert answer.status == 200
    house.clock.advance(2)
    async with aiohttp.ClientSession() as browser, browser.get(session.hls_url) as answer:
        assert (await answer.json())["code"] == "unknown_session"
    await house.control.playback.drop_expired()


async def test_a_session_is_its_owners_and_the_operators(house: House):
    session = await house.play(await house.published())
    path = f"/v1/sessions/{session.session_id}"
    admin = await house.account("admin")
    new = {"name": "someone", "password": "another viewer", "role": "viewer"}
    await send(admin, "POST", "/v1/users", **new)
    login = {"name": "someone", "password": "another viewer"}
    token = (await send(house.anonymous(), "POST", "/v1/auth/login", **login))["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as browser:
        for method in ("GET", "DELETE"):
            async with browser.request(method, house.url + path) as answer:
                assert (await answer.json())["code"] == "unknown_session"
    operator = await house.account("operator")
    assert (await operator.call("GET", path, Session)).session_id == session.session_id


async def test_an_operator_ends_a_session_on_the_appliances_too(house: House):
    title = await house.published()
    own, ended = await house.play(title), await house.play(title)
    viewer, operator = await house.account("viewer"), await house.account("operator")
    await viewer.call_raw("DELETE", f"/v1/sessions/{own.session_id}")
    assert house.steering.revoked == []
    path = f"/v1/sessions/{ended.session_id}"
    await house.stop_steering()
    assert await code_of(operator.call_raw("DELETE", path)) == "steering_unavailable"
    await house.start_steering()
    await operator.call_raw("DELETE", path)
    (revoked,) = house.steering.revoked
    assert revoked.session_id == ended.session_id
    assert revoked.until - ended.expires_at == timedelta(seconds=60)
    assert await code_of(operator.call("GET", path, Session)) == "unknown_session"


async def test_sessions_outlive_a_restart(tmp_path: Path):
    """Addresses and tokens come from secrets on disk, not from memory."""
    port = free_port()
    async with open_house(tmp_path, listen=f"127.0.0.1:{port}") as house:
        session = await house.play(await house.published())
    async with (
        open_house(tmp_path, listen=f"127.0.0.1:{port}"),
        aiohttp.ClientSession() as browser,
        browser.get(session.hls_url) as answer,
    ):
        assert session.base_path in await answer.text()


async def test_simulated_regions_can_be_switched_off(tmp_path: Path):
    async with open_house(tmp_path, simulate_regions=False) as house:
        title = await house.published()
        assert await code_of(house.play(title, region="south")) == "region_not_simulated"
        assert (await house.play(title)).region == "north"


async def test_addresses_are_public_ones(tmp_path: Path):
    async with open_house(tmp_path) as house:
        title = await house.published()
    async with open_house(tmp_path, public_url="https://films.example/") as house:
        session = await house.play(title, "admin")
        assert session.hls_url.startswith(
            f"https://films.example/v1/sessions/{session.session_id}/"
        )


async def test_steer_shows_the_ranking_and_opens_nothing(house: House):
    title = await house.published()
    operator = await house.account("operator")
    path = f"/v1/titles/{title.title_id}/steer"
    here = await operator.call("GET", path, SteerAnswer)
    assert [p.appliance_id for p in here.pathways] == ["north-1", "south-1"]
    assert here.pathways[0].reasons == ("same region",)
    await operator.call("GET", path, SteerAnswer, query={"region": "south"})
    await operator.call("GET", path, SteerAnswer, query={"client": "203.0.113.7"})
    asked = [(wanted.region, wanted.client, wanted.session_id) for wanted in house.steering.asked]
    assert asked == [
        (None, "127.0.0.1", None),
        ("south", "127.0.0.1", None),
        (None, "203.0.113.7", None),
    ]
    wrong = operator.call("GET", path, SteerAnswer, query={"client": "not an address"})
    assert await code_of(wrong) == "invalid_field"


async def test_the_fleet_is_steerings(house: House):
    operator, viewer = await house.account("operator"), await house.account("viewer")
    roster = await operator.call("GET", "/v1/fleet", Roster)
    assert [entry.report.appliance_id for entry in roster.appliances] == ["north-1", "south-1"]
    assert await send(viewer, "GET", "/v1/regions") == {"regions": ["north", "south"]}
    await send(operator, "PUT", "/v1/fleet/south-1/drain", draining=True)
    assert house.steering.drains == {"south-1": True}
    drain = send(operator, "PUT", "/v1/fleet/nobody/drain", draining=True)
    assert await code_of(drain) == "unknown_appliance"


async def test_purges_are_steerings(house: House):
    operator, pattern = await house.account("operator"), "titles/*/v-avc-720/*"
    ordered = await send(operator, "POST", "/v1/purges", pattern=pattern)
    assert (ordered["pattern"], ordered["state"]) == (pattern, "pending")
    path = f"/v1/purges/{ordered['job_id']}"
    assert await send(operator, "GET", path) == ordered
    assert (await send(operator, "POST", f"{path}/cancel"))["state"] == "cancelled"
    (listed,) = (await send(operator, "GET", "/v1/purges"))["purges"]
    assert (listed["state"], "appliances" in listed) == ("cancelled", False)
    unknown = send(operator, "GET", f"/v1/purges/{new_id('job')}")
    assert await code_of(unknown) == "unknown_purge"
    for wrong in (
        {},
        {"pattern": "/*"},
        {"title_id": new_id("ttl"), "pattern": "*"},
        {"package_id": new_id("pkg"), "until": "2100-01-01T00:00:00Z"},
    ):
        assert await code_of(send(operator, "POST", "/v1/purges", **wrong)) in (
            "invalid_field",
            "bad_request",
        )


async def test_a_viewer_behind_a_trusted_proxy_is_placed_by_its_own_address(tmp_path: Path):
    async with open_house(tmp_path, trusted_proxies=("127.0.0.0/8",)) as house:
        title = await house.published()
        headers = {
            "Authorization": f"Bearer {await house.access_token('viewer')}",
            "X-Forwarded-For": "203.0.113.1, 192.0.2.9",  # the first one is the viewer's own idea
        }
        body = {"title_id": title.title_id}
        async with (
            aiohttp.ClientSession(headers=headers) as browser,
            browser.post(f"{house.url}/v1/sessions", json=body) as answer,
        ):
            assert answer.status == 201
        assert house.steering.asked[-1].client == "192.0.2.9"

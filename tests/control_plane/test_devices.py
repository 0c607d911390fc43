"""Devices: refresh tokens are used once, whoever shows an old one signs the device out, and a
sign-out counts at once."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from control_plane.devices import GRACE
from control_plane.tables import DeviceRow, UserRow
from media.accounts import MAX_DEVICES
from runtime.client import Client
from runtime.state import StateUnavailable
from tests.control_plane.house import BOTH, PASSWORD, House, code_of, send

pytestmark = BOTH

BEYOND_S = GRACE.total_seconds() + 1


async def signed_in(house: House, name: str = "viewer", **more: Any) -> dict[str, Any]:
    await house.account(name)
    login = {"name": name, "password": PASSWORD, **more}
    return await send(house.anonymous(), "POST", "/v1/auth/login", **login)


async def refresh(house: House, tokens: dict[str, Any]) -> dict[str, Any]:
    given = {"refresh_token": tokens["refresh_token"]}
    return await send(house.anonymous(), "POST", "/v1/auth/refresh", **given)


async def code_with(
    house: House, tokens: dict[str, Any], method: str = "GET", path: str = "/v1/me"
):
    async with Client(house.url, authorize=lambda: tokens["access_token"]) as api:
        return await code_of(send(api, method, path))


async def listed(house: House, tokens: dict[str, Any]) -> list[dict[str, Any]]:
    async with Client(house.url, authorize=lambda: tokens["access_token"]) as api:
        return list((await send(api, "GET", "/v1/devices"))["devices"])


async def test_a_refresh_token_is_replaced_each_time(house: House):
    tokens = await signed_in(house)
    seen = {tokens["refresh_token"]}
    for _ in range(3):
        house.clock.advance(BEYOND_S)
        tokens = await refresh(house, tokens)
        assert tokens["refresh_token"] not in seen
        seen.add(tokens["refresh_token"])
        assert await code_with(house, tokens) == ""


async def test_one_that_is_shown_again_signs_the_device_out(house: House):
    """Thief and owner hold the same token: whoever comes second ends it for both."""
    stolen = await signed_in(house)
    mine = await refresh(house, stolen)
    house.clock.advance(BEYOND_S)
    assert await code_of(refresh(house, stolen)) == "signed_out"
    assert await code_of(refresh(house, mine)) == "signed_out"
    assert await code_with(house, mine) == "signed_out"  # its access token, too, and at once


async def test_an_answer_that_got_lost_is_given_again(house: House):
    tokens = await signed_in(house)
    lost, again = await asyncio.gather(refresh(house, tokens), refresh(house, tokens))
    assert lost["refresh_token"] == again["refresh_token"]
    house.clock.advance(BEYOND_S)
    assert await code_of(refresh(house, again)) == ""


async def test_two_generations_old_is_not_forgiven(house: House):
    first = await signed_in(house)
    await refresh(house, await refresh(house, first))
    assert await code_of(refresh(house, first)) == "signed_out"


async def test_a_forged_one_signs_nobody_out(house: House):
    tokens = await signed_in(house)
    device, generation, mac = tokens["refresh_token"].split(".")
    forged = [
        f"{device}.{generation}.{'0' * 64}",
        f"{device}.2.{mac}",
        f"{device}.{generation}",
        f"{device}.-1.{mac}",
        f"{device}.{'9' * 30}.{mac}",
        "x",
        "\N{SNOWMAN}" * 60,
    ]
    for token in forged:
        given = {"refresh_token": token}
        assert await code_of(refresh(house, given)) == "token_invalid", token
    assert await code_of(refresh(house, tokens)) == ""


async def test_nobody_stays_signed_in_for_ever(house: House):
    tokens = await signed_in(house)
    house.clock.advance(29 * 86_400)
    tokens = await refresh(house, tokens)
    house.clock.advance(31 * 86_400)
    assert await code_of(refresh(house, tokens)) == "signed_out"
    await house.control.accounts.devices.drop_expired()
    database = house.control.playback._database
    async with database.reading() as session:
        assert (await session.scalars(select(DeviceRow.device_id))).all() == []


async def test_signing_out_ends_both_tokens(house: House):
    tokens = await signed_in(house)
    assert await code_with(house, tokens, "POST", "/v1/auth/logout") == ""
    assert await code_with(house, tokens) == "signed_out"
    assert await code_of(refresh(house, tokens)) == "signed_out"


async def test_devices_are_listed_and_signed_out_one_by_one(house: House):
    phone = await signed_in(house, device="Anna's phone")
    house.clock.advance(1)
    laptop = await signed_in(house, device="Laptop")
    found = await listed(house, laptop)
    assert [d["name"] for d in found][:2] == ["Laptop", "Anna's phone"]
    assert [d["current"] for d in found][:2] == [True, False]
    path = f"/v1/devices/{found[1]['device_id']}"
    assert await code_with(house, laptop, "DELETE", path) == ""
    assert await code_with(house, phone) == "signed_out"
    assert await code_with(house, laptop) == ""


async def test_of_too_many_devices_the_longest_unseen_goes(house: House):
    first = await signed_in(house)
    for _ in range(MAX_DEVICES):
        house.clock.advance(1)
        last = await signed_in(house)
    assert len(await listed(house, last)) == MAX_DEVICES
    assert await code_with(house, first) == "signed_out"


async def test_a_new_password_leaves_this_device_only(house: House):
    here, there = await signed_in(house), await signed_in(house)
    async with Client(house.url, authorize=lambda: here["access_token"]) as api:
        change = {"old": "wrong", "new": "another long one"}
        assert await code_of(send(api, "PUT", "/v1/me/password", **change)) == "wrong_credentials"
        change["old"] = PASSWORD
        await send(api, "PUT", "/v1/me/password", **change)
    assert await code_with(house, here) == ""
    assert await code_with(house, there) == "signed_out"
    login = {"name": "viewer", "password": "another long one"}
    await send(house.anonymous(), "POST", "/v1/auth/login", **login)


async def test_what_an_admin_changes_counts_at_once(house: House):
    tokens = await signed_in(house)
    admin = await house.account("admin")
    users = (await send(admin, "GET", "/v1/users"))["users"]
    path = next(f"/v1/users/{user['user_id']}" for user in users if user["name"] == "viewer")
    await send(admin, "PATCH", path, role="operator")
    assert await code_with(house, tokens) == "signed_out"
    tokens = await signed_in(house)
    assert await code_with(house, tokens, "GET", "/v1/jobs") == ""
    await send(admin, "PATCH", path, disabled=True)
    assert await code_with(house, tokens) == "signed_out"
    assert await code_of(signed_in(house)) == "wrong_credentials"
    await send(admin, "PATCH", path, disabled=False)
    await signed_in(house)
    await send(admin, "DELETE", path)
    assert await code_of(signed_in(house)) == "wrong_credentials"


async def test_without_the_shared_state_tokens_last_to_their_end(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    tokens = await signed_in(house)

    async def away(*_: object) -> bytes:
        raise StateUnavailable("gone")

    monkeypatch.setattr(house.control.accounts.devices._state, "get", away)
    assert await code_with(house, tokens) == ""


async def test_an_account_that_goes_while_it_signs_in_gets_nothing(house: House):
    """Its password was right a moment ago."""
    devices, database = house.control.accounts.devices, house.control.playback._database
    await house.account("viewer")
    admin = await house.account("admin")
    async with database.reading() as session:
        found = (await session.scalars(select(UserRow).where(UserRow.name == "viewer"))).one()
    for change in (("PATCH", {"disabled": True}), ("DELETE", {})):
        await send(admin, change[0], f"/v1/users/{found.user_id}", **change[1])
        assert await code_of(devices.sign_in(found, "phone")) == "wrong_credentials"


async def test_who_is_thrown_out_plays_no_further(house: House):
    """On appliances, too: their tokens would last for hours."""
    title = await house.published()
    sessions = [(await house.play(title)).session_id for _ in range(2)]
    await house.play(title, "operator")
    admin = await house.account("admin")
    users = (await send(admin, "GET", "/v1/users"))["users"]
    path = next(f"/v1/users/{user['user_id']}" for user in users if user["name"] == "viewer")
    await send(admin, "PATCH", path, role="operator")
    assert house.steering.revoked == []  # it may still watch
    await send(admin, "PATCH", path, disabled=True)
    assert sorted(one.session_id for one in house.steering.revoked) == sorted(sessions)
    for session_id in sessions:
        assert await code_of(send(admin, "GET", f"/v1/sessions/{session_id}")) == "unknown_session"
    await send(admin, "DELETE", path)
    operator = next(f"/v1/users/{user['user_id']}" for user in users if user["name"] == "operator")
    await send(admin, "DELETE", operator)
    assert len(house.steering.revoked) == 3

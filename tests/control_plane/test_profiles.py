"""Profiles: people who share an account."""

import asyncio

from media.accounts import MAX_PROFILES
from media.ids import new_id
from tests.control_plane.house import BOTH, House, code_of, send

pytestmark = BOTH


async def names(house: House, who: str = "viewer") -> list[str]:
    api = await house.account(who)
    return [p["name"] for p in (await send(api, "GET", "/v1/profiles"))["profiles"]]


async def test_profiles_are_made_changed_and_removed(house: House):
    api = await house.account("viewer")
    anna = await send(api, "POST", "/v1/profiles", name="Anna")
    kids = await send(api, "POST", "/v1/profiles", name="Kids", maturity=6)
    assert (anna["maturity"], kids["maturity"]) == (None, 6)
    assert await names(house) == ["Anna", "Kids"]
    path = f"/v1/profiles/{kids['profile_id']}"
    assert (await send(api, "PATCH", path, maturity=12))["name"] == "Kids"
    assert (await send(api, "PATCH", path, maturity=None))["maturity"] is None
    assert (await send(api, "PATCH", path, name="Teens"))["name"] == "Teens"
    await send(api, "DELETE", path)
    assert await names(house) == ["Anna"]


async def test_what_does_not_fit_is_refused(house: House):
    api = await house.account("viewer")
    anna = await send(api, "POST", "/v1/profiles", name="Anna")
    await send(api, "POST", "/v1/profiles", name="Bo")
    path = f"/v1/profiles/{anna['profile_id']}"
    assert await code_of(send(api, "POST", "/v1/profiles", name="Anna")) == "name_taken"
    assert await code_of(send(api, "PATCH", path, name="Bo")) == "name_taken"
    for wrong in ({"name": ""}, {"maturity": 99}, {"user_id": new_id("usr")}, {"name": "a\nb"}):
        assert await code_of(send(api, "PATCH", path, **wrong)) == "invalid_field", wrong
    assert await code_of(api.call_raw("PATCH", path)) == "bad_request"


async def test_the_limit_holds_when_many_are_made_at_once(house: House):
    api = await house.account("viewer")
    making = (send(api, "POST", "/v1/profiles", name=f"p{n}") for n in range(MAX_PROFILES * 3))
    codes = await asyncio.gather(*(code_of(one) for one in making))
    assert codes.count("") == MAX_PROFILES
    assert set(codes) == {"", "too_many"}
    assert len(await names(house)) == MAX_PROFILES

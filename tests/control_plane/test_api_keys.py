"""API keys: a role of their own, never above their owner's, and no way to more of them."""

from datetime import timedelta
from typing import Any

from control_plane.clock import utc_now
from media.accounts import MAX_API_KEYS
from runtime.client import Client
from tests.control_plane.house import BOTH, PASSWORD, House, code_of, send

pytestmark = BOTH


async def made(house: House, who: str, role: str, **more: Any) -> dict[str, Any]:
    api = await house.account(who)
    return await send(api, "POST", "/v1/api-keys", name="nightly", role=role, **more)


async def code_with(house: House, secret: str, method: str, path: str, **body: Any) -> str:
    async with Client(house.url, authorize=lambda: secret) as api:
        return await code_of(send(api, method, path, **body))


async def test_a_key_may_what_its_role_may(house: House):
    key = await made(house, "admin", "operator")
    assert await code_with(house, key["secret"], "GET", "/v1/jobs") == ""
    assert await code_with(house, key["secret"], "GET", "/v1/users") == "not_allowed"


async def test_no_key_is_above_its_owner(house: House):
    assert await code_of(made(house, "operator", "admin")) == "not_allowed"
    key = await made(house, "operator", "operator")
    admin = await house.account("admin")
    users = (await send(admin, "GET", "/v1/users"))["users"]
    path = next(f"/v1/users/{user['user_id']}" for user in users if user["name"] == "operator")
    await send(admin, "PATCH", path, role="viewer")
    assert await code_with(house, key["secret"], "GET", "/v1/jobs") == "not_allowed"
    await send(admin, "PATCH", path, disabled=True)
    assert await code_with(house, key["secret"], "GET", "/v1/me") == "token_invalid"
    await send(admin, "DELETE", path)
    assert await code_with(house, key["secret"], "GET", "/v1/me") == "token_invalid"


async def test_a_key_cannot_make_itself_at_home(house: House):
    """Who steals one gets neither a second key nor the account."""
    secret = (await made(house, "viewer", "viewer"))["secret"]
    new = {"name": "more", "role": "viewer"}
    assert await code_with(house, secret, "POST", "/v1/api-keys", **new) == "not_allowed"
    change = {"old": PASSWORD, "new": "another long one"}
    assert await code_with(house, secret, "PUT", "/v1/me/password", **change) == "not_allowed"
    assert await code_with(house, secret, "POST", "/v1/auth/logout") == "not_allowed"


async def test_keys_end(house: House):
    soon = (utc_now() + timedelta(seconds=60)).isoformat()
    past = (utc_now() - timedelta(seconds=60)).isoformat()
    assert await code_of(made(house, "viewer", "viewer", expires_at=past)) == "invalid_field"
    short = await made(house, "viewer", "viewer", expires_at=soon)
    key = await made(house, "viewer", "viewer")
    house.clock.advance(61)
    assert await code_with(house, short["secret"], "GET", "/v1/me") == "token_expired"
    assert await code_with(house, key["secret"], "GET", "/v1/me") == ""
    api = await house.account("viewer")
    assert len((await send(api, "GET", "/v1/api-keys"))["keys"]) == 2
    path = f"/v1/api-keys/{key['key_id']}"
    assert await code_of(send(await house.account("operator"), "DELETE", path)) == "unknown_api_key"
    await send(api, "DELETE", path)
    assert await code_with(house, key["secret"], "GET", "/v1/me") == "token_invalid"


async def test_the_secret_is_told_once_and_not_kept(house: House):
    key = await made(house, "viewer", "viewer")
    secret = key["secret"].partition(".")[2]
    listed = await send(await house.account("viewer"), "GET", "/v1/api-keys")
    assert "secret" not in listed["keys"][0]
    for file in house.data.glob("control.db*"):
        assert secret.encode() not in file.read_bytes()
    other = f"{key['key_id']}.{'A' * 43}"
    assert await code_with(house, other, "GET", "/v1/me") == "token_invalid"


async def test_there_are_not_endlessly_many(house: House):
    for _ in range(MAX_API_KEYS):
        await made(house, "viewer", "viewer")
    assert await code_of(made(house, "viewer", "viewer")) == "too_many"

"""What is somebody's own is like nothing to everybody else, whatever their role: the same answer as
for what is not there, so that nobody learns which ids exist."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from control_plane.roles import VIEWERS
from media.ids import new_id
from runtime.client import Client
from tests.control_plane.house import PASSWORD, House, code_of, open_house, send

OTHERS = ("viewer", "operator", "admin")
# Each route whose path names something of one account's own, and what it says of another's.
OWN = {
    "DELETE /v1/devices/{device_id}": "unknown_device",
    "PATCH /v1/profiles/{profile_id}": "unknown_profile",
    "DELETE /v1/profiles/{profile_id}": "unknown_profile",
    "DELETE /v1/api-keys/{key_id}": "unknown_api_key",
    "GET /v1/sessions/{session_id}": "unknown_session",
    "POST /v1/sessions/{session_id}/heartbeat": "unknown_session",
    "DELETE /v1/sessions/{session_id}": "unknown_session",
}
# Each route that takes a profile beside its path.
WITH_PROFILE = {
    "GET /v1/titles",
    "GET /v1/titles/{title_id}",
    "GET /v1/titles/{title_id}/artwork",
    "GET /v1/home",
    "GET /v1/history",
    "DELETE /v1/history/{title_id}",
    "POST /v1/sessions",
}
BODIES: Mapping[str, dict[str, Any]] = {
    "PATCH /v1/profiles/{profile_id}": {"name": "mine"},
    "POST /v1/sessions/{session_id}/heartbeat": {"position_s": 1.0},
}
# Operators look after all sessions.
ALLOWED = {(address, role) for address in OWN if "/sessions/" in address
           for role in ("operator", "admin")}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("house")


def test_the_tables_are_whole(house: House):
    named = {
        f"{route.method} {route.path}"
        for route in house.control.routes
        if route.roles == VIEWERS and set(route.params) - {"title_id"}
    }
    assert named == set(OWN)
    asked = {
        f"{route.method} {route.path}"
        for route in house.control.routes
        for model in (route.query, route.body)
        if model is not None and "profile_id" in model.model_fields
    }
    assert asked == WITH_PROFILE


async def test_what_is_another_s_is_like_nothing(folder: Path):
    async with open_house(folder) as house:
        title = await house.published()
        owner = await _sign_in(house, "owner")
        theirs = await _belongings(owner, title.title_id)
        nothing = {
            "device_id": new_id("dev"),
            "profile_id": new_id("prf"),
            "key_id": new_id("key"),
            "session_id": new_id("ses"),
        }
        for role in OTHERS:
            api = await house.account(role)
            for address, code in OWN.items():
                method, path = address.split()
                for ids in (theirs, nothing):
                    got = await code_of(
                        send(api, method, path.format(**ids), **BODIES.get(address, {}))
                    )
                    allowed = (address, role) in ALLOWED and ids is theirs
                    assert got == ("" if allowed else code), (address, role)
                if address.startswith("DELETE /v1/sessions"):
                    theirs["session_id"] = await _session(owner, title.title_id)
            for address in WITH_PROFILE:
                for ids in (theirs, nothing):
                    got = await code_of(_with_profile(api, address, title.title_id, ids))
                    assert got == "unknown_profile", (address, role)
        # And nothing of it was touched.
        profiles = (await send(owner, "GET", "/v1/profiles"))["profiles"]
        assert [p["name"] for p in profiles] == ["Anna"]
        assert len((await send(owner, "GET", "/v1/api-keys"))["keys"]) == 1
        assert len((await send(owner, "GET", "/v1/devices"))["devices"]) == 1
        await owner.close()


async def _with_profile(api: Client, address: str, title_id: str, ids: dict[str, str]) -> None:
    method, path = address.split()
    profile = {"profile_id": ids["profile_id"]}
    if method == "POST":
        await send(api, method, path, title_id=title_id, **profile)
    else:
        await api.call_raw(method, path.format(title_id=title_id), query=profile)


async def _sign_in(house: House, name: str) -> Client:
    admin = await house.account("admin")
    await send(admin, "POST", "/v1/users", name=name, password=PASSWORD)
    login = {"name": name, "password": PASSWORD}
    tokens = await send(house.anonymous(), "POST", "/v1/auth/login", **login)
    return Client(house.url, authorize=lambda: tokens["access_token"])


async def _belongings(owner: Client, title_id: str) -> dict[str, str]:
    profile = await send(owner, "POST", "/v1/profiles", name="Anna")
    key = await send(owner, "POST", "/v1/api-keys", name="k", role="viewer")
    devices = json.loads(await owner.call_raw("GET", "/v1/devices"))["devices"]
    return {
        "device_id": devices[0]["device_id"],
        "profile_id": profile["profile_id"],
        "key_id": key["key_id"],
        "session_id": await _session(owner, title_id),
    }


async def _session(owner: Client, title_id: str) -> str:
    return str((await send(owner, "POST", "/v1/sessions", title_id=title_id))["session_id"])

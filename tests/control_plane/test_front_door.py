"""What every request meets first: limits, origins, and bodies that mean no good."""

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest

from runtime.admission import START
from runtime.client import Client
from tests.control_plane.house import House, code_of, open_house, send

PAGE = "https://tv.example"


async def headers(house: House, method: str, path: str, **sent: str) -> tuple[int, dict[str, str]]:
    async with (
        aiohttp.ClientSession() as browser,
        browser.request(method, house.url + path, headers=sent) as answer,
    ):
        return answer.status, dict(answer.headers)


async def test_pages_of_named_origins_may_use_the_api(tmp_path: Path):
    async with open_house(tmp_path, cors_origins=[PAGE]) as house:
        asked = {"Origin": PAGE, "Access-Control-Request-Method": "PATCH"}
        status, told = await headers(house, "OPTIONS", "/v1/titles/x", **asked)
        assert (status, told["Access-Control-Allow-Origin"]) == (204, PAGE)
        assert "PATCH" in told["Access-Control-Allow-Methods"]
        assert "Authorization" in told["Access-Control-Allow-Headers"]
        status, told = await headers(house, "GET", "/v1/titles", Origin=PAGE)
        assert (status, told["Access-Control-Allow-Origin"]) == (401, PAGE)
        assert told["Vary"] == "Origin"
        other = {"Origin": "https://evil.example", "Access-Control-Request-Method": "PATCH"}
        status, told = await headers(house, "OPTIONS", "/v1/titles/x", **other)
        assert status == 405 and "Access-Control-Allow-Origin" not in told
        assert "Access-Control-Allow-Credentials" not in told


async def test_by_default_no_page_of_another_origin_may(house: House):
    status, told = await headers(house, "GET", "/v1/titles", Origin=PAGE)
    assert status == 401 and "Access-Control-Allow-Origin" not in told
    assert told["X-Content-Type-Options"] == "nosniff"
    assert told["Cache-Control"] == "no-store"


async def test_a_caller_that_asks_without_end_is_told_to_wait(tmp_path: Path):
    async with open_house(tmp_path, caller_rate=1, caller_burst=20) as house:
        viewer, operator = await house.account("viewer"), await house.account("operator")
        asked = [code_of(send(viewer, "GET", "/v1/me")) for _ in range(30)]
        codes = await asyncio.gather(*asked)
        assert codes.count("too_many_requests") >= 10
        assert await code_of(send(operator, "GET", "/v1/me")) == ""  # others are not held up
        token = await house.access_token("viewer")
        status, told = await headers(house, "GET", "/v1/me", Authorization=f"Bearer {token}")
        assert status == 429 and int(told["Retry-After"]) >= 1


async def test_bodies_that_trickle_hold_up_nobody(house: House):
    """More of them than there are places: each would be one, if it were let in first."""
    host, port = house.url.removeprefix("http://").split(":")
    token = await house.access_token("viewer")
    head = (
        f"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        "Content-Length: 100\r\n\r\n{"
    )
    slow = [await asyncio.open_connection(host, int(port)) for _ in range(3 * START)]
    for _, writer in slow:
        writer.write(head.encode())
        await writer.drain()
    viewer = await house.account("viewer")
    looks = [code_of(send(viewer, "GET", "/v1/titles")) for _ in range(20)]
    assert set(await asyncio.gather(*looks)) == {""}
    for _, writer in slow:
        writer.close()


DEEP = 100_000


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[" * DEEP, "body_too_large"),
        (b"[" * 60_000, "bad_request"),
        (b'{"name":' * 7000, "bad_request"),
        (b'{"name":' + b"[" * 5000 + b"]" * 5000 + b"}", "bad_request"),
        (b"\xff\xfe", "bad_request"),
        (b"", "bad_request"),
        (b"nul", "bad_request"),
        (b"[]", "invalid_field"),
        (b'{"name": "a", "name": "b", "state": "published"}', "invalid_field"),
        (b'{"name": "\\ud800"}', "bad_request"),
        (b'{"name": "a\\u0000b"}', "invalid_field"),
        (b'{"name": 1e999}', "invalid_field"),
    ],
)
async def test_bodies_that_mean_no_good(house: House, body: bytes, code: str):
    token = await house.access_token("operator")
    sent = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession() as browser,
        browser.post(house.url + "/v1/titles", data=body, headers=sent) as answer,
    ):
        assert json.loads(await answer.read())["code"] == code
    async with Client(house.url, authorize=lambda: token) as api:
        assert (await send(api, "GET", "/v1/titles"))["titles"] == []


# What an attacker adds to a request in the hope that it is assigned by the way.
SMUGGLED = {
    "POST /v1/users": {"name": "eve", "password": "x" * 12, "user_id": "usr_x"},
    "POST /v1/profiles": {"name": "x", "user_id": "usr_x"},
    "POST /v1/api-keys": {"name": "x", "role": "viewer", "user_id": "usr_x"},
    "POST /v1/titles": {"name": "x", "state": "published"},
    "PUT /v1/me/password": {"old": "x", "new": "x" * 12, "role": "admin"},
    "POST /v1/auth/login": {"name": "x", "password": "x", "role": "admin"},
}


@pytest.mark.parametrize("address", SMUGGLED)
async def test_nothing_is_assigned_by_the_way(house: House, address: str):
    admin = await house.account("admin")
    method, path = address.split()
    assert await code_of(send(admin, method, path, **SMUGGLED[address])) == "invalid_field"

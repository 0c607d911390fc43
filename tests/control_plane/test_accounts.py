"""Signing in, staying out, and the first admin."""

import asyncio
import json
import stat
import time
from pathlib import Path

import aiohttp
import jwt
import pytest

import control_plane.passwords
from control_plane.accounts import ATTEMPTS_WINDOW_S
from control_plane.passwords import Passwords
from media.api import Tokens, User
from media.token import sign_machine_token
from runtime.client import Client
from tests.control_plane.house import PASSWORD, House, code_of, open_house, send

LOGIN = "/v1/auth/login"


def login(house: House, name: str, password: str):
    return send(house.anonymous(), "POST", LOGIN, name=name, password=password)


async def test_the_first_admin_is_in_a_private_file(house: House):
    path = house.data / "secrets" / "admin.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    admin = json.loads(path.read_text())
    assert len(admin["password"]) >= 20
    me = await (await house.account("admin")).call("GET", "/v1/me", User)
    assert (me.name, me.role) == (admin["name"], "admin")


async def test_the_first_admin_may_be_chosen_and_stays(tmp_path: Path):
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    chosen = {"name": "grace", "password": "chosen beforehand"}
    (secrets / "admin.json").write_text(json.dumps(chosen))
    async with open_house(tmp_path) as house:
        await login(house, **chosen)
    (secrets / "admin.json").write_text(json.dumps(chosen | {"password": "changed later"}))
    async with open_house(tmp_path) as house:
        await login(house, **chosen)
        assert await code_of(login(house, "grace", "changed later")) == "wrong_credentials"


async def test_wrong_password_and_unknown_name_look_alike(house: House):
    await house.account("viewer")
    assert await code_of(login(house, "viewer", "wrong")) == "wrong_credentials"
    assert await code_of(login(house, "nobody", PASSWORD)) == "wrong_credentials"
    await login(house, "viewer", PASSWORD)


async def test_an_unknown_name_costs_a_hash_too():
    """Not measured by the clock, which lies on a busy machine: both check one hash."""
    passwords = Passwords(passes=1, memory_kib=8, lanes=1)
    checked: list[str] = []
    verify = passwords._verify
    passwords._verify = lambda hashed, password: checked.append(hashed) or verify(hashed, password)
    known = await passwords.hash(PASSWORD)
    assert await passwords.matches(known, PASSWORD)
    assert not await passwords.matches(known, "wrong")
    assert not await passwords.matches(None, PASSWORD)
    assert len(checked) == 3
    assert len({tuple(hashed.split("$")[:4]) for hashed in checked}) == 1  # of the same cost
    passwords.close()


async def test_those_who_would_wait_long_are_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(control_plane.passwords, "MAX_WAITING", 3)
    passwords = Passwords(passes=1, memory_kib=8, lanes=1)
    hashing = [asyncio.create_task(code_of(passwords.hash("x")), name="hash") for _ in range(5)]
    assert sorted(await asyncio.gather(*hashing)) == ["", "", "", "overloaded", "overloaded"]
    assert await code_of(passwords.hash("x")) == ""
    passwords.close()


async def test_too_many_attempts_lock_one_name_out(house: House):
    await house.account("viewer")
    await house.account("operator")
    codes = [await code_of(login(house, "viewer", "wrong")) for _ in range(11)]
    assert codes == ["wrong_credentials"] * 10 + ["too_many_attempts"]
    assert await code_of(login(house, "viewer", PASSWORD)) == "too_many_attempts"
    await login(house, "operator", PASSWORD)  # others are not locked out
    wrong = {"name": "viewer", "password": "wrong"}
    async with (
        aiohttp.ClientSession() as browser,
        browser.post(house.url + LOGIN, json=wrong) as got,
    ):
        assert got.headers["Retry-After"] == str(ATTEMPTS_WINDOW_S)


async def test_a_success_clears_the_count(house: House):
    await house.account("viewer")
    for _ in range(3):
        for _ in range(9):
            await code_of(login(house, "viewer", "wrong"))
        await login(house, "viewer", PASSWORD)


async def test_names_are_taken_once(house: House):
    admin = await house.account("admin")
    new = {"name": "anna", "password": PASSWORD, "role": "viewer"}
    made = await asyncio.gather(
        *(code_of(send(admin, "POST", "/v1/users", **new)) for _ in range(5))
    )
    assert sorted(made) == ["", *["name_taken"] * 4]


async def test_users_are_checked(house: House):
    admin = await house.account("admin")
    new = {"name": "anna", "password": PASSWORD, "role": "viewer"}
    for wrong in ({"password": "short"}, {"name": "a b"}, {"role": "encoder"}, {"is_admin": True}):
        assert await code_of(send(admin, "POST", "/v1/users", **new | wrong)) == "invalid_field"


async def test_tokens_that_are_not_ours_open_nothing(house: House):
    control, encoder = house.identities["control"], house.identities["encoder"]
    now = int(time.time())
    claims = {"iss": "control", "aud": "api", "sub": "usr_x", "name": "x", "role": "admin",
              "iat": now, "exp": now + 60}  # fmt: skip

    def signed(key: object, **changes: object) -> str:
        return jwt.encode(claims | changes, key, "EdDSA")  # type: ignore[arg-type]

    wrong = {
        "nonsense": "token_invalid",
        signed(encoder.key): "token_invalid",  # signed by another machine
        signed(control.key, exp=now - 5): "token_expired",
        signed(control.key, aud="steering"): "token_invalid",
        signed(control.key, iss="encoder"): "token_invalid",
        jwt.encode(claims, None, "none"): "token_invalid",
        sign_machine_token(encoder, "steering", now): "token_invalid",  # meant for another
        sign_machine_token(encoder, "control", now - 3600): "token_expired",
    }
    for token, code in wrong.items():
        async with Client(house.url, authorize=lambda token=token: token) as client:
            assert await code_of(client.call("GET", "/v1/me", User)) == code, token


async def test_a_token_of_bytes_that_are_no_text_is_refused(house: House):
    host, port = house.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /v1/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a.\xff\xfe.c\r\n\r\n")
    assert (await reader.readline()).split()[1] == b"403"
    writer.close()


async def test_an_access_token_lasts_as_long_as_it_says(house: House):
    await house.account("viewer")
    before = time.time()
    tokens = Tokens.model_validate(await login(house, "viewer", PASSWORD))
    assert 3595 < tokens.expires_at.timestamp() - before < 3605
    claims = jwt.decode(tokens.access_token, options={"verify_signature": False})
    assert claims["exp"] == tokens.expires_at.timestamp()
    assert "password" not in json.dumps(claims)

"""Signing in, staying out, and the first admin."""

import asyncio
import json
import stat
import time
from pathlib import Path

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import control_plane.passwords
from control_plane.attempts import WINDOW_S
from control_plane.passwords import Passwords
from media.accounts import Tokens, User
from media.ids import new_id
from media.token import sign_machine_token
from runtime.client import Client
from tests.console import run_nearcast
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
        assert got.headers["Retry-After"] == str(WINDOW_S)


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
    kid, access = house.control.accounts.access_keys.signer()
    now = int(time.time())
    claims = {"iss": "control", "aud": "api", "sub": "usr_x", "name": "x", "role": "admin",
              "device": new_id("dev"), "iat": now, "exp": now + 60}  # fmt: skip
    public = access.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def signed(key: object = access, alg: str = "EdDSA", kid: str = kid, **changes: object) -> str:
        left = {name: value for name, value in (claims | changes).items() if value is not None}
        return jwt.encode(left, key, alg, headers={"kid": kid})  # type: ignore[arg-type]

    right = signed()
    head, body, signature = right.split(".")
    wrong = {
        "nonsense": "token_invalid",
        signed(encoder.key): "token_invalid",  # signed by a machine
        signed(control.key, kid="control"): "token_invalid",  # by our own, which signs no accounts
        signed(kid="../../etc/passwd"): "token_invalid",
        signed(exp=now - 5): "token_expired",
        signed(exp=None): "token_invalid",
        signed(device=None): "token_invalid",
        signed(aud="steering"): "token_invalid",
        signed(iss="encoder"): "token_invalid",
        signed(None, "none"): "token_invalid",
        # The public key, known to all, taken for the secret of an HMAC (algorithm confusion).
        signed(public, "HS256"): "token_invalid",
        f"{head}.{body}.": "token_invalid",
        f"{head}.{signed(role='viewer').split('.')[1]}.{signature}": "token_invalid",
        sign_machine_token(encoder, "steering", now): "token_invalid",  # meant for another
        sign_machine_token(encoder, "control", now - 3600): "token_expired",
    }
    for token, code in ({right: ""} | wrong).items():
        async with Client(house.url, authorize=lambda token=token: token) as client:
            assert await code_of(client.call_raw("GET", "/v1/me")) == code or token == right, token


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
    assert 895 < tokens.expires_at.timestamp() - before < 905
    claims = jwt.decode(tokens.access_token, options={"verify_signature": False})
    assert claims["exp"] == tokens.expires_at.timestamp()
    assert "password" not in json.dumps(claims)


async def test_the_last_admin_stays(house: House):
    admin = await house.account("admin")
    mine = (await send(admin, "GET", "/v1/me"))["user_id"]
    path = f"/v1/users/{mine}"
    for change in ({"role": "operator"}, {"disabled": True}):
        assert await code_of(send(admin, "PATCH", path, **change)) == "last_admin"
    assert await code_of(send(admin, "DELETE", path)) == "last_admin"
    await send(admin, "POST", "/v1/users", name="grace", password=PASSWORD, role="admin")
    await send(admin, "PATCH", path, role="operator")


async def test_two_admins_cannot_remove_each_other(house: House):
    admin = await house.account("admin")
    mine = (await send(admin, "GET", "/v1/me"))["user_id"]
    new = {"name": "grace", "password": PASSWORD, "role": "admin"}
    other = (await send(admin, "POST", "/v1/users", **new))["user_id"]
    async with Client(house.url, authorize=lambda: tokens["access_token"]) as grace:
        tokens = await login(house, "grace", PASSWORD)
        codes = await asyncio.gather(
            code_of(send(admin, "PATCH", f"/v1/users/{other}", role="viewer")),
            code_of(send(grace, "PATCH", f"/v1/users/{mine}", role="viewer")),
        )
    assert sorted(codes) in (["", "last_admin"], ["", "not_allowed"], ["", "signed_out"])


async def test_an_admin_is_made_in_the_database_alone(tmp_path: Path):
    """For when nobody knows a password any more: nothing has to run."""
    argv = ["user", "admin", "grace", "--password", PASSWORD, "--data", str(tmp_path), "--json"]
    for made in (True, False):
        said = await asyncio.to_thread(run_nearcast, argv)
        assert json.loads(said.stdout) == {"name": "grace", "made": made}
    async with open_house(tmp_path) as house:
        tokens = await login(house, "grace", PASSWORD)
        async with Client(house.url, authorize=lambda: tokens["access_token"]) as api:
            assert (await send(api, "GET", "/v1/me"))["role"] == "admin"
        await asyncio.to_thread(run_nearcast, argv)  # whoever was signed in is not any more
        given = {"refresh_token": tokens["refresh_token"]}
        refresh = send(house.anonymous(), "POST", "/v1/auth/refresh", **given)
        assert await code_of(refresh) == "signed_out"

"""The keys behind access tokens: they change, and no token that lives is lost by it."""

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from control_plane.access_keys import AccessKey, AccessKeys, rotated
from runtime.errors import Problem
from tests.control_plane.house import House, code_of, open_house, send

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEEP = timedelta(minutes=16)


def key(kid: str, minutes: float) -> AccessKey:
    return AccessKey(kid, NOW + timedelta(minutes=minutes), bytes(32))


@pytest.mark.parametrize(
    ("keys", "left"),
    [
        ([key("b", -1), key("a", -100)], "fba"),  # a's last token is a minute old
        ([key("b", -15), key("a", -100)], "fba"),
        ([key("b", -16), key("a", -100)], "fb"),
        ([key("c", -1), key("b", -20), key("a", -100)], "fcb"),
        ([key("b", 5), key("a", 0)], "fba"),  # a clock that was put back loses nothing
        ([], "f"),
    ],
)
def test_keys_stay_while_a_token_of_theirs_may_live(keys: list[AccessKey], left: str):
    assert "".join(k.kid for k in rotated(keys, key("f", 0), KEEP)) == left


def test_replicas_share_the_file(tmp_path: Path):
    now = [NOW]
    path = tmp_path / "keys.json"
    one, other = (AccessKeys(path, lambda: now[0], life_s=900) for _ in range(2))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert one.signer()[0] == other.signer()[0]
    old = one.signer()[0]
    now[0] += timedelta(days=31)
    one.rotate_older_than(timedelta(days=30))
    other.rotate_older_than(timedelta(days=30))
    fresh = other.signer()[0]
    assert fresh == one.signer()[0] != old
    assert other.verifier(old) is not None
    assert len(json.loads(path.read_text())) == 2
    one.rotate(forget=True)
    assert other.verifier(old) is None
    assert other.verifier(fresh) is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_was_read_last_holds_while_the_file_is_away(tmp_path: Path):
    path = tmp_path / "keys.json"
    keys = AccessKeys(path, lambda: NOW, life_s=900)
    kid, _ = keys.signer()
    path.unlink()
    assert keys.signer()[0] == kid


@pytest.mark.parametrize("text", ["", "[]", "{}", '[{"kid": "a"}]', '[{"kid": 1, "seed": "AA"}]'])
def test_a_file_without_keys_is_told(tmp_path: Path, text: str):
    (tmp_path / "keys.json").write_text(text)
    with pytest.raises(Problem, match="signing keys"):
        AccessKeys(tmp_path / "keys.json", lambda: NOW, life_s=900)


async def test_rotation_keeps_everybody_signed_in(house: House):
    viewer, admin = await house.account("viewer"), await house.account("admin")
    await send(admin, "POST", "/v1/access-keys", forget=False)
    assert await code_of(send(viewer, "GET", "/v1/me")) == ""
    await send(admin, "POST", "/v1/access-keys", forget=True)
    assert await code_of(send(viewer, "GET", "/v1/me")) == "token_invalid"


async def test_keys_outlive_a_restart(tmp_path: Path):
    async with open_house(tmp_path) as house:
        token = await house.access_token("viewer")
    async with open_house(tmp_path) as house:
        assert await code_of(send(house._client("x", token), "GET", "/v1/me")) == ""

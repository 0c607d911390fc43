"""Tokens open what they name, for as long as they say, and nothing else."""

import base64
import json
import time
from pathlib import Path

import cbor2
import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.ids import new_id
from media.keys import Identity, Keyring
from media.token import (
    PathClaims,
    TokenRefused,
    sign_machine_token,
    sign_path_token,
    verify_machine_token,
    verify_path_token,
)
from tests.packages import make_keys

NOW = int(time.time())


def claims(**changes: object) -> PathClaims:
    given = {
        "session_id": new_id("ses"),
        "title_id": new_id("ttl"),
        "package_id": new_id("pkg"),
        "inventory_sha256": "ab" * 32,
        "expires_s": NOW + 100,
    }
    return PathClaims(**{**given, **changes})  # type: ignore[arg-type]


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Identity]:
    return make_keys(tmp_path, "north-1")


@pytest.fixture
def ring(tmp_path: Path, keys: dict[str, Identity]) -> Keyring:
    return Keyring.read(tmp_path / "secrets" / "trust.json")


def refused(token: str, ring: Keyring, now_s: float = NOW) -> str:
    with pytest.raises(TokenRefused) as why:
        verify_path_token(token, ring, now_s)
    return why.value.code


def test_round_trip_and_size(keys: dict[str, Identity], ring: Keyring) -> None:
    for made in (claims(), claims(renditions=("v-avc-720", "a-aac-en"))):
        token = sign_path_token(made, keys["control"], NOW)
        assert verify_path_token(token, ring, NOW) == made
        assert len(token) < 320 and "/" not in token and "=" not in token
    fill = claims(scope="fill")
    assert verify_path_token(sign_path_token(fill, keys["north-1"], NOW), ring, NOW) == fill


def test_expiry_with_leeway(keys: dict[str, Identity], ring: Keyring) -> None:
    token = sign_path_token(claims(), keys["control"], NOW)
    assert verify_path_token(token, ring, NOW + 159)
    assert refused(token, ring, NOW + 161) == "token_expired"


def test_who_may_sign_what(keys: dict[str, Identity], ring: Keyring) -> None:
    assert refused(sign_path_token(claims(), keys["north-1"], NOW), ring) == "token_invalid"
    assert refused(sign_path_token(claims(), keys["steering"], NOW), ring) == "token_invalid"
    fill = claims(scope="fill")
    assert refused(sign_path_token(fill, keys["control"], NOW), ring) == "token_invalid"


def test_every_changed_bit_is_noticed(keys: dict[str, Identity], ring: Keyring) -> None:
    good = sign_path_token(claims(), keys["control"], NOW)
    raw = bytearray(base64.urlsafe_b64decode(good + "=" * (-len(good) % 4)))
    for index in range(len(raw)):
        changed = bytes(raw[:index]) + bytes([raw[index] ^ 1]) + bytes(raw[index + 1 :])
        token = base64.urlsafe_b64encode(changed).rstrip(b"=").decode()
        assert refused(token, ring) == "token_invalid", index


def test_a_token_has_one_spelling(keys: dict[str, Identity], ring: Keyring) -> None:
    """Who has one could else make as many as they like, each of them new and sound."""
    good = sign_path_token(claims(), keys["control"], NOW)
    raw = base64.urlsafe_b64decode(good + "=" * (-len(good) % 4))
    protected, unprotected, payload, signature = cbor2.loads(raw).value
    longer = raw.replace(b"\x58\x40" + signature, b"\x59\x00\x40" + signature)
    assert longer != raw and cbor2.loads(longer) == cbor2.loads(raw)
    more = cbor2.CBORTag(18, [protected, {**unprotected, 99: 1}, payload, signature])
    variants = [
        *(base64.urlsafe_b64encode(r).rstrip(b"=").decode() for r in (longer, cbor2.dumps(more))),
        good + "=" * (-len(good) % 4 or 4),
        good.replace("-", "+").replace("_", "/"),
    ]
    for token in variants:
        assert token == good or refused(token, ring) == "token_invalid", token


@given(st.one_of(st.text(max_size=400), st.binary(max_size=200)))
def test_rubbish_is_invalid_and_nothing_worse(rubbish: str | bytes) -> None:
    if isinstance(rubbish, bytes):
        rubbish = base64.urlsafe_b64encode(rubbish).rstrip(b"=").decode()
    assert refused(rubbish, Keyring([])) == "token_invalid"


def test_rubbish_in_a_good_envelope(keys: dict[str, Identity], ring: Keyring) -> None:
    nested: object = 1
    for _ in range(50):
        nested = [nested]
    for envelope in ([b"\xff", {}, b"", b""], [b"", {4: b"control"}, b"x", b"y" * 64], nested, {}):
        token = base64.urlsafe_b64encode(cbor2.dumps(envelope)).rstrip(b"=").decode()
        assert refused(token, ring) == "token_invalid"


def test_machine_tokens(keys: dict[str, Identity], ring: Keyring, tmp_path: Path) -> None:
    now_s = int(time.time())  # it is judged by the clock, and the suite may have begun long ago
    token = sign_machine_token(keys["north-1"], "steering", now_s)
    assert verify_machine_token(token, ring, "steering").role == "appliance"
    impostor = Identity.open("north-1", "appliance", tmp_path / "impostor.key")
    none_algorithm = jwt.encode(
        {"iss": "control", "aud": "steering", "iat": now_s, "exp": now_s + 60},
        None,
        algorithm="none",
        headers={"kid": "control"},
    )
    for bad, audience in [
        (token, "control"),
        (sign_machine_token(impostor, "steering", now_s), "steering"),
        (none_algorithm, "steering"),
        (token + "x", "steering"),
        ("", "steering"),
        ("a.\udcff.c", "steering"),  # bytes of no text, as a header may bring them
    ]:
        with pytest.raises(TokenRefused) as why:
            verify_machine_token(bad, ring, audience)
        assert why.value.code == "token_invalid"
    with pytest.raises(TokenRefused) as why:
        verify_machine_token(sign_machine_token(keys["north-1"], "x", now_s - 1000), ring, "x")
    assert why.value.code == "token_expired"


def test_keys_are_private_and_the_ring_is_not(tmp_path: Path, keys: dict[str, Identity]) -> None:
    secrets = tmp_path / "secrets"
    assert (secrets / "control.key").stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in (secrets / "trust.json").read_text()
    again = Identity.open("control", "control", secrets / "control.key")
    assert again.public.key == keys["control"].public.key


@pytest.mark.parametrize(
    "text", ["{", "{}", '{"keys": 1}', json.dumps({"keys": [{"name": "x", "role": "king"}]})]
)
def test_a_malformed_ring_is_a_value_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "trust.json").write_text(text)
    with pytest.raises(ValueError):
        Keyring.read(tmp_path / "trust.json")

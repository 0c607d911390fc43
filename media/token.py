"""Tokens: what lets a player or a peer read a package, and what lets machines speak.

*Path tokens* stand as first element of every path on an appliance's data port. They are CATs
(CTA-5007): CBOR web tokens (RFC 8392) in a COSE_Sign1 envelope (RFC 9052) with Ed25519 and
`kid`, in base64url without padding. An appliance holds public keys only, so a stolen box
forges nothing. Private claims (below -65536, RFC 8392 9.1) bind a token to one package:

    4 exp   6 iat   7 cti = the session's 16 bytes   -70001 package   -70002 inventory SHA-256
    -70003 renditions (absent: all)   -70004 title   -70005 scope "fill" (absent: play)

Only the control plane may sign for playback; an appliance may sign for `fill`, between peers.

*Machine tokens* are JWTs (EdDSA) of a minute or so, from one service to one other.
"""

import base64
import functools
from dataclasses import dataclass
from typing import Any, Literal

import cbor2
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cwt import COSE, COSEHeaders, COSEKey, CWTError

from media.ids import from_bytes, to_bytes
from media.keys import Identity, Keyring, PublicIdentity

LEEWAY_S = 60
MACHINE_TOKEN_S = 120
# Forty rendition names of eleven characters, and the fixed claims, with room.
MAX_TOKEN_CHARS = 1200

_EXP, _IAT, _CTI = 4, 6, 7
_PACKAGE, _INVENTORY, _RENDITIONS, _TITLE, _SCOPE = -70001, -70002, -70003, -70004, -70005
# What the decoders below raise for hostile bytes.
_MALFORMED = (
    CWTError,
    cbor2.CBORError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    RecursionError,
    ArithmeticError,  # of decimal fractions and bigfloats (RFC 8949 3.4.4)
)
_SIGNERS = {"play": "control", "fill": "appliance"}


class TokenRefused(Exception):
    """A token that opens nothing. `code` is `token_invalid` or `token_expired`."""

    def __init__(self, code: Literal["token_invalid", "token_expired"]) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class PathClaims:
    """What a verified path token allows: reading one package, until `expires_s` (Unix seconds)."""

    session_id: str
    title_id: str
    package_id: str
    inventory_sha256: str
    expires_s: int
    renditions: tuple[str, ...] | None = None
    scope: Literal["play", "fill"] = "play"


def sign_path_token(claims: PathClaims, identity: Identity, now_s: int) -> str:
    """The token, 290 characters or so, 11 more for each rendition named."""
    payload: dict[int, Any] = {
        _EXP: claims.expires_s,
        _IAT: now_s,
        _CTI: to_bytes(claims.session_id),
        _PACKAGE: to_bytes(claims.package_id),
        _INVENTORY: bytes.fromhex(claims.inventory_sha256),
        _TITLE: to_bytes(claims.title_id),
    }
    if claims.renditions is not None:
        payload[_RENDITIONS] = list(claims.renditions)
    if claims.scope != "play":
        payload[_SCOPE] = claims.scope
    signed = COSE.new(alg_auto_inclusion=True, kid_auto_inclusion=True).encode(
        cbor2.dumps(payload), _cose_private(identity.name, identity.key)
    )
    return base64.urlsafe_b64encode(signed).rstrip(b"=").decode()


def verify_path_token(token: str, ring: Keyring, now_s: float) -> PathClaims:
    """What the token allows. About 0.1 ms, so callers remember the answer.

    Raises TokenRefused: `token_expired` for a sound one that is past its time and the leeway,
    `token_invalid` for everything else. Never anything else, whatever the input.
    """
    if len(token) > MAX_TOKEN_CHARS:
        raise TokenRefused("token_invalid")
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        if base64.urlsafe_b64encode(raw).rstrip(b"=") != token.encode():
            raise ValueError("it is spelt in another way than it was signed")
        signer = _signer(raw, ring)
        payload = COSE.new().decode(raw, _cose_public(signer.name, _raw(signer)))
        claims = _claims(cbor2.loads(payload))
    except _MALFORMED:
        raise TokenRefused("token_invalid") from None
    if signer.role != _SIGNERS[claims.scope]:
        raise TokenRefused("token_invalid")
    if now_s > claims.expires_s + LEEWAY_S:
        raise TokenRefused("token_expired")
    return claims


def sign_machine_token(identity: Identity, audience: str, now_s: int) -> str:
    """A short-lived word of `identity` to the service named `audience`."""
    claims = {"iss": identity.name, "aud": audience, "iat": now_s, "exp": now_s + MACHINE_TOKEN_S}
    return jwt.encode(claims, identity.key, algorithm="EdDSA", headers={"kid": identity.name})


def verify_machine_token(token: str, ring: Keyring, audience: str) -> PublicIdentity:
    """Who speaks. Raises TokenRefused, and nothing else, whatever the input."""
    try:
        signer = ring.get(str(jwt.get_unverified_header(token).get("kid")))
        if signer is None:
            raise TokenRefused("token_invalid")
        jwt.decode(
            token,
            signer.key,
            algorithms=["EdDSA"],
            audience=audience,
            issuer=signer.name,
            leeway=LEEWAY_S,
            options={"require": ["iss", "aud", "iat", "exp"]},
        )
    except jwt.ExpiredSignatureError:
        raise TokenRefused("token_expired") from None
    except (jwt.PyJWTError, ValueError):  # ValueError: bytes of no text
        raise TokenRefused("token_invalid") from None
    return signer


def _claims(payload: dict[int, Any]) -> PathClaims:
    renditions = payload.get(_RENDITIONS)
    scope = payload.get(_SCOPE, "play")
    if scope not in _SIGNERS or not isinstance(payload[_EXP], int):
        raise ValueError("a claim is out of range")
    return PathClaims(
        session_id=from_bytes("ses", payload[_CTI]),
        title_id=from_bytes("ttl", payload[_TITLE]),
        package_id=from_bytes("pkg", payload[_PACKAGE]),
        inventory_sha256=bytes(payload[_INVENTORY]).hex(),
        expires_s=payload[_EXP],
        renditions=None if renditions is None else tuple(str(name) for name in renditions),
        scope=scope,
    )


def _signer(raw: bytes, ring: Keyring) -> PublicIdentity:
    """The identity that the envelope's `kid` names: protected or not, it only selects a key. What
    the signature does not cover has one spelling and no room: else whoever has one token could make
    any number of sound ones, and each would cost a verification."""
    envelope = cbor2.loads(raw)
    if cbor2.dumps(envelope) != raw:
        raise ValueError("the envelope is not as it was signed")
    parts = envelope.value if isinstance(envelope, cbor2.CBORTag) else envelope
    if not isinstance(parts, list) or len(parts) != 4:
        raise ValueError("the envelope is not a COSE_Sign1")
    protected, unprotected = cbor2.loads(parts[0]) if parts[0] else {}, parts[1]
    if not isinstance(unprotected, dict) or not unprotected.keys() <= {COSEHeaders.KID}:
        raise ValueError("the envelope has more than a key id beside what is signed")
    for header in (protected, unprotected):
        kid = header.get(COSEHeaders.KID) if isinstance(header, dict) else None
        signer = ring.get(kid.decode()) if isinstance(kid, bytes) else None
        if signer is not None:
            return signer
    raise ValueError("the key id is unknown")


def _raw(identity: PublicIdentity) -> bytes:
    return identity.key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


@functools.lru_cache(maxsize=1024)
def _cose_public(name: str, raw: bytes) -> Any:
    """By the key's bytes: to make one costs a fifth of a verification."""
    pem = Ed25519PublicKey.from_public_bytes(raw).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return COSEKey.from_pem(pem, kid=name)


@functools.lru_cache(maxsize=64)
def _cose_private(name: str, key: Ed25519PrivateKey) -> Any:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return COSEKey.from_pem(pem, kid=name)

"""Who calls: access tokens of accounts (JWT, EdDSA, audience "api"), tokens of machines."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import jwt
from aiohttp import web

from media.api import Tokens, User
from media.keys import Identity, Keyring
from media.token import TokenRefused, verify_machine_token
from runtime.api import Caller
from runtime.errors import Problem
from runtime.log import logger

AUDIENCE = "api"
# Machines put this audience into the tokens that they show us.
MACHINE_AUDIENCE = "control"


class Trust:
    """The key ring in a file, read again whenever the file has changed, so that machines can join.
    Without a file nobody is trusted; one that cannot be read leaves the last ring standing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._ring = Keyring([])

    def __call__(self) -> Keyring:
        try:
            now = self._path.stat()
            seen = (now.st_mtime_ns, now.st_size, now.st_ino)
            if seen != self._seen:
                self._seen = seen
                self._ring = Keyring.read(self._path)
        except (OSError, ValueError) as error:
            logger().warning("key_ring_unreadable", why=str(error))
        return self._ring


def sign_access_token(user: User, identity: Identity, now: datetime, life_s: int) -> Tokens:
    """The token says name and role, so no request has to look the account up."""
    expires_at = now + timedelta(seconds=life_s)
    claims = {
        "iss": identity.name,
        "aud": AUDIENCE,
        "sub": user.user_id,
        "name": user.name,
        "role": user.role,
        "iat": int(now.timestamp()),
        "exp": int(expires_at.timestamp()),
    }
    token = jwt.encode(claims, identity.key, algorithm="EdDSA", headers={"kid": identity.name})
    return Tokens(access_token=token, expires_at=expires_at.replace(microsecond=0))


class Credentials:
    """Reads the bearer token of a request."""

    def __init__(self, identity: Identity, trust: Callable[[], Keyring]) -> None:
        self._identity = identity
        self._trust = trust

    async def authenticate(self, request: web.Request) -> Caller | None:
        """The caller; None without an Authorization header. Raises Problem for a token that is not
        good here."""
        header = request.headers.get("Authorization")
        if header is None:
            return None
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise Problem("token_invalid", "Authorization takes a bearer token.")
        try:
            if _audience(token) == AUDIENCE:
                return self._account(token)
            machine = verify_machine_token(token, self._trust(), MACHINE_AUDIENCE)
        except TokenRefused as refused:
            raise Problem(refused.code) from None
        return Caller(name=machine.name, role=machine.role)

    def _account(self, token: str) -> Caller:
        try:
            claims = jwt.decode(
                token,
                self._identity.key.public_key(),
                algorithms=["EdDSA"],
                audience=AUDIENCE,
                issuer=self._identity.name,
                options={"require": ["iss", "aud", "sub", "exp", "name", "role"]},
            )
        except jwt.ExpiredSignatureError:
            raise TokenRefused("token_expired") from None
        except jwt.PyJWTError:
            raise TokenRefused("token_invalid") from None
        return Caller(name=claims["name"], role=claims["role"], user_id=claims["sub"])


def _audience(token: str) -> object:
    """What an unverified token says it is for: it only selects how the token is checked."""
    try:
        return jwt.decode(token, options={"verify_signature": False}).get("aud")
    except jwt.PyJWTError:
        raise TokenRefused("token_invalid") from None

"""Who calls: access tokens of accounts (JWT, EdDSA, audience "api"), or tokens of machines."""

from datetime import datetime, timedelta

import jwt
from aiohttp import web

from media.api import Tokens, User
from media.keys import Identity
from runtime.api import Caller
from runtime.errors import Problem
from runtime.machines import MachineGate, bearer_token

AUDIENCE = "api"


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

    def __init__(self, identity: Identity, machines: MachineGate) -> None:
        self._identity = identity
        self._machines = machines

    async def authenticate(self, request: web.Request) -> Caller | None:
        """The caller; None without a token. Raises Problem `token_invalid` or `token_expired`."""
        token = bearer_token(request)
        if token is None:
            return None
        return self._account(token) if _is_ours(token) else self._machines.caller(token)

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
            raise Problem("token_expired") from None
        except jwt.PyJWTError:
            raise Problem("token_invalid") from None
        return Caller(name=claims["name"], role=claims["role"], user_id=claims["sub"])


def _is_ours(token: str) -> bool:
    """Whether an unverified token says so: that only selects how it is checked."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError):  # ValueError: bytes of no text
        return False
    return claims.get("aud") == AUDIENCE

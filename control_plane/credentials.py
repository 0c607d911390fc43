"""Who calls: devices by access tokens (JWT, EdDSA, audience "api"), programs by API keys, machines
by tokens of their own."""

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import NamedTuple

import jwt
from aiohttp import web

from control_plane.access_keys import AccessKeys
from control_plane.api_keys import UserApiKeys, is_api_key
from control_plane.clock import Clock
from control_plane.devices import UserDevices
from control_plane.tables import UserRow
from runtime.api import Caller
from runtime.errors import Problem
from runtime.machines import MachineGate, bearer_token

AUDIENCE = "api"
ISSUER = "control"
REMEMBERED = 10_000
_REQUIRED = ["iss", "aud", "sub", "exp", "name", "role", "device"]


class _Known(NamedTuple):
    """What a token said when it was verified."""

    kid: str
    expires_s: int
    caller: Caller


class AccessTokens:
    """Signs access tokens that live for `life_s` seconds, and reads them."""

    def __init__(self, keys: AccessKeys, clock: Clock, *, life_s: int) -> None:
        self._keys = keys
        self._clock = clock
        self._life = timedelta(seconds=life_s)
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def sign(self, user: UserRow, device_id: str) -> tuple[str, datetime]:
        """A token, and when it expires. It says name and role, so no request has to look the
        account up."""
        now = self._clock()
        expires_at = (now + self._life).replace(microsecond=0)
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user.user_id,
            "name": user.name,
            "role": user.role,
            "device": device_id,
            "iat": int(now.timestamp()),
            "exp": int(expires_at.timestamp()),
        }
        kid, key = self._keys.signer()
        return jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": kid}), expires_at

    def read(self, token: str) -> Caller:
        """Whom the token names. The algorithm is ours, whatever its header says. Raises Problem
        `token_invalid` or `token_expired`."""
        known = self._known.get(token) or self._verified(token)
        if self._keys.verifier(known.kid) is None:
            raise Problem("token_invalid")
        if known.expires_s <= self._clock().timestamp():
            raise Problem("token_expired")
        return known.caller

    def knows(self, token: str) -> bool:
        """Whether it was read before."""
        return token in self._known

    def _verified(self, token: str) -> _Known:
        """What the token says, which is remembered: the same one comes with every call."""
        try:
            kid = str(jwt.get_unverified_header(token).get("kid"))
            key = self._keys.verifier(kid)
            if key is None:
                raise Problem("token_invalid")
            claims = jwt.decode(
                token,
                key,
                algorithms=["EdDSA"],
                audience=AUDIENCE,
                issuer=ISSUER,
                # Times are judged by our clock; one that was put back makes none invalid.
                options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False},
            )
            expires_s = int(claims["exp"])
        except (jwt.PyJWTError, ValueError, TypeError):
            raise Problem("token_invalid") from None
        caller = Caller(
            name=claims["name"],
            role=claims["role"],
            user_id=claims["sub"],
            device_id=claims["device"],
        )
        known = self._known[token] = _Known(kid, expires_s, caller)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return known


class Credentials:
    """Reads the bearer token of a request."""

    def __init__(
        self,
        tokens: AccessTokens,
        devices: UserDevices,
        api_keys: UserApiKeys,
        machines: MachineGate,
    ) -> None:
        self._tokens = tokens
        self._devices = devices
        self._api_keys = api_keys
        self._machines = machines

    async def authenticate(self, request: web.Request) -> Caller | None:
        """The caller; None without a token. Raises Problem `token_invalid`, `token_expired` or
        `signed_out`."""
        token = bearer_token(request)
        if token is None:
            return None
        if is_api_key(token):
            return await self._api_keys.caller(token)
        if not self._tokens.knows(token) and not _is_access_token(token):
            return self._machines.caller(token)
        caller = self._tokens.read(token)
        if caller.device_id is not None and await self._devices.is_void(caller.device_id):
            raise Problem("signed_out")
        return caller


def _is_access_token(token: str) -> bool:
    """Whether an unverified token says so: that only selects how it is checked."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError):  # ValueError: bytes of no text
        return False
    return claims.get("aud") == AUDIENCE

"""API keys: how programs sign in. A key has a role of its own, never above its owner's."""

import hashlib
import hmac
import re
import secrets

from sqlalchemy import func, select

from control_plane.clock import Clock
from control_plane.database import Database
from control_plane.roles import lesser
from control_plane.tables import ApiKeyRow, UserRow
from media.accounts import MAX_API_KEYS, ApiKey, ApiKeys, MadeApiKey, NewApiKey
from media.ids import ID, new_id
from runtime.api import Caller
from runtime.errors import Problem

_SECRET = re.compile(rf"(key_{ID})\.([A-Za-z0-9_-]{{43}})")


def is_api_key(token: str) -> bool:
    """Whether a bearer token looks like one of ours: that only selects how it is checked."""
    return _SECRET.fullmatch(token) is not None


class UserApiKeys:
    """All API keys. Of a secret only its SHA-256 is kept: 256 random bits need no slow hash."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(self, owner: Caller, new: NewApiKey) -> MadeApiKey:
        """A key and its secret. Raises Problem `not_allowed` for a role above the owner's,
        `too_many`, and `invalid_field` for one that has expired already."""
        if lesser(new.role, owner.role) != new.role:
            raise Problem("not_allowed", "A key cannot have a higher role than its owner.")
        now = self._clock()
        if new.expires_at is not None and new.expires_at <= now:
            raise Problem("invalid_field", "expires_at: lies in the past.")
        secret = secrets.token_urlsafe(32)
        row = ApiKeyRow(
            key_id=new_id("key"),
            user_id=owner.user_id,
            name=new.name,
            role=new.role,
            secret_sha256=_sha256(secret),
            created_at=now,
            expires_at=new.expires_at,
        )
        held = select(func.count()).where(ApiKeyRow.user_id == owner.user_id)
        async with self._database.writing() as session:
            await session.get(UserRow, owner.user_id, with_for_update=True)
            if (await session.scalar(held) or 0) >= MAX_API_KEYS:
                raise Problem("too_many", f"An account has at most {MAX_API_KEYS} API keys.")
            session.add(row)
        return MadeApiKey(**_api_key(row).model_dump(), secret=f"{row.key_id}.{secret}")

    async def of(self, user_id: str) -> ApiKeys:
        """The user's, the newest first."""
        wanted = (
            select(ApiKeyRow).where(ApiKeyRow.user_id == user_id).order_by(ApiKeyRow.key_id.desc())
        )
        async with self._database.reading() as session:
            rows = (await session.scalars(wanted)).all()
        return ApiKeys(keys=tuple(_api_key(row) for row in rows))

    async def revoke(self, user_id: str, key_id: str) -> None:
        """The key opens nothing any more. Raises Problem `unknown_api_key`."""
        async with self._database.writing() as session:
            row = await session.get(ApiKeyRow, key_id)
            if row is None or row.user_id != user_id:
                raise Problem("unknown_api_key")
            await session.delete(row)

    async def caller(self, token: str) -> Caller:
        """Who shows this key: its owner, with the lesser of both roles. Raises Problem
        `token_invalid`, or `token_expired`."""
        fits = _SECRET.fullmatch(token)
        if fits is None:
            raise Problem("token_invalid")
        wanted = (
            select(ApiKeyRow, UserRow)
            .join(UserRow, UserRow.user_id == ApiKeyRow.user_id)
            .where(ApiKeyRow.key_id == fits[1])
        )
        async with self._database.reading() as session:
            found = (await session.execute(wanted)).one_or_none()
        if found is None or not hmac.compare_digest(found[0].secret_sha256, _sha256(fits[2])):
            raise Problem("token_invalid")
        key, user = found
        if user.disabled:
            raise Problem("token_invalid")
        if key.expires_at is not None and key.expires_at <= self._clock():
            raise Problem("token_expired")
        return Caller(name=user.name, role=lesser(key.role, user.role), user_id=user.user_id)


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _api_key(row: ApiKeyRow) -> ApiKey:
    return ApiKey(
        key_id=row.key_id,
        name=row.name,
        role=row.role,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )

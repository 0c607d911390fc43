"""Accounts: signing in, new users, the first admin."""

import hashlib
import json
import secrets
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from control_plane.clock import Clock
from control_plane.credentials import sign_access_token
from control_plane.database import Database
from control_plane.passwords import Passwords
from control_plane.tables import UserRow
from media.api import Login, NewUser, Role, Tokens, User
from media.ids import new_id
from media.keys import Identity
from media.secret import read_or_make
from runtime.errors import Problem
from runtime.log import logger
from runtime.state import State, StateUnavailable

ATTEMPTS_WINDOW_S = 60


class Accounts:
    """Everything about users. `attempts` is the number of failed log-ins a minute that one name may
    have from one address."""

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        state: State,
        identity: Identity,
        clock: Clock,
        *,
        access_token_s: int,
        attempts: int,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._state = state
        self._identity = identity
        self._clock = clock
        self._access_token_s = access_token_s
        self._attempts = attempts

    async def sign_in(self, login: Login, address: str) -> Tokens:
        """An access token. Raises Problem `wrong_credentials`, alike for a wrong password and an
        unknown name, or `too_many_attempts`."""
        attempts = _attempts_key(login.name, address)
        try:
            # Counted before the check, so that tries side by side do not slip through.
            if await self._state.add(attempts, 1, ATTEMPTS_WINDOW_S) > self._attempts:
                raise Problem("too_many_attempts", retry_after_s=ATTEMPTS_WINDOW_S)
            user = await self._checked(login)
            await self._state.delete(attempts)
        except StateUnavailable:
            raise Problem("unavailable", "The shared state does not answer.") from None
        return sign_access_token(user, self._identity, self._clock(), self._access_token_s)

    async def create(self, new: NewUser) -> User:
        """The account exists. Raises Problem `name_taken`."""
        hashed = await self._passwords.hash(new.password)
        row = self._row(new.name, hashed, new.role)
        try:
            async with self._database.writing() as session:
                session.add(row)
        except IntegrityError:
            raise Problem("name_taken") from None
        return _user(row)

    async def ensure_admin(self, path: Path) -> None:
        """There is a user. With an empty table that is the admin whose name and password are in the
        file `path`, made with a random password if it is missing."""
        async with self._database.reading() as session:
            if await session.scalar(select(UserRow.user_id).limit(1)) is not None:
                return
        login = _read_admin(path)
        hashed = await self._passwords.hash(login.password)
        try:
            async with self._database.writing() as session:
                session.add(self._row(login.name, hashed, "admin"))
        except IntegrityError:  # another control plane was faster
            return
        logger().info("admin_made", name=login.name, file=str(path))

    async def _checked(self, login: Login) -> User:
        async with self._database.reading() as session:
            row = await session.scalar(select(UserRow).where(UserRow.name == login.name))
        hashed = row.password_hash if row else None
        if not await self._passwords.matches(hashed, login.password) or row is None:
            raise Problem("wrong_credentials")
        return _user(row)

    def _row(self, name: str, password_hash: str, role: Role) -> UserRow:
        return UserRow(
            user_id=new_id("usr"),
            name=name,
            password_hash=password_hash,
            role=role,
            created_at=self._clock(),
        )


def _user(row: UserRow) -> User:
    return User(user_id=row.user_id, name=row.name, role=row.role)


def _attempts_key(name: str, address: str) -> str:
    """One length whatever is typed, and no names in the shared state."""
    digest = hashlib.sha256(f"{address} {name}".encode()).hexdigest()
    return f"login:{digest[:32]}"


def _read_admin(path: Path) -> Login:
    raw = read_or_make(path, _random_admin)
    try:
        return Login.model_validate_json(raw)
    except ValueError:
        raise Problem("bad_settings", f"{path} does not hold a name and a password.") from None


def _random_admin() -> bytes:
    return json.dumps({"name": "admin", "password": secrets.token_urlsafe(18)}).encode()

"""Accounts: signing in, users, the first admin."""

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.attempts import Attempts
from control_plane.clock import Clock
from control_plane.credentials import AccessTokens
from control_plane.database import Database
from control_plane.devices import SignedIn, UserDevices
from control_plane.passwords import Passwords
from control_plane.tables import DeviceRow, PlanRow, UserRow
from media.accounts import (
    Login,
    NewPassword,
    NewUser,
    Role,
    Tokens,
    User,
    UserChange,
    UserName,
    UserPage,
)
from media.ids import new_id
from media.secret import read_or_make
from runtime.api import Caller
from runtime.errors import Problem
from runtime.log import logger
from runtime.state import StateUnavailable


class Accounts:
    """Everything about users."""

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        attempts: Attempts,
        devices: UserDevices,
        tokens: AccessTokens,
        clock: Clock,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._attempts = attempts
        self._devices = devices
        self._tokens = tokens
        self._clock = clock

    async def sign_in(self, login: Login, address: str) -> Tokens:
        """Tokens of a new device. Raises Problem `wrong_credentials`, alike for a wrong password,
        an unknown name and a disabled account, or `too_many_attempts`."""
        async with self._counted(login.name, address):
            user = await self._checked(login)
        return self._give(await self._devices.sign_in(user, login.device))

    async def refresh(self, refresh_token: str) -> Tokens:
        """The next tokens of the device. Raises Problem `token_invalid`, `signed_out`."""
        return self._give(await self._devices.refresh(refresh_token))

    async def change_password(self, caller: Caller, change: NewPassword, address: str) -> None:
        """The caller has a new password, and is signed in on this device only. Raises Problem
        `wrong_credentials`, `too_many_attempts`."""
        async with self._counted(caller.name, address):
            user = await self._checked(Login(name=caller.name, password=change.old))
        hashed = await self._passwords.hash(change.new)
        async with self._database.writing() as session:
            row = await _existing(session, user.user_id)
            row.password_hash = hashed
            gone = await self._devices.remove_all(session, row.user_id, but=caller.device_id)
        await self._devices.void(gone)

    async def create(self, new: NewUser) -> User:
        """The account exists. Raises Problem `name_taken`, `unknown_plan`."""
        hashed = await self._passwords.hash(new.password)
        row = self._row(new.name, hashed, new.role)
        try:
            async with self._database.writing() as session:
                row.plan = await _existing_plan(session, new.plan)
                session.add(row)
        except IntegrityError:
            raise Problem("name_taken") from None
        return _user(row)

    async def page(self, cursor: str | None, limit: int) -> UserPage:
        """Users, the newest first, after the one that `cursor` names."""
        wanted = select(UserRow).order_by(UserRow.user_id.desc()).limit(limit + 1)
        if cursor:
            wanted = wanted.where(UserRow.user_id < cursor)
        async with self._database.reading() as session:
            found = [_user(row) for row in await session.scalars(wanted)]
        users = tuple(found[:limit])
        more = len(found) > limit
        return UserPage(users=users, next_cursor=users[-1].user_id if more else None)

    async def get(self, user_id: str) -> User:
        """The account. Raises Problem `unknown_user`."""
        async with self._database.reading() as session:
            return _user(await _existing(session, user_id))

    async def change(self, user_id: str, change: UserChange) -> User:
        """The account with other values; its devices are signed out where their tokens say what it
        was. Raises Problem `unknown_user`, `unknown_plan`, `last_admin`."""
        values = change.given()
        password = values.pop("password", None)
        if password is not None:
            values["password_hash"] = await self._passwords.hash(password)
        async with self._database.writing() as session:
            row = await _existing(session, user_id, lock=True)
            if values.get("role", row.role) != "admin" or values.get("disabled", row.disabled):
                await _keep_an_admin(session, but=row)
            await _existing_plan(session, values.get("plan"))
            for name, value in values.items():
                setattr(row, name, value)
            told = values.keys() != {"plan"}  # which no token tells
            gone = await self._devices.remove_all(session, user_id) if told else []
        await self._devices.void(gone)
        return _user(row)

    async def delete(self, user_id: str) -> None:
        """The account is gone with all that is its own. Raises Problem `unknown_user`,
        `last_admin`."""
        async with self._database.writing() as session:
            row = await _existing(session, user_id, lock=True)
            await _keep_an_admin(session, but=row)
            gone = await self._devices.remove_all(session, user_id)
            await session.delete(row)
        await self._devices.void(gone)

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

    @asynccontextmanager
    async def _counted(self, name: str, address: str) -> AsyncIterator[None]:
        """A try with a password: one of those that a name and an address may have."""
        try:
            await self._attempts.begin(name, address)
            yield
            await self._attempts.succeed(name, address)
        except StateUnavailable:
            raise Problem("unavailable", "The shared state does not answer.") from None

    async def _checked(self, login: Login) -> UserRow:
        async with self._database.reading() as session:
            row = await session.scalar(select(UserRow).where(UserRow.name == login.name))
        hashed = row.password_hash if row else None
        right = await self._passwords.matches(hashed, login.password)
        if not right or row is None or row.disabled:
            raise Problem("wrong_credentials")
        return row

    def _give(self, signed_in: SignedIn) -> Tokens:
        token, expires_at = self._tokens.sign(signed_in.user, signed_in.device.device_id)
        return Tokens(
            access_token=token,
            expires_at=expires_at,
            refresh_token=signed_in.refresh_token,
            refresh_expires_at=signed_in.device.expires_at,
        )

    def _row(self, name: str, password_hash: str, role: Role) -> UserRow:
        return UserRow(
            user_id=new_id("usr"),
            name=name,
            password_hash=password_hash,
            role=role,
            disabled=False,
            created_at=self._clock(),
        )


async def reset_admin(
    database: Database, passwords: Passwords, name: UserName, password: str, clock: Clock
) -> bool:
    """This account is an admin with this password, and signed in nowhere, but for access tokens
    that last minutes; whether it is new. For the first admin, and for when nobody has a password
    any more: it needs the database, and no service."""
    hashed = await passwords.hash(password)
    async with database.writing() as session:
        row = await session.scalar(select(UserRow).where(UserRow.name == name))
        is_new = row is None
        if row is None:
            row = UserRow(user_id=new_id("usr"), name=name, created_at=clock())
            session.add(row)
        row.password_hash, row.role, row.disabled = hashed, "admin", False
        await session.execute(delete(DeviceRow).where(DeviceRow.user_id == row.user_id))
    return is_new


async def _existing(session: AsyncSession, user_id: str, *, lock: bool = False) -> UserRow:
    row = await session.get(UserRow, user_id, with_for_update=lock or None)
    if row is None:
        raise Problem("unknown_user")
    return row


async def _existing_plan(session: AsyncSession, name: str | None) -> str | None:
    """Raises Problem `unknown_plan` for the name of none."""
    if name is not None and await session.get(PlanRow, name) is None:
        raise Problem("unknown_plan")
    return name


async def _keep_an_admin(session: AsyncSession, *, but: UserRow) -> None:
    """Raises Problem `last_admin` when nobody else could undo what is about to be done."""
    # All admins are locked, in one order: of the last two, each may not remove the other.
    admins = select(UserRow).where(UserRow.role == "admin", UserRow.disabled.is_(False))
    held = (await session.scalars(admins.order_by(UserRow.user_id).with_for_update())).all()
    if [row.user_id for row in held] == [but.user_id]:
        raise Problem("last_admin")


def _user(row: UserRow) -> User:
    return User(
        user_id=row.user_id,
        name=row.name,
        role=row.role,
        disabled=row.disabled,
        plan=row.plan,
        created_at=row.created_at,
    )


def _read_admin(path: Path) -> Login:
    raw = read_or_make(path, _random_admin)
    try:
        return Login.model_validate_json(raw)
    except ValueError:
        raise Problem("bad_settings", f"{path} does not hold a name and a password.") from None


def _random_admin() -> bytes:
    return json.dumps({"name": "admin", "password": secrets.token_urlsafe(18)}).encode()

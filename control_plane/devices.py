"""Where users are signed in: each device has a refresh token, which is replaced at each use.

A refresh token is the device's id, a generation that counts up, and a MAC over both, so nothing
secret is in the database. One of an earlier generation has been used before: whoever shows it, the
owner or a thief, the device is signed out (RFC 9700, 4.14.2). Only the one before the latest is
answered for a few seconds with the very tokens that replaced it, for an answer may get lost, and
two tabs may ask at once.
"""

import hashlib
import hmac
import re
import time
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.clock import Clock
from control_plane.database import Database
from control_plane.tables import DeviceRow, UserRow
from media.accounts import MAX_DEVICES, Device, Devices
from media.ids import ID, new_id
from runtime.errors import Problem
from runtime.log import logger
from runtime.state import State, StateUnavailable

GRACE = timedelta(seconds=10)
SURE_S = 1.0
MAX_SURE = 50_000
_TOKEN = re.compile(rf"(dev_{ID})\.([1-9][0-9]{{0,17}})\.([0-9a-f]{{64}})")


@dataclass(frozen=True)
class SignedIn:
    """A device, whose it is, and its refresh token."""

    device: DeviceRow
    user: UserRow
    refresh_token: str


class UserDevices:
    """All devices. `access_s` is the life of an access token, `refresh_s` that of a refresh token
    that nobody uses."""

    def __init__(
        self,
        database: Database,
        state: State,
        secret: bytes,
        clock: Clock,
        *,
        access_s: int,
        refresh_s: int,
    ) -> None:
        self._database = database
        self._state = state
        self._key = hmac.digest(secret, b"refresh tokens", "sha256")
        self._clock = clock
        self._access_s = access_s
        self._refresh = timedelta(seconds=refresh_s)
        self._sure: dict[str, float] = {}  # devices that are signed in, and until when that holds

    async def sign_in(self, user: UserRow, name: str) -> SignedIn:
        """A new device; of more than MAX_DEVICES those not seen for longest are signed out. Raises
        Problem `wrong_credentials` when the account has gone or was disabled just now."""
        now = self._clock()
        row = DeviceRow(
            device_id=new_id("dev"),
            user_id=user.user_id,
            name=name,
            generation=1,
            created_at=now,
            seen_at=now,
            expires_at=now + self._refresh,
        )
        surplus = (
            select(DeviceRow.device_id)
            .where(DeviceRow.user_id == user.user_id)
            .order_by(DeviceRow.seen_at.desc())
            .offset(MAX_DEVICES - 1)
        )
        async with self._database.writing() as session:
            latest = await session.get(UserRow, user.user_id, with_for_update=True)
            if latest is None or latest.disabled:
                raise Problem("wrong_credentials")
            gone = list(await session.scalars(surplus))
            await session.execute(delete(DeviceRow).where(DeviceRow.device_id.in_(gone)))
            session.add(row)
        await self.void(gone)
        return SignedIn(row, user, self._token(row))

    async def refresh(self, token: str) -> SignedIn:
        """The device with its next refresh token. Raises Problem `token_invalid` for one that we
        never gave, and `signed_out`."""
        device_id, generation = self._read(token)
        now = self._clock()
        async with self._database.writing() as session:
            row = await session.get(DeviceRow, device_id, with_for_update=True)
            if row is None or row.expires_at <= now:
                raise Problem("signed_out")
            user = await session.get_one(UserRow, row.user_id)
            late = now - row.seen_at > GRACE
            reused = generation < row.generation - 1 or (generation < row.generation and late)
            if reused:
                await session.delete(row)
            elif generation == row.generation:
                row.generation += 1
                row.seen_at = now
                row.expires_at = now + self._refresh
        if reused:
            await self.void([device_id])
            logger().warning("refresh_token_reused", device_id=device_id, user_id=row.user_id)
            raise Problem("signed_out", "A refresh token was used twice: the device is signed out.")
        return SignedIn(row, user, self._token(row))

    async def of(self, user_id: str, current: str | None) -> Devices:
        """Where the user is signed in."""
        wanted = (
            select(DeviceRow)
            .where(DeviceRow.user_id == user_id, DeviceRow.expires_at > self._clock())
            .order_by(DeviceRow.seen_at.desc())
        )
        async with self._database.reading() as session:
            rows = (await session.scalars(wanted)).all()
        return Devices(devices=tuple(_device(row, current) for row in rows))

    async def sign_out(self, user_id: str, device_id: str) -> None:
        """The device's tokens are void. Raises Problem `unknown_device` for one of another user."""
        mine = (DeviceRow.device_id == device_id) & (DeviceRow.user_id == user_id)
        async with self._database.writing() as session:
            row = await session.scalar(select(DeviceRow).where(mine))
            if row is None:
                raise Problem("unknown_device")
            await session.delete(row)
        await self.void([device_id])

    async def remove_all(
        self, session: AsyncSession, user_id: str, *, but: str | None = None
    ) -> list[str]:
        """The user is signed in nowhere, but for one device, once this transaction ends. Returns
        the devices to `void` then."""
        theirs = (DeviceRow.user_id == user_id) & (DeviceRow.device_id != (but or ""))
        gone = list(await session.scalars(select(DeviceRow.device_id).where(theirs)))
        await session.execute(delete(DeviceRow).where(theirs))
        return gone

    async def is_void(self, device_id: str) -> bool:
        """Whether the device was signed out while its access token still lives. Here that counts at
        once, on other replicas within SURE_S. When the shared state is away nobody is: such a
        token then lasts to its end, a few minutes."""
        now_s = time.monotonic()
        if now_s < self._sure.get(device_id, 0.0):
            return False
        try:
            if await self._state.get(_void_key(device_id)) is not None:
                return True
        except StateUnavailable as error:
            logger().warning("sign_outs_unknown", why=str(error))
            return False
        if len(self._sure) >= MAX_SURE:
            self._sure.clear()
        self._sure[device_id] = now_s + SURE_S
        return False

    async def drop_expired(self) -> None:
        """Devices that nobody used for long take no room."""
        async with self._database.writing() as session:
            await session.execute(delete(DeviceRow).where(DeviceRow.expires_at < self._clock()))

    async def void(self, device_ids: list[str]) -> None:
        """The access tokens of these devices, which are gone, open nothing any more."""
        for device_id in device_ids:
            self._sure.pop(device_id, None)
            try:
                await self._state.put(_void_key(device_id), b"1", self._access_s + 60)
            except StateUnavailable as error:
                logger().warning("access_token_lasts", device_id=device_id, why=str(error))

    def _token(self, row: DeviceRow) -> str:
        return f"{row.device_id}.{row.generation}.{self._mac(row.device_id, row.generation)}"

    def _read(self, token: str) -> tuple[str, int]:
        fits = _TOKEN.fullmatch(token)
        if fits is None:
            raise Problem("token_invalid")
        device_id, generation = fits[1], int(fits[2])
        if not hmac.compare_digest(fits[3], self._mac(device_id, generation)):
            raise Problem("token_invalid")
        return device_id, generation

    def _mac(self, device_id: str, generation: int) -> str:
        said = f"{device_id}.{generation}".encode()
        return hmac.new(self._key, said, hashlib.sha256).hexdigest()


def _void_key(device_id: str) -> str:
    return f"void:{device_id}"


def _device(row: DeviceRow, current: str | None) -> Device:
    return Device(
        device_id=row.device_id,
        name=row.name,
        created_at=row.created_at,
        seen_at=row.seen_at,
        current=row.device_id == current,
    )

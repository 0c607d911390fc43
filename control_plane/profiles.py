"""Profiles: the people who share an account, each with a history and a maturity limit."""

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.clock import Clock
from control_plane.database import Database
from control_plane.tables import ProfileRow, UserRow, WatchedRow
from media.accounts import MAX_PROFILES, NewProfile, Profile, ProfileChange, Profiles
from media.ids import new_id
from runtime.errors import Problem


class UserProfiles:
    """All profiles. Another user's is like none: Problem `unknown_profile`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def of(self, user_id: str) -> Profiles:
        """The user's, the oldest first."""
        wanted = (
            select(ProfileRow).where(ProfileRow.user_id == user_id).order_by(ProfileRow.profile_id)
        )
        async with self._database.reading() as session:
            rows = (await session.scalars(wanted)).all()
        return Profiles(profiles=tuple(_profile(row) for row in rows))

    async def age(self, user_id: str | None, profile_id: str | None) -> int | None:
        """Up to which age the profile sees films; None for all, and without a profile."""
        if profile_id is None:
            return None
        async with self._database.reading() as session:
            return (await own_profile(session, user_id, profile_id)).maturity

    async def create(self, user_id: str, new: NewProfile) -> Profile:
        """One more. Raises Problem `name_taken`, `too_many`."""
        row = ProfileRow(
            profile_id=new_id("prf"),
            user_id=user_id,
            name=new.name,
            maturity=new.maturity,
            created_at=self._clock(),
        )
        held = select(func.count()).where(ProfileRow.user_id == user_id)
        try:
            async with self._database.writing() as session:
                # The user's row is the lock: two that come together are counted one by one.
                await session.get(UserRow, user_id, with_for_update=True)
                if (await session.scalar(held) or 0) >= MAX_PROFILES:
                    raise Problem("too_many", f"An account has at most {MAX_PROFILES} profiles.")
                session.add(row)
        except IntegrityError:
            raise Problem("name_taken") from None
        return _profile(row)

    async def change(self, user_id: str, profile_id: str, change: ProfileChange) -> Profile:
        """The profile with other values. Raises Problem `name_taken`."""
        try:
            async with self._database.writing() as session:
                row = await own_profile(session, user_id, profile_id)
                for name, value in change.given().items():
                    setattr(row, name, value)
        except IntegrityError:
            raise Problem("name_taken") from None
        return _profile(row)

    async def delete(self, user_id: str, profile_id: str) -> None:
        """It is gone, with its history."""
        async with self._database.writing() as session:
            await session.delete(await own_profile(session, user_id, profile_id))
            await session.execute(
                delete(WatchedRow).where(
                    WatchedRow.user_id == user_id, WatchedRow.profile_id == profile_id
                )
            )


async def own_profile(session: AsyncSession, user_id: str | None, profile_id: str) -> ProfileRow:
    """The row of a profile of this user. Raises Problem `unknown_profile`."""
    row = await session.get(ProfileRow, profile_id)
    if row is None or row.user_id != user_id:
        raise Problem("unknown_profile")
    return row


def _profile(row: ProfileRow) -> Profile:
    return Profile(
        profile_id=row.profile_id,
        name=row.name,
        maturity=row.maturity,
        created_at=row.created_at,
    )

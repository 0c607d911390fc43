"""What a start of playback looks at: title and package, plan, profile and history."""

from dataclasses import dataclass

from sqlalchemy import and_, bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.catalog import window_of
from control_plane.entitlement import Limits, Window
from control_plane.plans import limits_of
from control_plane.roles import OPERATORS
from control_plane.tables import (
    PackageRow,
    PlanRow,
    ProfileRow,
    TitleRow,
    UserRow,
    WatchedRow,
)
from control_plane.watching import resume_at
from media.api import NewSession
from runtime.api import Caller
from runtime.errors import Problem


@dataclass(frozen=True)
class Wanted:
    """When and where the title plays, the package that does, what the account's plan allows, up to
    what age the profile sees films (None: all), and where it goes on."""

    window: Window
    package: PackageRow
    plan: Limits
    age: int | None
    resume_s: float


# In one question: there may be hundreds of starts a second.
_WANTED = (
    select(TitleRow, PackageRow, PlanRow, ProfileRow, WatchedRow)
    .outerjoin(PackageRow, PackageRow.package_id == TitleRow.package_id)
    .outerjoin(UserRow, UserRow.user_id == bindparam("user_id"))
    .outerjoin(PlanRow, PlanRow.name == UserRow.plan)
    .outerjoin(
        ProfileRow,
        and_(
            ProfileRow.profile_id == bindparam("profile_id"), ProfileRow.user_id == UserRow.user_id
        ),
    )
    .outerjoin(
        WatchedRow,
        and_(
            WatchedRow.user_id == UserRow.user_id,
            WatchedRow.profile_id == bindparam("profile_id"),
            WatchedRow.title_id == TitleRow.title_id,
        ),
    )
    .where(TitleRow.title_id == bindparam("title_id"), TitleRow.deleted_at.is_(None))
)


async def look_up(session: AsyncSession, new: NewSession, caller: Caller) -> Wanted:
    """What the caller wants to play. Raises Problem `unknown_title` for a title that the caller
    cannot see, `title_not_ready`, `unknown_profile`."""
    keys = {
        "title_id": new.title_id,
        "user_id": caller.user_id,
        "profile_id": new.profile_id or "",
    }
    found = (await session.execute(_WANTED, keys)).one_or_none()
    if found is None:
        raise Problem("unknown_title")
    title, package, plan, profile, watched = found
    if title.state != "published":
        if caller.role not in OPERATORS:
            raise Problem("unknown_title")
        raise Problem("title_not_ready", "The title is not published.")
    if package is None:
        raise Problem("title_not_ready")
    if new.profile_id is not None and profile is None:
        raise Problem("unknown_profile")
    return Wanted(
        window=window_of(title),
        package=package,
        plan=limits_of(plan),
        age=None if profile is None else profile.maturity,
        resume_s=resume_at(watched),
    )

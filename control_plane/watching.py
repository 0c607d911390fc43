"""Histories: how far each profile is in each title."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Select, and_, delete
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.artwork_keys import ArtworkKeys
from control_plane.catalog import View, title_of, titles
from control_plane.clock import Clock
from control_plane.database import Database
from control_plane.tables import (
    JobRow,
    PackageRow,
    SessionRow,
    TitleRow,
    WatchedRow,
    from_ms,
    to_ms,
)
from media.api import Heartbeat, History, Watched
from runtime.errors import Problem

# A film is finished where its credits run; who leaves in the first seconds has not begun.
FINISHED = 0.95
BEGUN_S = 10.0

_KEY = ("user_id", "profile_id", "title_id")
_Found = Select[TitleRow, PackageRow | None, JobRow | None, WatchedRow]


class Watching:
    """All histories. One without a profile is the account's own."""

    def __init__(self, database: Database, clock: Clock, artwork: ArtworkKeys) -> None:
        self._database = database
        self._clock = clock
        self._artwork = artwork
        # In one step: the same film may be started twice at the same time.
        begin = database.insert(WatchedRow)
        new = begin.excluded
        self._begin = begin.on_conflict_do_update(
            index_elements=_KEY, set_={"region": new.region, "watched_at": new.watched_at}
        )

    async def begin(self, session: AsyncSession, begun: Sequence[tuple[SessionRow, str]]) -> None:
        """The titles of these sessions are in the history, as watched in these regions."""
        now = self._clock()
        rows = [
            {
                "user_id": playing.user_id,
                "profile_id": playing.profile_id,
                "title_id": playing.title_id,
                "region": region,
                "position_s": 0.0,
                "finished": False,
                "watched_at": now,
            }
            for playing, region in begun
        ]
        # In one order: two groups that lock the same rows never wait for each other.
        rows.sort(key=lambda row: (row["user_id"], row["profile_id"], row["title_id"]))
        await session.execute(self._begin, rows)

    async def position(self, session: AsyncSession, playing: SessionRow) -> float:
        """Where to go on."""
        return resume_at(await session.get(WatchedRow, _key(playing)))

    async def at(self, session: AsyncSession, playing: SessionRow, beat: Heartbeat) -> None:
        """The title was watched to here; a player that says no position only plays."""
        if beat.position_s is None:
            return
        row = await session.get(WatchedRow, _key(playing))
        package = await session.get(PackageRow, playing.package_id)
        if row is None or package is None:
            return  # taken out of the history meanwhile, and so it stays
        row.position_s = min(beat.position_s, package.duration_s)
        row.finished = row.position_s >= FINISHED * package.duration_s
        row.watched_at = self._clock()

    async def history(
        self, user_id: str, profile_id: str | None, view: View, *, cursor: str | None, limit: int
    ) -> History:
        """What was watched, the latest first, after the one that `cursor` names."""
        wanted = _watched(user_id, profile_id, view)
        if cursor:
            moment, title_id = read_cursor(cursor)
            same = and_(WatchedRow.watched_at == moment, WatchedRow.title_id < title_id)
            wanted = wanted.where((WatchedRow.watched_at < moment) | same)
        async with self._database.reading() as session:
            rows = (await session.execute(wanted.limit(limit + 1))).all()
        found = [self._entry(*row, view=view) for row in rows[:limit]]
        last = rows[limit - 1][3] if len(rows) > limit else None
        return History(watched=tuple(found), next_cursor=write_cursor(last) if last else None)

    async def unfinished(
        self, user_id: str, profile_id: str | None, view: View, *, limit: int
    ) -> tuple[Watched, ...]:
        """What was begun and not finished, the latest first."""
        wanted = (
            _watched(user_id, profile_id, view)
            .where(WatchedRow.finished.is_(False), WatchedRow.position_s >= BEGUN_S)
            .limit(limit)
        )
        async with self._database.reading() as session:
            rows = (await session.execute(wanted)).all()
        return tuple(self._entry(*row, view=view) for row in rows)

    async def forget(self, user_id: str, profile_id: str | None, title_id: str) -> None:
        """The title is not in the history."""
        async with self._database.writing() as session:
            await session.execute(
                delete(WatchedRow).where(
                    WatchedRow.user_id == user_id,
                    WatchedRow.profile_id == (profile_id or ""),
                    WatchedRow.title_id == title_id,
                )
            )

    def _entry(
        self,
        title: TitleRow,
        package: PackageRow | None,
        job: JobRow | None,
        row: WatchedRow,
        *,
        view: View,
    ) -> Watched:
        return Watched(
            title=title_of(title, package, job, self._artwork, drafts=view.drafts, brief=True),
            position_s=row.position_s,
            finished=row.finished,
            watched_at=row.watched_at,
        )


def write_cursor(row: WatchedRow) -> str:
    """Where a page ended."""
    return f"{to_ms(row.watched_at)}-{row.title_id}"


def read_cursor(cursor: str) -> tuple[datetime, str]:
    """What `write_cursor` wrote. Raises Problem `invalid_field`."""
    moment, _, title_id = cursor.partition("-")
    try:
        return from_ms(int(moment)), title_id
    except (ValueError, OverflowError):
        raise Problem("invalid_field", "cursor: is none of ours.") from None


def _watched(user_id: str, profile_id: str | None, view: View) -> _Found:
    return (
        titles(view)
        .add_columns(WatchedRow)
        .join(WatchedRow, WatchedRow.title_id == TitleRow.title_id)
        .where(WatchedRow.user_id == user_id, WatchedRow.profile_id == (profile_id or ""))
        .order_by(WatchedRow.watched_at.desc(), WatchedRow.title_id.desc())
    )


def resume_at(row: WatchedRow | None) -> float:
    """Where to go on: from the start, if it was hardly begun or is finished."""
    if row is None or row.finished or row.position_s < BEGUN_S:
        return 0.0
    return row.position_s


def _key(playing: SessionRow) -> tuple[str, str, str]:
    return playing.user_id, playing.profile_id, playing.title_id

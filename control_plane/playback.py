"""Playback sessions: who may play what, from which appliances, until when.

A session is checked once, when it starts; what its account's plan allows then stays with it, in its
manifests, and in its token, which appliances obey.

Nothing secret is stored in the database. The path token is signed again whenever it is asked for
(Ed25519 gives the same token for the same claims), and the key in a session's addresses is a MAC of
its id.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.catalog import live_title
from control_plane.clock import Clock
from control_plane.database import Database
from control_plane.entitlement import Limits, allowed_renditions, check_region, check_title
from control_plane.group_commit import GroupCommit
from control_plane.packages import Packages
from control_plane.plans import joined, split
from control_plane.players import player_settings
from control_plane.roles import OPERATORS
from control_plane.standby import Standby
from control_plane.steering_client import SteeringClient
from control_plane.streams import BEAT_S, Streams
from control_plane.tables import PackageRow, SessionRow, TitleRow
from control_plane.wanted import look_up
from control_plane.watching import Watching
from media.api import Heartbeat, NewSession, Session, SteerAnswer
from media.fleet import RankAnswer, RankRequest, RevokeRequest
from media.ids import new_id
from media.inventory import package_prefix
from media.keys import Identity
from media.protection import LicenceRequest, keys_of, licence
from media.token import LEEWAY_S, PathClaims, sign_path_token
from runtime import tracing
from runtime.api import Caller
from runtime.errors import Problem
from runtime.log import logger


@dataclass(frozen=True)
class Life:
    """How long a session lasts: `film_factor` times the film and `extra_s` seconds."""

    film_factor: float
    extra_s: int

    def of(self, film_s: float) -> timedelta:
        """The life of a session that plays a film of this length."""
        return timedelta(seconds=int(self.film_factor * film_s) + self.extra_s)


@dataclass(frozen=True)
class Playing:
    """What a session's manifests are made from. `renditions` None: all of the package's."""

    title_id: str
    package_id: str
    inventory_sha256: str
    ranking: RankAnswer
    renditions: tuple[str, ...] | None
    base_path: str
    license_url: str


@dataclass(frozen=True)
class Secrets:
    """What keys the addresses of sessions, and what the keys of packages come from."""

    sessions: bytes = field(repr=False)
    content: bytes = field(repr=False)


@dataclass(frozen=True)
class _Start:
    """A session that is about to be, and the region that it was ranked for."""

    row: SessionRow
    region: str


class Playback:
    """All sessions."""

    def __init__(
        self,
        database: Database,
        packages: Packages,
        streams: Streams,
        watching: Watching,
        steering: SteeringClient,
        standby: Standby,
        identity: Identity,
        secrets: Secrets,
        clock: Clock,
        public_url: str,
        *,
        life: Life,
        simulate_regions: bool,
    ) -> None:
        self._database = database
        self._packages = packages
        self._streams = streams
        self._watching = watching
        self._steering = steering
        self._standby = standby
        self._identity = identity
        self._secrets = secrets
        self._clock = clock
        self._public_url = public_url
        self._life = life
        self._simulate_regions = simulate_regions
        self._starts = GroupCommit(self._write)

    async def start(self, new: NewSession, caller: Caller, address: str | None) -> Session:
        """A session with at least one pathway.

        Raises Problem `unknown_title` for one that the caller cannot see, `title_not_ready` for a
        draft, `unknown_profile`; `not_available`, `too_mature`, `not_in_region`, `not_in_plan`,
        `too_many_streams` for what the title, the profile or the plan forbids; `unknown_region`,
        `region_not_simulated`, `purged`, `no_appliance`, `steering_unavailable`.
        """
        session_id = new_id("ses")
        with tracing.session(session_id):
            return await self._start(session_id, new, caller, address)

    async def _start(
        self, session_id: str, new: NewSession, caller: Caller, address: str | None
    ) -> Session:
        now = self._clock()
        async with self._database.reading() as session:
            wanted = await look_up(session, new, caller)
        check_title(wanted.window, wanted.age, now)
        package, plan = wanted.package, wanted.plan
        async with self._streams.one_more(caller.user_id, session_id, plan.streams):
            expires_at = now + self._life.of(package.duration_s)
            ranking = await self._rank(
                RankRequest(
                    package_id=package.package_id,
                    client=address,
                    region=new.region,
                    session_id=session_id,
                    expires_at=expires_at,
                )
            )
            check_region(wanted.window, plan, ranking.region)
            if not ranking.pathways:
                raise Problem("no_appliance", _why_none(ranking))
            row = SessionRow(
                session_id=session_id,
                title_id=new.title_id,
                package_id=package.package_id,
                user_id=caller.user_id,
                profile_id=new.profile_id or "",
                inventory_sha256=package.inventory_sha256,
                ranking=ranking.model_dump_json(),
                renditions=joined(await self._allowed(package, plan)),
                streams=plan.streams,
                created_at=now,
                expires_at=expires_at,
            )
            try:
                if not await self._starts.add(_Start(row, ranking.region)):
                    raise Problem("unknown_title")  # it has gone in the meantime
            except IntegrityError:  # and here the account has
                raise Problem("signed_out") from None
        logger().info("session_started", session_id=session_id, title_id=new.title_id)
        return self._session(row, package, ranking, wanted.resume_s)

    async def _write(self, starts: Sequence[_Start]) -> list[bool]:
        """These sessions are there, but for those whose title does not play any more."""
        asked = {"title_ids": sorted({start.row.title_id for start in starts})}
        async with self._database.writing() as session:
            play = set(await session.scalars(_STILL_PLAY, asked))
            rows = [start.row for start in starts if start.row.title_id in play]
            if rows:
                await session.execute(_SESSIONS.insert(), [_values(row) for row in rows])
                begun = [(s.row, s.region) for s in starts if s.row.title_id in play]
                await self._watching.begin(session, begun)
        return [start.row.title_id in play for start in starts]

    async def beat(self, session_id: str, caller: Caller, beat: Heartbeat) -> None:
        """The player is where it says, and its stream counts for a while more. Raises Problem
        `unknown_session`, and `too_many_streams` when it was silent for so long that others took
        its place."""
        async with self._database.writing() as session:
            row = await self._own(session, session_id, caller)
            await self._watching.at(session, row, beat)
        await self._streams.renew(row.user_id, session_id, row.streams)

    async def get(self, session_id: str, caller: Caller) -> Session:
        """The session, to who opened it and to operators. Raises Problem `unknown_session`."""
        async with self._database.reading() as session:
            row = await self._own(session, session_id, caller)
            package = await session.get(PackageRow, row.package_id)
            resume_s = await self._watching.position(session, row)
        ranking = RankAnswer.model_validate_json(row.ranking)
        return self._session(row, package, ranking, resume_s)

    async def end(self, session_id: str, caller: Caller, position_s: float | None = None) -> None:
        """The session's manifests are gone, and its player was last at `position_s`. When an
        operator ends it, appliances refuse its token too, within seconds; a viewer who is done
        needs no such word to the whole fleet. Raises Problem `unknown_session`,
        `steering_unavailable`."""
        async with self._database.reading() as session:
            row = await self._own(session, session_id, caller)
        if caller.role in OPERATORS:
            await self._revoke(row)
        async with self._database.writing() as session:
            await self._watching.at(session, row, Heartbeat(position_s=position_s))
            await session.execute(delete(SessionRow).where(SessionRow.session_id == session_id))
        await self._streams.end(row.user_id, session_id, row.streams)

    async def end_all(self, user_id: str) -> None:
        """The account's sessions have ended, and appliances refuse their tokens within seconds.
        Raises Problem `steering_unavailable`: then some may play on, until it is tried again."""
        theirs = select(SessionRow).where(
            SessionRow.user_id == user_id, SessionRow.expires_at > self._clock()
        )
        async with self._database.reading() as session:
            rows = (await session.scalars(theirs)).all()
        for row in rows:
            await self._revoke(row)
            async with self._database.writing() as session:
                mine = SessionRow.session_id == row.session_id
                await session.execute(delete(SessionRow).where(mine))
            await self._streams.end(user_id, row.session_id, row.streams)

    async def _revoke(self, row: SessionRow) -> None:
        until = row.expires_at + timedelta(seconds=LEEWAY_S)
        await self._steering.revoke(RevokeRequest(session_id=row.session_id, until=until))

    async def playing(self, session_id: str, key: str) -> Playing:
        """What the session plays. Raises Problem `token_invalid` for a key that is not the
        session's, before anything is looked up, and `unknown_session`."""
        if not hmac.compare_digest(key.encode(), self._key(session_id).encode()):
            raise Problem("token_invalid")
        async with self._database.reading() as session:
            row = await self._live(session, session_id)
        return Playing(
            title_id=row.title_id,
            package_id=row.package_id,
            inventory_sha256=row.inventory_sha256,
            ranking=RankAnswer.model_validate_json(row.ranking),
            renditions=split(row.renditions),
            base_path=self._base_path(row),
            license_url=f"{self._base(session_id)}/license",
        )

    async def licence(self, session_id: str, key: str, asked: LicenceRequest) -> dict[str, Any]:
        """A licence for those keys of the session's package that are asked for, and no others.
        Raises Problem `token_invalid` and `unknown_session`, as `playing` does."""
        playing = await self.playing(session_id, key)
        return licence(keys_of(playing.package_id, self._secrets.content), asked.kids)

    async def steer(self, title_id: str, region: str | None, address: str | None) -> SteerAnswer:
        """The ranking that a client of this place would get, whether or not it is empty."""
        async with self._database.reading() as session:
            title = await live_title(session, title_id)
        if title.package_id is None:
            raise Problem("title_not_ready")
        ranking = await self._rank(
            RankRequest(package_id=title.package_id, client=address, region=region, thorough=True)
        )
        return SteerAnswer(
            title_id=title_id,
            region=ranking.region,
            site=ranking.site,
            pathways=ranking.pathways,
            skipped=ranking.skipped,
        )

    async def drop_expired(self) -> None:
        """Sessions that are over take no room."""
        async with self._database.writing() as session:
            await session.execute(delete(SessionRow).where(SessionRow.expires_at < self._clock()))

    async def _rank(self, request: RankRequest) -> RankAnswer:
        if request.region is not None and not self._simulate_regions:
            raise Problem("region_not_simulated")
        try:
            return await self._steering.rank(request)
        except Problem as problem:
            if problem.code != "steering_unavailable":
                raise
            answer = self._standby.rank(request)
            if answer is None:
                raise
            logger().warning("ranked_without_steering", package_id=request.package_id)
            return answer

    async def _own(self, session: AsyncSession, session_id: str, caller: Caller) -> SessionRow:
        row = await self._live(session, session_id)
        if row.user_id != caller.user_id and caller.role not in OPERATORS:
            raise Problem("unknown_session")
        return row

    async def _live(self, session: AsyncSession, session_id: str) -> SessionRow:
        row = await session.get(SessionRow, session_id)
        if row is None or row.expires_at <= self._clock():
            raise Problem("unknown_session")
        return row

    async def _allowed(self, package: PackageRow, plan: Limits) -> tuple[str, ...] | None:
        """The ids of the renditions that the plan allows; None for all."""
        if plan.max_height is None and plan.codecs is None:
            return None
        made = await self._packages.get(
            package.title_id, package.package_id, package.inventory_sha256
        )
        kept = allowed_renditions(made.inventory.renditions, plan)
        return None if kept is None else tuple(rendition.rendition_id for rendition in kept)

    def _session(
        self, row: SessionRow, package: PackageRow | None, ranking: RankAnswer, resume_s: float
    ) -> Session:
        base = self._base(row.session_id)
        encrypted = package is not None and package.encryption
        license_url = f"{base}/license" if encrypted else None
        return Session(
            session_id=row.session_id,
            title_id=row.title_id,
            package_id=row.package_id,
            region=ranking.region,
            hls_url=f"{base}/master.m3u8",
            dash_url=f"{base}/manifest.mpd",
            pathways=ranking.pathways,
            skipped=ranking.skipped,
            inventory_sha256=row.inventory_sha256,
            base_path=self._base_path(row),
            license_url=license_url,
            player_settings=player_settings(
                row.session_id, row.title_id, len(ranking.pathways), license_url
            ),
            resume_s=resume_s,
            heartbeat_s=BEAT_S,
            expires_at=row.expires_at,
        )

    def _base(self, session_id: str) -> str:
        """The address of what belongs to a session; who knows it may have it."""
        return f"{self._public_url}/v1/sessions/{session_id}/{self._key(session_id)}"

    def _base_path(self, row: SessionRow) -> str:
        claims = PathClaims(
            session_id=row.session_id,
            title_id=row.title_id,
            package_id=row.package_id,
            inventory_sha256=row.inventory_sha256,
            expires_s=_seconds(row.expires_at),
            renditions=split(row.renditions),
        )
        token = sign_path_token(claims, self._identity, _seconds(row.created_at))
        return f"/{token}/{package_prefix(row.title_id, row.package_id)}"

    def _key(self, session_id: str) -> str:
        secret = self._secrets.sessions
        return hmac.new(secret, session_id.encode(), hashlib.sha256).hexdigest()[:32]


# Whoever deletes a title waits for us, or we for him; then he ends our sessions, or we see it.
_STILL_PLAY = (
    select(TitleRow.title_id)
    .where(
        TitleRow.title_id.in_(bindparam("title_ids", expanding=True)),
        TitleRow.deleted_at.is_(None),
        TitleRow.state == "published",
    )
    .order_by(TitleRow.title_id)
    .with_for_update(read=True)
)
_SESSIONS = SessionRow.metadata.tables[SessionRow.__tablename__]


def _values(row: SessionRow) -> dict[str, Any]:
    return {column.key: getattr(row, column.key) for column in _SESSIONS.columns}


def _why_none(ranking: RankAnswer) -> str:
    """One sentence that names what was passed over, so that an operator knows where to look."""
    if not ranking.skipped:
        return "No appliance has reported yet."
    reasons = "; ".join(f"{skipped.appliance_id}: {skipped.why}" for skipped in ranking.skipped[:5])
    return f"No healthy appliance can serve this title ({reasons})."


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())

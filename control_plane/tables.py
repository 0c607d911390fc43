"""The database: users and what is theirs, titles, uploads, jobs, packages, sessions.

Moments are whole milliseconds since 1970 in a BIGINT, so that SQLite and PostgreSQL keep and
compare them alike. A title that was deleted stays as a row, seen by nobody, until its objects
are gone from the store.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from sqlalchemy import (
    BigInteger,
    Float,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from media.accounts import Role
from media.api import JobState, TitleState

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Id = Annotated[str, mapped_column(String(30))]
Key = Annotated[str, mapped_column(String(30), primary_key=True)]
Digest = Annotated[str, mapped_column(String(64))]
OfTitle = Annotated[
    str, mapped_column(String(30), ForeignKey("titles.title_id", ondelete="CASCADE"), index=True)
]
OfUser = Annotated[
    str, mapped_column(String(30), ForeignKey("users.user_id", ondelete="CASCADE"), index=True)
]


def to_ms(moment: datetime) -> int:
    """Whole milliseconds since 1970."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def from_ms(ms: int) -> datetime:
    """The moment so many milliseconds after 1970. Raises OverflowError."""
    return _EPOCH + timedelta(milliseconds=ms)


class Moment(TypeDecorator[datetime]):
    """A UTC datetime, cut to milliseconds."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else to_ms(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        return None if value is None else from_ms(value)


class Base(DeclarativeBase):
    """All tables."""

    type_annotation_map = {datetime: Moment(), int: BigInteger()}  # noqa: RUF012
    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ix": "ix_%(table_name)s_%(column_0_name)s",
        }
    )


class PlanRow(Base):
    """What accounts may play. Lists are text with commas; NULL limits nothing."""

    __tablename__ = "plans"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    max_height: Mapped[int | None]
    codecs: Mapped[str | None] = mapped_column(Text)
    streams: Mapped[int | None]
    regions: Mapped[str | None] = mapped_column(Text)


class UserRow(Base):
    """An account."""

    __tablename__ = "users"

    user_id: Mapped[Key]
    name: Mapped[str] = mapped_column(String(64), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    role: Mapped[Role] = mapped_column(String(16))
    disabled: Mapped[bool] = mapped_column(default=False)
    plan: Mapped[str | None] = mapped_column(String(32), ForeignKey("plans.name"), index=True)
    created_at: Mapped[datetime]


class DeviceRow(Base):
    """Where a user is signed in. `generation` is that of the refresh token it was given last, at
    `seen_at`."""

    __tablename__ = "devices"

    device_id: Mapped[Key]
    user_id: Mapped[OfUser]
    name: Mapped[str] = mapped_column(String(100))
    generation: Mapped[int]
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class ProfileRow(Base):
    """One of the people who share an account. `maturity` is its age limit; NULL: none."""

    __tablename__ = "profiles"
    __table_args__ = (UniqueConstraint("user_id", "name"),)

    profile_id: Mapped[Key]
    user_id: Mapped[Id] = mapped_column(ForeignKey("users.user_id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(100))
    maturity: Mapped[int | None]
    created_at: Mapped[datetime]


class ApiKeyRow(Base):
    """A key for automation, by the SHA-256 of its secret."""

    __tablename__ = "api_keys"

    key_id: Mapped[Key]
    user_id: Mapped[OfUser]
    name: Mapped[str] = mapped_column(String(100))
    role: Mapped[Role] = mapped_column(String(16))
    secret_sha256: Mapped[Digest]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]


class AuditRow(Base):
    """A deed. It names its doer in words, for it outlives the account."""

    __tablename__ = "audit"

    entry_id: Mapped[Key]
    at: Mapped[datetime] = mapped_column(index=True)
    who: Mapped[str] = mapped_column(String(64))
    role: Mapped[str] = mapped_column(String(16))
    address: Mapped[str] = mapped_column(String(64))
    what: Mapped[str] = mapped_column(String(100))
    subject: Mapped[str] = mapped_column(String(200))
    outcome: Mapped[str] = mapped_column(String(64))
    request_id: Mapped[str] = mapped_column(String(64))


class InvitationRow(Base):
    """An appliance that may join once, by the SHA-256 of its token; `used_by` is its key then."""

    __tablename__ = "invitations"

    appliance_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    site: Mapped[str] = mapped_column(String(32))
    token_sha256: Mapped[Digest]
    used_by: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class MachineRow(Base):
    """An appliance that enrolled, with its public key in hex; NULL: it was forgotten."""

    __tablename__ = "machines"

    appliance_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    site: Mapped[str] = mapped_column(String(32))
    ed25519: Mapped[str | None] = mapped_column(String(64))
    public_url: Mapped[str | None] = mapped_column(String(200))
    changed_at: Mapped[datetime]


class TitleRow(Base):
    """A catalog entry. `package_id` is the package that plays. `about` is what people read (JSON),
    the columns after it what decides: regions are text with commas, NULL for everywhere.
    `artwork` is the picture that it was given (see `control_plane.artwork`), empty for none."""

    __tablename__ = "titles"

    title_id: Mapped[Key]
    name: Mapped[str] = mapped_column(String(200))
    folded: Mapped[str] = mapped_column(Text)  # casefold() of the name, for names without words
    about: Mapped[str] = mapped_column(Text, default="{}")
    maturity: Mapped[int | None]
    regions: Mapped[str | None] = mapped_column(Text)
    available_from: Mapped[datetime | None]
    available_until: Mapped[datetime | None]
    state: Mapped[TitleState] = mapped_column(String(16), index=True)
    artwork: Mapped[str] = mapped_column(String(90), default="")
    # No foreign key: packages point at titles, and a circle cannot be created in one go.
    package_id: Mapped[Id | None]
    created_at: Mapped[datetime]
    published_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None] = mapped_column(index=True)


class UploadRow(Base):
    """A master on its way. Once its job exists, the upload is over; so it is once `dropped`, while
    what the store has of it is cleared away."""

    __tablename__ = "uploads"

    upload_id: Mapped[Key]
    title_id: Mapped[OfTitle]
    store_key: Mapped[str] = mapped_column(String(700), unique=True)
    store_upload_id: Mapped[str | None] = mapped_column(String(1024))
    total_bytes: Mapped[int]
    part_bytes: Mapped[int]
    publish: Mapped[bool]
    priority: Mapped[int] = mapped_column(default=0)
    subtitles: Mapped[str] = mapped_column(Text, default="")  # languages, by commas
    encryption: Mapped[str] = mapped_column(String(4), default="")  # empty: in the clear
    created_at: Mapped[datetime] = mapped_column(index=True)
    job_id: Mapped[Id | None]
    dropped: Mapped[bool] = mapped_column(default=False)


class JobRow(Base):
    """One encode of one master. `attempt` counts leases; only the latest holder is heard.
    `failures` counts the attempts that ended badly; until `not_before` nobody tries again.
    `cleared_at`: nothing is in the store any more of what a job began that made no package."""

    __tablename__ = "jobs"

    job_id: Mapped[Key]
    title_id: Mapped[OfTitle]
    package_id: Mapped[Id] = mapped_column(unique=True)
    master_key: Mapped[str] = mapped_column(String(700))
    master_sha256: Mapped[Digest | None]
    publish: Mapped[bool]
    priority: Mapped[int] = mapped_column(default=0)
    subtitles: Mapped[str] = mapped_column(Text, default="")  # languages, by commas
    encryption: Mapped[str] = mapped_column(String(4), default="")  # empty: in the clear
    state: Mapped[JobState] = mapped_column(String(16), index=True)
    attempt: Mapped[int]
    failures: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[datetime | None]
    holder: Mapped[str | None] = mapped_column(String(32))
    lease_expires_at: Mapped[datetime | None]
    stage: Mapped[str] = mapped_column(String(16))
    fraction: Mapped[float] = mapped_column(Float)
    speed: Mapped[float | None] = mapped_column(Float)
    eta_s: Mapped[float | None] = mapped_column(Float)
    chunks: Mapped[int | None]
    chunks_done: Mapped[int | None]
    error_code: Mapped[str | None] = mapped_column(String(64))
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    cleared_at: Mapped[datetime | None]


class PackageRow(Base):
    """A package that stands in the store, as its inventory describes it. Never changed; since
    `superseded_at` another one plays in its place, and this one goes once nobody can play it. One
    without a poster has no digest of it. `renditions` has the bytes of each (a JSON object); empty:
    it came before they were noted."""

    __tablename__ = "packages"

    package_id: Mapped[Key]
    title_id: Mapped[OfTitle]
    inventory_sha256: Mapped[Digest]
    duration_s: Mapped[float] = mapped_column(Float)
    max_height: Mapped[int | None]
    total_bytes: Mapped[int]
    renditions: Mapped[str] = mapped_column(Text, default="")
    encryption: Mapped[str] = mapped_column(String(4), default="")
    poster_sha256: Mapped[Digest] = mapped_column(default="")
    created_at: Mapped[datetime]
    superseded_at: Mapped[datetime | None] = mapped_column(index=True)


class RestoreRow(Base):
    """A backup was restored: of what was made between the two moments the store may have things
    that the database does not know."""

    __tablename__ = "restores"

    restored_at: Mapped[datetime] = mapped_column(primary_key=True)
    backup_at: Mapped[datetime]


class SessionRow(Base):
    """A playback session with the ranking it was given (`media.fleet.RankAnswer` as JSON), and what
    its plan allowed when it began: `renditions`, with commas, NULL for all, and streams at once."""

    __tablename__ = "sessions"

    session_id: Mapped[Key]
    title_id: Mapped[OfTitle]
    package_id: Mapped[Id]
    user_id: Mapped[OfUser]
    profile_id: Mapped[str] = mapped_column(String(30), default="")
    inventory_sha256: Mapped[Digest]
    ranking: Mapped[str] = mapped_column(Text)
    renditions: Mapped[str | None] = mapped_column(Text)
    streams: Mapped[int | None]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class WatchedRow(Base):
    """How far a profile, or an account without one, is in a title."""

    __tablename__ = "watched"
    __table_args__ = (
        Index("ix_watched_user_id", "user_id", "profile_id", "watched_at"),
        Index("ix_watched_region", "region", "watched_at"),
    )

    user_id: Mapped[str] = mapped_column(
        String(30), ForeignKey("users.user_id", ondelete="CASCADE"), primary_key=True
    )
    profile_id: Mapped[str] = mapped_column(String(30), primary_key=True)  # "": none
    title_id: Mapped[str] = mapped_column(
        String(30),
        ForeignKey("titles.title_id", ondelete="CASCADE"),
        primary_key=True,
        index=True,
    )
    region: Mapped[str] = mapped_column(String(32))
    position_s: Mapped[float] = mapped_column(Float)
    finished: Mapped[bool]
    watched_at: Mapped[datetime]

"""The database: users, titles, uploads, jobs, packages, sessions.

Moments are whole milliseconds since 1970 in a BIGINT, so that SQLite and PostgreSQL keep and
compare them alike. A title that was deleted stays as a row, seen by nobody, until its objects
are gone from the store.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from sqlalchemy import BigInteger, Float, ForeignKey, MetaData, String, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from media.api import JobState, Role, TitleState

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Id = Annotated[str, mapped_column(String(30))]
Key = Annotated[str, mapped_column(String(30), primary_key=True)]
Digest = Annotated[str, mapped_column(String(64))]
OfTitle = Annotated[
    str, mapped_column(String(30), ForeignKey("titles.title_id", ondelete="CASCADE"), index=True)
]


class Moment(TypeDecorator[datetime]):
    """A UTC datetime, cut to milliseconds."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else (value - _EPOCH) // timedelta(milliseconds=1)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        return None if value is None else _EPOCH + timedelta(milliseconds=value)


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


class UserRow(Base):
    """An account."""

    __tablename__ = "users"

    user_id: Mapped[Key]
    name: Mapped[str] = mapped_column(String(64), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    role: Mapped[Role] = mapped_column(String(16))
    created_at: Mapped[datetime]


class TitleRow(Base):
    """A catalog entry. `package_id` is the package that plays."""

    __tablename__ = "titles"

    title_id: Mapped[Key]
    name: Mapped[str] = mapped_column(String(200))
    folded: Mapped[str] = mapped_column(Text)  # casefold() of the name, for the search
    state: Mapped[TitleState] = mapped_column(String(16), index=True)
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
    """A package that stands in the store, as its inventory describes it. Never changed."""

    __tablename__ = "packages"

    package_id: Mapped[Key]
    title_id: Mapped[OfTitle]
    inventory_sha256: Mapped[Digest]
    duration_s: Mapped[float] = mapped_column(Float)
    max_height: Mapped[int | None]
    total_bytes: Mapped[int]
    encryption: Mapped[str] = mapped_column(String(4), default="")
    created_at: Mapped[datetime]


class SessionRow(Base):
    """A playback session with the ranking it was given (`media.fleet.RankAnswer` as JSON)."""

    __tablename__ = "sessions"

    session_id: Mapped[Key]
    title_id: Mapped[OfTitle]
    package_id: Mapped[Id]
    user_id: Mapped[Id] = mapped_column(ForeignKey("users.user_id", ondelete="CASCADE"), index=True)
    inventory_sha256: Mapped[Digest]
    ranking: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)

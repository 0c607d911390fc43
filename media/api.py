"""Wire types of the control plane's HTTP API: what its clients send and receive.

Requests refuse unknown fields (a typo is an error, and nothing can be assigned by the way);
answers are read leniently by older clients.
"""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from media.fleet import Pathway, PurgeTarget, Skipped
from media.ids import JobId, Name, PackageId, SessionId, TitleId, UploadId, UserId
from media.protection import Protection, Scheme

Role = Literal["viewer", "operator", "admin"]
TitleState = Literal["draft", "published"]
# The stages of a job, in their order.
Stage = Literal[
    "waiting", "download", "probe", "ladder", "encode", "judge", "package", "publish", "done"
]
JobState = Literal["queued", "running", "done", "failed", "cancelled"]

# Text without control characters: terminals obey some, and PostgreSQL keeps no NUL.
Plain = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
MAX_MASTER_BYTES = 2 * 1024**4
MAX_PARTS = 10_000


class Request(BaseModel):
    """A request body."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class Answer(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Login(Request):
    """`POST /v1/auth/login`"""

    name: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=1, max_length=256)


class Tokens(Answer):
    """A short-lived access token, for `Authorization: Bearer`."""

    access_token: str
    expires_at: AwareDatetime


class NewUser(Request):
    """`POST /v1/users`"""

    name: str = Field(pattern=r"^[A-Za-z0-9._@-]{1,64}$")
    password: str = Field(min_length=10, max_length=256)
    role: Role = "viewer"


class User(Answer):
    """An account without its secret."""

    user_id: UserId
    name: str
    role: Role


class NewTitle(Request):
    """`POST /v1/titles`"""

    name: Plain = Field(min_length=1, max_length=200)


class Encode(Answer):
    """How an encode stands: as its job, but `refused` when it failed because of the master itself.
    `code` and `why` say what went wrong, to those who see drafts."""

    state: JobState | Literal["refused"]
    code: str | None = None
    why: str | None = None


class Title(Answer):
    """A catalog entry. `package_id` is the package that plays; None until one was encoded."""

    title_id: TitleId
    name: str
    state: TitleState
    package_id: PackageId | None
    duration_s: float | None
    max_height: int | None
    created_at: AwareDatetime
    published_at: AwareDatetime | None
    job_id: JobId | None = None  # the latest encode
    encode: Encode | None = None  # the same


class TitlePage(Answer):
    """Titles in order of creation, newest first; `next_cursor` None at the end."""

    titles: tuple[Title, ...]
    next_cursor: str | None


class NewUpload(Request):
    """`POST /v1/titles/{title_id}/uploads`: announces a master of exactly `bytes` bytes.

    `publish` makes the title visible as soon as the package stands. Jobs of a higher `priority` are
    encoded first. With an `encryption` the package is encrypted.
    """

    filename: str = Field(min_length=1, max_length=255)
    bytes: int = Field(ge=1, le=MAX_MASTER_BYTES)
    publish: bool = True
    priority: int = Field(0, ge=-100, le=100)
    encryption: Scheme | None = None


class Part(Answer):
    """Bytes `[offset, offset + bytes)` of the master go to `url` by PUT. On an address of the
    control plane itself the access token goes along; on the store's own it must not."""

    number: int
    offset: int
    bytes: int
    url: str


class Upload(Answer):
    """An open upload and the parts it wants."""

    upload_id: UploadId
    title_id: TitleId
    parts: tuple[Part, ...]


class DonePart(Request):
    """A part as the store took it: `etag` is what its PUT answered."""

    number: int = Field(ge=1, le=MAX_PARTS)
    etag: str = Field(max_length=200)


class CompleteUpload(Request):
    """`POST /v1/uploads/{upload_id}/complete`"""

    parts: tuple[DonePart, ...] = Field(min_length=1, max_length=MAX_PARTS)
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")


class Progress(Answer):
    """How far a job is: `fraction` from 0 to 1 over all its stages."""

    stage: Stage = "waiting"
    fraction: float = Field(0.0, ge=0, le=1)
    speed: float | None = None  # seconds of film per second
    eta_s: float | None = None
    chunks: int | None = None  # that the film is encoded in
    chunks_done: int | None = None


class Job(Answer):
    """One encode of one master."""

    job_id: JobId
    title_id: TitleId
    state: JobState
    master_sha256: str | None = None  # None when the upload did not say
    progress: Progress
    priority: int = 0
    attempt: int
    error_code: str | None = None  # why the latest attempt failed
    error: str | None = None
    created_at: AwareDatetime
    finished_at: AwareDatetime | None = None


class JobList(Answer):
    """`GET /v1/jobs`: those that wait or run in the order of their turn, then those that ended, the
    latest first."""

    jobs: tuple[Job, ...]


class Beside(Answer):
    """A file of subtitles beside a master: a BCP 47 language, and the object that has it."""

    language: str
    key: str


class Lease(Answer):
    """`POST /v1/jobs/lease`, by an encoder: the job is its own until `expires_at`, unless a
    heartbeat renews it. `attempt` fences: a later attempt makes this one's words void (409)."""

    job_id: JobId
    attempt: int
    title_id: TitleId
    package_id: PackageId
    master_key: str
    master_sha256: str | None
    subtitles: tuple[Beside, ...] = ()
    protection: Protection | None = None
    expires_at: AwareDatetime


class LeaseOffer(Answer):
    """The answer to a request for work: nothing to do when `lease` is None."""

    lease: Lease | None


class JobHeartbeat(Request):
    """`POST /v1/jobs/{job_id}/heartbeat`: renews the lease by 30 s."""

    attempt: int
    progress: Progress


class JobComplete(Request):
    """`POST /v1/jobs/{job_id}/complete`: the package stands in the store, its inventory last."""

    attempt: int
    inventory_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class JobFailed(Request):
    """`POST /v1/jobs/{job_id}/fail`: with `retry` the job is tried again after a while."""

    attempt: int
    code: str = Field(max_length=64, pattern=r"^[a-z0-9_]+$")
    message: Plain = Field(max_length=1000)
    retry: bool = False


class JobHandedBack(Request):
    """`POST /v1/jobs/{job_id}/hand-back`: the encoder has to stop; the attempt does not count."""

    attempt: int


class NewSession(Request):
    """`POST /v1/sessions`. `region` simulates one, where the settings allow it."""

    title_id: TitleId
    region: Name | None = None


class Session(Answer):
    """A playback session. The URLs carry their own authority: hand them to the player only."""

    session_id: SessionId
    title_id: TitleId
    package_id: PackageId
    region: Name
    hls_url: str
    dash_url: str
    pathways: tuple[Pathway, ...]
    skipped: tuple[Skipped, ...]
    inventory_sha256: str
    license_url: str | None  # of Clear Key (W3C EME, 9.1); None for a package in the clear
    base_path: str  # "/{token}/titles/…/…/", to append to a pathway's url
    player_settings: dict[str, dict[str, Any]]
    expires_at: AwareDatetime


class SteerAnswer(Answer):
    """`GET /v1/titles/{title_id}/steer`: the ranking a client of this place would get."""

    title_id: TitleId
    region: Name
    site: Name | None
    pathways: tuple[Pathway, ...]
    skipped: tuple[Skipped, ...]


class NewPurge(PurgeTarget):
    """`POST /v1/purges`: one of a title, a package and a pattern."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Regions(Answer):
    """`GET /v1/regions`: the regions in which appliances stand, for a player's menu."""

    regions: tuple[Name, ...]

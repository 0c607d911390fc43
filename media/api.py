"""Wire types of the control plane's HTTP API: what its clients send and receive.

Accounts have their own in `media.accounts`. Requests refuse unknown fields (a typo is an error, and
nothing can be assigned by the way); answers are read leniently by older clients.
"""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints

from media.accounts import Age, Answer, Change, Label, Plain, Request
from media.fleet import Pathway, PurgeTarget, Skipped
from media.ids import LANGUAGE, JobId, Name, PackageId, ProfileId, SessionId, TitleId, UploadId
from media.protection import Protection, Scheme

TitleState = Literal["draft", "published"]
# The stages of a job, in their order.
Stage = Literal[
    "waiting", "download", "probe", "ladder", "encode", "judge", "package", "publish", "done"
]
JobState = Literal["queued", "running", "done", "failed", "cancelled"]

# Several lines of text: control characters are none but line feed and tab.
Prose = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$")]
TitleName = Annotated[Plain, Field(min_length=1, max_length=200)]
Language = Annotated[str, StringConstraints(pattern=f"^{LANGUAGE.pattern}$", max_length=35)]
Position = Annotated[float, Field(ge=0, le=10**6, allow_inf_nan=False)]  # seconds of a film
MAX_MASTER_BYTES = 2 * 1024**4
MAX_PARTS = 10_000


class Credit(Request):
    """Somebody who made a film, and what they did."""

    name: Label
    role: Label = "actor"


class About(Request):
    """What is known of a title, and who may see it: `maturity` is the age from which, `regions`
    None means everywhere, and it plays from `available_from` until just before `available_until`.
    """

    synopsis: Prose = Field("", max_length=4000)
    year: int | None = Field(None, ge=1870, le=2200)
    maturity: Age | None = None
    genres: tuple[Label, ...] = Field((), max_length=20)
    people: tuple[Credit, ...] = Field((), max_length=200)
    languages: tuple[Language, ...] = Field((), max_length=50)
    regions: tuple[Name, ...] | None = Field(None, min_length=1, max_length=100)
    available_from: AwareDatetime | None = None
    available_until: AwareDatetime | None = None


class NewTitle(About):
    """`POST /v1/titles`"""

    name: TitleName


class TitleChange(About, Change):
    """`PATCH /v1/titles/{title_id}`: the fields that are given; lists are replaced whole."""

    name: TitleName | None = None

    always_set = frozenset({"name"})


class Encode(Answer):
    """How an encode stands: as its job, but `refused` when it failed because of the master itself.
    `code` and `why` say what went wrong, to those who see drafts."""

    state: JobState | Literal["refused"]
    code: str | None = None
    why: str | None = None


class Title(Answer):
    """A catalog entry. `package_id` is the package that plays; None until one was encoded.
    `artwork_url` is where its picture is, for those who see the title; no token goes along."""

    title_id: TitleId
    name: str
    about: About = About()
    state: TitleState
    package_id: PackageId | None
    duration_s: float | None
    max_height: int | None
    artwork_url: str | None = None
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
    """`POST /v1/sessions`. `region` simulates one, where the settings allow it. The profile's limit
    holds, and what it watches goes into its history."""

    title_id: TitleId
    region: Name | None = None
    profile_id: ProfileId | None = None


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
    resume_s: float = 0.0  # where the profile left off
    heartbeat_s: float = 30.0  # how often the player is to say where it is
    expires_at: AwareDatetime


class Heartbeat(Request):
    """`POST /v1/sessions/{session_id}/heartbeat`: the session plays, and where it is, if the
    player knows. Rebuffers are those since the last one."""

    position_s: Position | None = None
    rebuffers: int = Field(0, ge=0, le=1000)
    bitrate_bps: int | None = Field(None, ge=0, le=10**10)


class Watched(Answer):
    """A title as far as somebody watched it."""

    title: Title
    position_s: float
    finished: bool
    watched_at: AwareDatetime


class History(Answer):
    """`GET /v1/history`, the latest first; `next_cursor` None at the end."""

    watched: tuple[Watched, ...]
    next_cursor: str | None


class Home(Answer):
    """`GET /v1/home`. A row whose source is away is empty, or the newest titles in place of the
    popular; `degraded` names such rows."""

    continue_watching: tuple[Watched, ...]
    popular: tuple[Title, ...]
    degraded: tuple[str, ...]


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

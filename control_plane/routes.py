"""The route table: every address of the control plane, who may use it, what it takes and gives."""

from typing import Annotated, Any

from pydantic import Field

from control_plane.http_accounts import AccountsHttp
from control_plane.http_catalog import CatalogHttp, TitleQuery
from control_plane.http_fleet import FleetHttp
from control_plane.http_jobs import JobsHttp, LeaseQuery
from control_plane.http_playback import ManifestQuery, PlaybackHttp, SteerQuery
from control_plane.http_self import SelfHttp
from control_plane.http_uploads import UploadsHttp
from control_plane.roles import ADMINS, ENCODERS, OPERATORS, STEERING, VIEWERS
from media.api import (
    CompleteUpload,
    Job,
    JobComplete,
    JobFailed,
    JobHandedBack,
    JobHeartbeat,
    JobList,
    LeaseOffer,
    Login,
    NewPurge,
    NewSession,
    NewTitle,
    NewUpload,
    NewUser,
    Regions,
    Session,
    SteerAnswer,
    Title,
    TitlePage,
    Tokens,
    Upload,
    User,
)
from media.fleet import DrainRequest, PackageList, Roster
from media.ids import LANGUAGE, JobId, Name, SessionId, TitleId, UploadId
from media.inventory import CONTENT_TYPES
from media.protection import LicenceRequest
from media.purges import PurgeDetails, PurgeJobs
from runtime.api import Route, described

VERSION = "1"

TITLE: dict[str, Any] = {"title_id": TitleId}
UPLOAD: dict[str, Any] = {"upload_id": UploadId}
PART = UPLOAD | {"number": Annotated[str, Field(pattern=r"^[1-9][0-9]{0,4}$")]}
SUBTITLES = UPLOAD | {"language": Annotated[str, Field(pattern=f"^{LANGUAGE.pattern}$")]}
JOB: dict[str, Any] = {"job_id": JobId}
SESSION: dict[str, Any] = {"session_id": SessionId}
MANIFEST = SESSION | {"key": Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]}

# 10,000 parts of some 100 bytes each.
MAX_COMPLETE_BYTES = 2 * 1024 * 1024


def table(
    accounts: AccountsHttp,
    catalog: CatalogHttp,
    uploads: UploadsHttp,
    jobs: JobsHttp,
    playback: PlaybackHttp,
    fleet: FleetHttp,
    itself: SelfHttp,
) -> list[Route]:
    """All routes, and the document that describes them."""
    routes = [
        *_accounts(accounts),
        *_catalog(catalog, playback),
        *_uploads(uploads),
        *_jobs(jobs),
        *_sessions(playback),
        *_fleet(catalog, fleet),
        *_itself(itself),
    ]
    return described(routes, "Nearcast control plane", VERSION)


# One line a route where it fits: this is a table.
# fmt: off
def _accounts(on: AccountsHttp) -> list[Route]:
    return [
        Route("POST", "/v1/auth/login", on.login, "Signs in", body=Login, answer=Tokens,
              errors=("wrong_credentials", "too_many_attempts", "overloaded", "unavailable")),
        Route("GET", "/v1/me", on.me, "Who is signed in", answer=User, roles=VIEWERS),
        Route("POST", "/v1/users", on.create_user, "Makes an account", body=NewUser, answer=User,
              status=201, roles=ADMINS, errors=("name_taken",)),
    ]


def _catalog(on: CatalogHttp, playback: PlaybackHttp) -> list[Route]:
    unknown = ("unknown_title",)
    return [
        Route("POST", "/v1/titles", on.create, "Makes a draft title", body=NewTitle, answer=Title,
              status=201, roles=OPERATORS),
        Route("GET", "/v1/titles", on.page, "Titles, the newest first", query=TitleQuery,
              answer=TitlePage, roles=VIEWERS),
        Route("GET", "/v1/titles/{title_id}", on.get, "A title", params=TITLE, answer=Title,
              roles=VIEWERS, errors=unknown),
        Route("DELETE", "/v1/titles/{title_id}", on.delete, "Removes a title and its packages",
              params=TITLE, roles=OPERATORS, errors=unknown),
        Route("POST", "/v1/titles/{title_id}/publish", on.publish, "Viewers may play it",
              params=TITLE, answer=Title, roles=OPERATORS, errors=(*unknown, "title_not_ready")),
        Route("POST", "/v1/titles/{title_id}/unpublish", on.unpublish, "A draft again",
              params=TITLE, answer=Title, roles=OPERATORS, errors=unknown),
        Route("GET", "/v1/titles/{title_id}/steer", playback.steer, "The ranking, with reasons",
              params=TITLE, query=SteerQuery, answer=SteerAnswer, roles=OPERATORS,
              errors=(*unknown, "title_not_ready", "unknown_region", "region_not_simulated",
                      "purged", "steering_unavailable")),
    ]


def _uploads(on: UploadsHttp) -> list[Route]:
    return [
        Route("POST", "/v1/titles/{title_id}/uploads", on.start, "Opens an upload of a master",
              params=TITLE, body=NewUpload, answer=Upload, status=201, roles=OPERATORS,
              errors=("unknown_title", "store_unavailable")),
        Route("PUT", "/v1/uploads/{upload_id}/parts/{number}", on.put_part,
              "The bytes of a part; its etag is in the ETag header", params=PART, roles=OPERATORS,
              errors=("unknown_upload", "parts_differ", "bad_request", "store_unavailable")),
        Route("PUT", "/v1/uploads/{upload_id}/subtitles/{language}", on.put_subtitles,
              "Subtitles beside the master, SRT or WebVTT", params=SUBTITLES, roles=OPERATORS,
              status=204, errors=("unknown_upload", "bad_subtitles", "bad_request",
                                  "store_unavailable")),
        Route("POST", "/v1/uploads/{upload_id}/complete", on.complete,
              "The master is whole; its encode is queued", params=UPLOAD, body=CompleteUpload,
              answer=Job, roles=OPERATORS, max_body_bytes=MAX_COMPLETE_BYTES,
              errors=("unknown_upload", "unknown_title", "parts_differ", "store_unavailable")),
        Route("DELETE", "/v1/uploads/{upload_id}", on.abort, "Drops an upload", params=UPLOAD,
              roles=OPERATORS, errors=("unknown_upload", "store_unavailable")),
    ]


def _jobs(on: JobsHttp) -> list[Route]:
    unknown = ("unknown_job",)
    held = (*unknown, "lease_lost")
    return [
        Route("POST", "/v1/jobs/lease", on.lease, "Work for an encoder", query=LeaseQuery,
              answer=LeaseOffer, roles=ENCODERS),
        Route("POST", "/v1/jobs/{job_id}/heartbeat", on.heartbeat, "Renews a lease", params=JOB,
              body=JobHeartbeat, answer=Job, roles=ENCODERS, errors=held),
        Route("POST", "/v1/jobs/{job_id}/complete", on.complete, "The package stands", params=JOB,
              body=JobComplete, answer=Job, roles=ENCODERS,
              errors=(*held, "not_in_package", "invalid_field", "store_unavailable")),
        Route("POST", "/v1/jobs/{job_id}/fail", on.fail, "The encode failed", params=JOB,
              body=JobFailed, answer=Job, roles=ENCODERS, errors=held),
        Route("POST", "/v1/jobs/{job_id}/hand-back", on.hand_back, "An encoder has to stop",
              params=JOB, body=JobHandedBack, answer=Job, roles=ENCODERS, errors=held),
        Route("GET", "/v1/jobs", on.list, "Jobs that wait or run, and the last that ended",
              answer=JobList, roles=OPERATORS),
        Route("GET", "/v1/jobs/{job_id}", on.get, "A job", params=JOB, answer=Job,
              roles=OPERATORS, errors=unknown),
        Route("GET", "/v1/jobs/{job_id}/events", on.events, "A job at each change, until it ends",
              params=JOB, roles=OPERATORS, errors=unknown, media_type="text/event-stream"),
        Route("POST", "/v1/jobs/{job_id}/cancel", on.cancel, "Ends a job", params=JOB, answer=Job,
              roles=OPERATORS, errors=unknown),
        Route("POST", "/v1/jobs/{job_id}/retry", on.retry, "Queues a job again that failed",
              params=JOB, answer=Job, roles=OPERATORS,
              errors=(*unknown, "not_found", "store_unavailable")),
    ]


def _sessions(on: PlaybackHttp) -> list[Route]:
    unknown = ("unknown_session",)
    hls = "/v1/sessions/{session_id}/{key}/master.m3u8"
    mpd = "/v1/sessions/{session_id}/{key}/manifest.mpd"
    license = "/v1/sessions/{session_id}/{key}/license"
    refused = (*unknown, "token_invalid", "not_in_package", "store_unavailable")
    return [
        Route("POST", "/v1/sessions", on.start, "Plays a title", body=NewSession, answer=Session,
              status=201, roles=VIEWERS,
              errors=("unknown_title", "title_not_ready", "unknown_region", "region_not_simulated",
                      "no_appliance", "purged", "steering_unavailable")),
        Route("GET", "/v1/sessions/{session_id}", on.get, "A session", params=SESSION,
              answer=Session, roles=VIEWERS, errors=unknown),
        Route("DELETE", "/v1/sessions/{session_id}", on.end, "Ends a session", params=SESSION,
              roles=VIEWERS, errors=(*unknown, "steering_unavailable")),
        Route("GET", hls, on.multivariant, "The HLS multivariant playlist", params=MANIFEST,
              query=ManifestQuery, errors=refused, media_type=CONTENT_TYPES["m3u8"]),
        Route("GET", mpd, on.mpd, "The DASH MPD", params=MANIFEST, query=ManifestQuery,
              errors=refused, media_type=CONTENT_TYPES["mpd"]),
        Route("POST", license, on.license, "A Clear Key licence (W3C EME, 9.1)", params=MANIFEST,
              body=LicenceRequest, errors=(*unknown, "token_invalid"),
              media_type="application/json"),
        Route("OPTIONS", license, on.preflight, "CORS", params=MANIFEST),
        Route("OPTIONS", hls, on.preflight, "CORS", params=MANIFEST),
        Route("OPTIONS", mpd, on.preflight, "CORS", params=MANIFEST),
    ]


def _fleet(catalog: CatalogHttp, on: FleetHttp) -> list[Route]:
    away = ("steering_unavailable",)
    return [
        Route("GET", "/v1/packages", catalog.packages, "Published packages, the newest first",
              answer=PackageList, roles=STEERING),
        Route("GET", "/v1/fleet", on.roster, "The latest reports", answer=Roster, roles=OPERATORS,
              errors=away),
        Route("PUT", "/v1/fleet/{appliance}/drain", on.drain, "Drains an appliance, or restores it",
              params={"appliance": Name}, body=DrainRequest, roles=OPERATORS,
              errors=(*away, "unknown_appliance")),
        Route("POST", "/v1/purges", on.purge, "Has all appliances drop a title, package or pattern",
              body=NewPurge, answer=PurgeDetails, status=201, roles=OPERATORS, errors=away),
        Route("GET", "/v1/purges", on.purges, "Purges, the newest first", answer=PurgeJobs,
              roles=OPERATORS, errors=away),
        Route("GET", "/v1/purges/{job_id}", on.purge_of, "A purge, appliance by appliance",
              params=JOB, answer=PurgeDetails, roles=OPERATORS, errors=(*away, "unknown_purge")),
        Route("POST", "/v1/purges/{job_id}/cancel", on.cancel_purge,
              "Who has not begun a purge never will", params=JOB, answer=PurgeDetails,
              roles=OPERATORS, errors=(*away, "unknown_purge")),
        Route("GET", "/v1/regions", on.regions, "Regions that have appliances", answer=Regions,
              roles=VIEWERS, errors=away),
    ]


def _itself(on: SelfHttp) -> list[Route]:
    return [
        Route("GET", "/healthz", on.alive, "The process lives"),
        Route("GET", "/readyz", on.ready, "The database answers", errors=("unavailable",)),
        Route("GET", "/metrics", on.metrics, "Prometheus metrics", media_type="text/plain"),
    ]
# fmt: on

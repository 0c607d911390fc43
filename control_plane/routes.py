"""The route table: every address of the control plane, who may use it, what it takes and gives."""

from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from control_plane.http_accounts import AccountsHttp, AuditQuery, UserQuery
from control_plane.http_artwork import ArtworkHttp
from control_plane.http_catalog import CatalogHttp, HomeQuery, TitleQuery, ViewQuery
from control_plane.http_fleet import FleetHttp, MachinesQuery
from control_plane.http_jobs import JobsHttp, LeaseQuery
from control_plane.http_playback import (
    EndQuery,
    HistoryQuery,
    ManifestQuery,
    PlaybackHttp,
    ProfileQuery,
    SteerQuery,
)
from control_plane.http_self import SelfHttp
from control_plane.http_uploads import UploadsHttp
from control_plane.pictures import MAX_BYTES as MAX_PICTURE_BYTES
from control_plane.roles import ADMINS, ENCODERS, OPERATORS, STEERING, VIEWERS
from media.accounts import (
    ApiKeys,
    AuditPage,
    Devices,
    Login,
    MadeApiKey,
    NewApiKey,
    NewPassword,
    NewProfile,
    NewUser,
    Plan,
    PlanLimits,
    Plans,
    Profile,
    ProfileChange,
    Profiles,
    Refresh,
    Rotation,
    Tokens,
    User,
    UserChange,
    UserPage,
)
from media.api import (
    CompleteUpload,
    Heartbeat,
    History,
    Home,
    Job,
    JobComplete,
    JobFailed,
    JobHandedBack,
    JobHeartbeat,
    JobList,
    LeaseOffer,
    NewPurge,
    NewSession,
    NewTitle,
    NewUpload,
    Regions,
    Session,
    SteerAnswer,
    Title,
    TitleChange,
    TitlePage,
    Upload,
)
from media.enrolment import (
    Enrolled,
    Enrolment,
    Invitations,
    MachineKeys,
    MadeInvitation,
    NewInvitation,
)
from media.fills import FillPlan, FillStatus, Pin, PinRequest
from media.fleet import DrainRequest, PackageList, Roster
from media.ids import (
    LANGUAGE,
    ApiKeyId,
    DeviceId,
    JobId,
    Name,
    PackageId,
    ProfileId,
    SessionId,
    Sha256,
    TitleId,
    UploadId,
    UserId,
)
from media.inventory import CONTENT_TYPES
from media.protection import LicenceRequest
from media.purges import PurgeDetails, PurgeJobs
from runtime.api import Route
from runtime.openapi import described

VERSION = "1"

OfAddress = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
PLAN: dict[str, Any] = {"plan": Name}
USER: dict[str, Any] = {"user_id": UserId}
DEVICE: dict[str, Any] = {"device_id": DeviceId}
PROFILE: dict[str, Any] = {"profile_id": ProfileId}
API_KEY: dict[str, Any] = {"key_id": ApiKeyId}
TITLE: dict[str, Any] = {"title_id": TitleId}
UPLOAD: dict[str, Any] = {"upload_id": UploadId}
PART = UPLOAD | {"number": Annotated[str, Field(pattern=r"^[1-9][0-9]{0,4}$")]}
SUBTITLES = UPLOAD | {"language": Annotated[str, Field(pattern=f"^{LANGUAGE.pattern}$")]}
JOB: dict[str, Any] = {"job_id": JobId}
APPLIANCE: dict[str, Any] = {"appliance": Name}
PACKAGE: dict[str, Any] = {"package_id": PackageId}
SESSION: dict[str, Any] = {"session_id": SessionId}
MANIFEST = SESSION | {"key": OfAddress}
ARTWORK = TITLE | {"sha256": Sha256, "key": OfAddress}

PART_PATH = "/v1/uploads/{upload_id}/parts/{number}"
WAITING = frozenset(
    {
        "/v1/auth/login",
        "/v1/me/password",
        "/v1/users",
        "/v1/users/{user_id}",
        PART_PATH,
        "/v1/uploads/{upload_id}/subtitles/{language}",
        "/v1/jobs/{job_id}/events",
    }
)
# What operations are called whose method and path would make a bad name.
NAMES = {
    "POST /v1/auth/login": "login",
    "POST /v1/auth/refresh": "refresh",
    "POST /v1/auth/logout": "logout",
    "POST /v1/access-keys": "rotate_access_keys",
    "PUT /v1/me/password": "change_password",
    "DELETE /v1/devices/{device_id}": "sign_out_device",
    "DELETE /v1/api-keys/{key_id}": "revoke_api_key",
    "GET /v1/titles/{title_id}/steer": "steer_title",
    "GET /v1/titles/{title_id}/artwork/{sha256}/{key}": "artwork_at",
    "POST /v1/titles/{title_id}/uploads": "start_upload",
    f"PUT {PART_PATH}": "put_part",
    "PUT /v1/uploads/{upload_id}/subtitles/{language}": "put_subtitles",
    "DELETE /v1/uploads/{upload_id}": "abort_upload",
    "POST /v1/jobs/lease": "lease_job",
    "POST /v1/jobs/{job_id}/heartbeat": "renew_lease",
    "POST /v1/sessions": "start_session",
    "POST /v1/sessions/{session_id}/heartbeat": "keep_session",
    "DELETE /v1/sessions/{session_id}": "end_session",
    "GET /v1/sessions/{session_id}/{key}/master.m3u8": "hls_playlist",
    "GET /v1/sessions/{session_id}/{key}/manifest.mpd": "dash_mpd",
    "POST /v1/sessions/{session_id}/{key}/license": "licence",
    "DELETE /v1/history/{title_id}": "forget_title",
    "PUT /v1/fleet/{appliance}/drain": "drain_appliance",
    "DELETE /v1/fleet/{appliance}": "forget_appliance",
    "GET /v1/fleet/{appliance}/plan": "fill_plan",
    "POST /v1/invitations": "invite",
    "DELETE /v1/invitations/{appliance}": "withdraw_invitation",
    "POST /v1/enrolments": "enrol",
    "POST /v1/fills/{package_id}": "pin_package",
    "DELETE /v1/fills/{package_id}": "unpin_package",
    "POST /v1/purges": "start_purge",
}
FIRST = ("/v1/sessions", "/v1/auth/", "/v1/fleet", "/v1/purges")
# 10,000 parts of some 100 bytes each.
MAX_COMPLETE_BYTES = 2 * 1024 * 1024


def table(
    accounts: AccountsHttp,
    catalog: CatalogHttp,
    artwork: ArtworkHttp,
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
        *_artwork(artwork),
        *_uploads(uploads),
        *_jobs(jobs),
        *_sessions(playback),
        *_fleet(catalog, fleet),
        *_itself(itself),
    ]
    routes = [
        replace(
            route,
            audited=_is_audited(route),
            priority=_priority(route),
            errors=(*route.errors, "too_many_requests"),
            operation=NAMES.get(f"{route.method} {route.path}", ""),
        )
        for route in routes
    ]
    return described(routes, "Nearcast control plane", VERSION)


def _is_audited(route: Route) -> bool:
    """Whatever operators change; the parts of an upload would only hide the rest."""
    changes = route.method != "GET" and route.path != PART_PATH
    return changes and bool(route.roles) and route.roles <= OPERATORS


def _priority(route: Route) -> str:
    """Who goes first when there is too much to do: what keeps films playing, and the fleet in hand;
    then what viewers look at; then the rest. Those that wait for something else than us, for a
    client's bytes, a password's hash or news, wait for nobody here."""
    machines = bool(route.roles) and not route.roles & ADMINS
    if machines or route.path in WAITING or not route.path.startswith("/v1/"):
        return ""
    if route.path.startswith(FIRST):
        return "first"
    return "second" if not route.roles or route.roles >= VIEWERS else "third"


# One line a route where it fits: this is a table.
# fmt: off
def _accounts(on: AccountsHttp) -> list[Route]:
    password = ("wrong_credentials", "too_many_attempts", "overloaded", "unavailable")
    return [
        Route("POST", "/v1/auth/login", on.login, "Signs in", body=Login, answer=Tokens,
              errors=password),
        Route("POST", "/v1/auth/refresh", on.refresh, "The next tokens of a device", body=Refresh,
              answer=Tokens, errors=("token_invalid", "signed_out", "unavailable")),
        Route("POST", "/v1/auth/logout", on.logout, "Signs this device out", roles=VIEWERS,
              errors=("unknown_device",)),
        Route("POST", "/v1/access-keys", on.rotate, "Another key signs access tokens",
              body=Rotation, roles=ADMINS),
        Route("GET", "/v1/me", on.me, "Who is signed in", answer=User, roles=VIEWERS),
        Route("PUT", "/v1/me/password", on.change_password, "Changes one's own password",
              body=NewPassword, roles=VIEWERS, errors=password),
        Route("GET", "/v1/devices", on.devices, "Where one is signed in", answer=Devices,
              roles=VIEWERS),
        Route("DELETE", "/v1/devices/{device_id}", on.sign_out, "Signs a device out",
              params=DEVICE, roles=VIEWERS, errors=("unknown_device",)),
        Route("GET", "/v1/profiles", on.profiles, "One's own profiles", answer=Profiles,
              roles=VIEWERS),
        Route("POST", "/v1/profiles", on.create_profile, "Makes a profile", body=NewProfile,
              answer=Profile, status=201, roles=VIEWERS, errors=("name_taken", "too_many")),
        Route("PATCH", "/v1/profiles/{profile_id}", on.change_profile, "Changes a profile",
              params=PROFILE, body=ProfileChange, answer=Profile, roles=VIEWERS,
              errors=("unknown_profile", "name_taken")),
        Route("DELETE", "/v1/profiles/{profile_id}", on.delete_profile, "Removes a profile",
              params=PROFILE, roles=VIEWERS, errors=("unknown_profile",)),
        Route("GET", "/v1/api-keys", on.api_keys, "One's own API keys", answer=ApiKeys,
              roles=VIEWERS),
        Route("POST", "/v1/api-keys", on.create_api_key, "Makes an API key", body=NewApiKey,
              answer=MadeApiKey, status=201, roles=VIEWERS, errors=("too_many",)),
        Route("DELETE", "/v1/api-keys/{key_id}", on.revoke_api_key, "Revokes an API key",
              params=API_KEY, roles=VIEWERS, errors=("unknown_api_key",)),
        Route("GET", "/v1/plans", on.plans, "What plans allow", answer=Plans, roles=OPERATORS),
        Route("PUT", "/v1/plans/{plan}", on.put_plan, "Makes or changes a plan", params=PLAN,
              body=PlanLimits, answer=Plan, roles=ADMINS),
        Route("DELETE", "/v1/plans/{plan}", on.delete_plan, "Removes a plan", params=PLAN,
              roles=ADMINS, errors=("unknown_plan", "in_use")),
        Route("GET", "/v1/users", on.users, "Users, the newest first", query=UserQuery,
              answer=UserPage, roles=ADMINS),
        Route("POST", "/v1/users", on.create_user, "Makes an account", body=NewUser, answer=User,
              status=201, roles=ADMINS, errors=("name_taken", "unknown_plan", "overloaded")),
        Route("GET", "/v1/users/{user_id}", on.user, "A user", params=USER, answer=User,
              roles=ADMINS, errors=("unknown_user",)),
        Route("PATCH", "/v1/users/{user_id}", on.change_user, "Changes a user", params=USER,
              body=UserChange, answer=User, roles=ADMINS,
              errors=("unknown_user", "unknown_plan", "last_admin", "overloaded",
                      "steering_unavailable")),
        Route("DELETE", "/v1/users/{user_id}", on.delete_user, "Removes a user", params=USER,
              roles=ADMINS, errors=("unknown_user", "last_admin", "steering_unavailable")),
        Route("GET", "/v1/audit", on.audit, "What operators did, the newest first",
              query=AuditQuery, answer=AuditPage, roles=ADMINS),
    ]


def _catalog(on: CatalogHttp, playback: PlaybackHttp) -> list[Route]:
    unknown = ("unknown_title",)
    return [
        Route("POST", "/v1/titles", on.create, "Makes a draft title", body=NewTitle, answer=Title,
              status=201, roles=OPERATORS),
        Route("GET", "/v1/titles", on.page, "Titles, the newest first", query=TitleQuery,
              answer=TitlePage, roles=VIEWERS, errors=("unknown_profile",)),
        Route("GET", "/v1/home", on.home, "What to go on with, and what is popular",
              query=HomeQuery, answer=Home, roles=VIEWERS, errors=("unknown_profile",)),
        Route("GET", "/v1/titles/{title_id}", on.get, "A title", params=TITLE, query=ViewQuery,
              answer=Title, roles=VIEWERS, errors=(*unknown, "unknown_profile")),
        Route("PATCH", "/v1/titles/{title_id}", on.change, "Changes what is known of a title",
              params=TITLE, body=TitleChange, answer=Title, roles=OPERATORS, errors=unknown),
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


def _artwork(on: ArtworkHttp) -> list[Route]:
    where = "/v1/titles/{title_id}/artwork"
    gone = ("unknown_title", "unknown_artwork", "store_unavailable")
    return [
        Route("GET", where, on.get, "A title's picture", params=TITLE, query=ViewQuery,
              roles=VIEWERS, errors=(*gone, "unknown_profile"), media_type="image/*"),
        Route("GET", where + "/{sha256}/{key}", on.at, "The same, by its `artwork_url`",
              params=ARTWORK, errors=(*gone, "token_invalid"), media_type="image/*"),
        Route("PUT", where, on.put, "Gives a title a picture: JPEG, PNG or WebP", params=TITLE,
              takes="application/octet-stream", max_body_bytes=MAX_PICTURE_BYTES, answer=Title,
              roles=OPERATORS,
              errors=("unknown_title", "bad_artwork", "store_unavailable", "disk_full")),
        Route("DELETE", where, on.delete, "A title has the picture of its film again",
              params=TITLE, answer=Title, roles=OPERATORS, errors=("unknown_title",)),
    ]


def _uploads(on: UploadsHttp) -> list[Route]:
    return [
        Route("POST", "/v1/titles/{title_id}/uploads", on.start, "Opens an upload of a master",
              params=TITLE, body=NewUpload, answer=Upload, status=201, roles=OPERATORS,
              errors=("unknown_title", "store_unavailable")),
        Route("PUT", PART_PATH, on.put_part,
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
              status=201, roles=VIEWERS, traced="starts",
              errors=("unknown_title", "unknown_profile", "title_not_ready", "not_available",
                      "too_mature", "not_in_region", "not_in_plan", "too_many_streams",
                      "unknown_region", "region_not_simulated", "no_appliance", "purged",
                      "not_in_package", "steering_unavailable", "store_unavailable")),
        Route("GET", "/v1/sessions/{session_id}", on.get, "A session", params=SESSION,
              answer=Session, roles=VIEWERS, errors=unknown),
        Route("POST", "/v1/sessions/{session_id}/heartbeat", on.beat, "Where the player is",
              params=SESSION, body=Heartbeat, roles=VIEWERS,
              errors=(*unknown, "too_many_streams")),
        Route("GET", "/v1/history", on.history, "What was watched, the latest first",
              query=HistoryQuery, answer=History, roles=VIEWERS, errors=("unknown_profile",)),
        Route("DELETE", "/v1/history/{title_id}", on.forget, "Takes a title out of the history",
              params=TITLE, query=ProfileQuery, roles=VIEWERS, errors=("unknown_profile",)),
        Route("DELETE", "/v1/sessions/{session_id}", on.end, "Ends a session", params=SESSION,
              query=EndQuery, roles=VIEWERS, errors=(*unknown, "steering_unavailable")),
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
              params=APPLIANCE, body=DrainRequest, roles=OPERATORS,
              errors=(*away, "unknown_appliance")),
        Route("DELETE", "/v1/fleet/{appliance}", on.forget, "Trusts an appliance's key no more",
              params=APPLIANCE, roles=OPERATORS, errors=("unknown_appliance",)),
        Route("POST", "/v1/invitations", on.invite, "Lets one machine join, once",
              body=NewInvitation, answer=MadeInvitation, status=201, roles=OPERATORS,
              errors=(*away, "name_taken", "too_many")),
        Route("GET", "/v1/invitations", on.invitations, "Who may join, or just did",
              answer=Invitations, roles=OPERATORS),
        Route("DELETE", "/v1/invitations/{appliance}", on.withdraw, "Withdraws an invitation",
              params=APPLIANCE, roles=OPERATORS, errors=("unknown_invitation",)),
        Route("POST", "/v1/enrolments", on.enrol, "A machine joins, by its invitation's token",
              body=Enrolment, answer=Enrolled, status=201,
              errors=("invitation_invalid", "invitation_expired", "invitation_used", "name_taken",
                      "token_invalid", "token_expired", "too_many_attempts", "unavailable",
                      "bad_settings")),
        Route("GET", "/v1/machines", on.machines, "The keys of appliances, by long poll",
              query=MachinesQuery, answer=MachineKeys, roles=STEERING),
        Route("GET", "/v1/fleet/{appliance}/plan", on.plan, "What the appliance is to hold",
              params=APPLIANCE, answer=FillPlan, roles=OPERATORS,
              errors=(*away, "unknown_appliance", "unavailable")),
        Route("GET", "/v1/fills", on.fills, "How far the plans are filled", answer=FillStatus,
              roles=OPERATORS, errors=away),
        Route("POST", "/v1/fills/{package_id}", on.pin, "Pins a package: plans have it first",
              params=PACKAGE, body=PinRequest, answer=Pin, roles=OPERATORS,
              errors=(*away, "unknown_site", "unknown_region", "purged", "too_many")),
        Route("DELETE", "/v1/fills/{package_id}", on.unpin, "Lifts the pin of a package",
              params=PACKAGE, roles=OPERATORS, errors=away),
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

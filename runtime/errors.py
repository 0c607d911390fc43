"""The one table of error codes, and the exception that carries one.

Answers follow RFC 9457 (problem+json) with `code`, `hint` and `request_id` beside the standard
members. A code is stable; sentences may improve.
"""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError


@dataclass(frozen=True)
class Kind:
    """What is common to all problems of a code."""

    status: int
    title: str
    hint: str = ""


CODES: dict[str, Kind] = {
    # what the client sent
    "bad_request": Kind(400, "The request cannot be understood."),
    "invalid_field": Kind(422, "A field of the request is not valid."),
    "body_too_large": Kind(413, "The request body is larger than this address takes."),
    "address_too_long": Kind(414, "The address is too long."),
    "expectation_failed": Kind(417, "No expectation is met here."),
    "head_too_large": Kind(431, "The request's header fields are too many or too large."),
    "version_not_supported": Kind(505, "This version of HTTP is not spoken here.", "Use HTTP/1.1."),
    "unknown_region": Kind(422, "There is no such region.", "`nearcast fleet list` shows the regions."),
    "unknown_site": Kind(422, "There is no such site.", "`nearcast fleet list` shows the sites."),
    "region_not_simulated": Kind(403, "Simulated regions are switched off.", "Set control_plane.simulate_regions."),
    # who the client is
    "not_signed_in": Kind(401, "Sign in first.", "POST /v1/auth/login, or `nearcast login`."),
    "wrong_credentials": Kind(401, "The name or the password is wrong."),
    "token_invalid": Kind(403, "The token is not valid here.", "Open a new session."),
    "token_expired": Kind(403, "The token has expired.", "Open a new session."),
    "invitation_invalid": Kind(403, "The enrolment token opens nothing here.", "An operator makes another one: `nearcast fleet invite SITE`."),
    "invitation_expired": Kind(403, "The enrolment token has expired.", "An operator makes another one: `nearcast fleet invite SITE`."),
    "invitation_used": Kind(403, "Another machine has used this enrolment token.", "If that was none of yours, `nearcast fleet forget` it at once; then invite anew."),
    "not_allowed": Kind(403, "This account may not do that."),
    "signed_out": Kind(401, "This device was signed out.", "Sign in again."),
    "too_many_requests": Kind(429, "Too many requests.", "Wait, and try again."),
    # what a title, a profile or a plan forbids
    "not_available": Kind(403, "The title is not available now."),
    "not_in_region": Kind(403, "The title is not shown here."),
    "not_in_plan": Kind(403, "The account's plan does not include this."),
    "too_mature": Kind(403, "The title is not for this profile."),
    "too_many_streams": Kind(409, "The account plays as many streams as its plan allows.", "Stop one of them."),
    "too_many_attempts": Kind(429, "Too many failed attempts.", "Wait a minute and try again."),
    # what is there
    "not_found": Kind(404, "There is nothing at this address."),
    "method_not_allowed": Kind(405, "The address does not take this method."),
    "unknown_user": Kind(404, "There is no such user.", "`nearcast user list` shows them."),
    "unknown_plan": Kind(404, "There is no such plan.", "`nearcast plan list` shows them."),
    "unknown_device": Kind(404, "There is no such device, or it was signed out."),
    "unknown_profile": Kind(404, "There is no such profile."),
    "unknown_api_key": Kind(404, "There is no such API key."),
    "unknown_title": Kind(404, "There is no such title.", "`nearcast titles` lists them."),
    "unknown_job": Kind(404, "There is no such job."),
    "unknown_purge": Kind(404, "There is no such purge, or it was long ago.", "`nearcast fleet purges` lists them."),
    "unknown_session": Kind(404, "There is no such session, or it has ended."),
    "unknown_upload": Kind(404, "There is no such upload, or it has ended."),
    "unknown_appliance": Kind(404, "There is no such appliance.", "`nearcast fleet list` shows them."),
    "unknown_invitation": Kind(404, "There is no such invitation.", "`nearcast fleet invitations` lists them."),
    "not_in_package": Kind(404, "The package has no such file."),
    "unknown_artwork": Kind(404, "The title has no such picture."),
    "name_taken": Kind(409, "The name is taken."),
    "too_many": Kind(409, "There are as many as there may be.", "Remove one first."),
    "in_use": Kind(409, "It is in use."),
    "last_admin": Kind(409, "This is the last admin.", "Make another one first."),
    "title_not_ready": Kind(409, "The title has no package yet.", "Wait for its encode to finish."),
    "lease_lost": Kind(409, "The job has another worker, or has ended."),
    "holdings_gap": Kind(409, "A holdings report is missing.", "Send a snapshot."),
    "parts_differ": Kind(422, "The uploaded parts are not the announced file.", "Upload the file again."),
    "range_not_satisfiable": Kind(416, "The range lies outside the file."),
    "precondition_failed": Kind(412, "The file is not the one that If-Match names."),
    # masters
    "not_a_video": Kind(422, "The file is not a video that can be decoded."),
    "empty_file": Kind(422, "The file is empty."),
    "truncated_file": Kind(422, "The file is cut off or damaged."),
    "forbidden_format": Kind(422, "Playlists and other files that point elsewhere are not taken as films."),
    "encode_failed": Kind(500, "The encode failed."),
    "bad_subtitles": Kind(400, "The subtitles cannot be read.", "Give an SRT or WebVTT file."),
    "bad_artwork": Kind(422, "The picture cannot be taken.", "Give a still JPEG, PNG or WebP picture."),
    "below_quality": Kind(500, "The encode is not good enough to be published."),
    "not_conformant": Kind(500, "The package breaks a rule, and is not published."),
    "encode_timeout": Kind(500, "The encode took longer than it may."),
    # what is away or full
    "steering_unavailable": Kind(503, "Steering does not answer.", "Try again in a few seconds."),
    "store_unavailable": Kind(503, "The object store does not answer.", "Try again in a few seconds."),
    "no_appliance": Kind(503, "No healthy appliance holds this title.", "Try again in a few seconds."),
    "disk_full": Kind(507, "The disk is full.", "Free some space."),
    "cache_full": Kind(503, "The cache has no room for this file now.", "Try another pathway."),
    "fill_failed": Kind(502, "No source has the right bytes of this file.", "Try another pathway."),
    "not_held": Kind(504, "The file is not held here."),
    "draining": Kind(503, "This appliance takes no new sessions.", "Try another pathway."),
    "overloaded": Kind(503, "Too much to do at the moment.", "Try again in a few seconds."),
    "purged": Kind(410, "The package was removed."),
    "purge_incomplete": Kind(504, "The purge is not complete.", "`nearcast fleet purges` shows who is awaited."),
    "unavailable": Kind(503, "A service does not answer.", "`nearcast doctor` may tell more."),
    # this machine
    "port_in_use": Kind(500, "The address is in use.", "Stop the other program, or set another `listen`."),
    "data_in_use": Kind(500, "Another nearcast uses this data folder.", "Stop it, or give another --data."),
    "bad_backup": Kind(422, "This is no backup of nearcast, or it is damaged.", "Take another one."),
    "newer_backup": Kind(422, "The backup is of a later version of nearcast.", "Restore it with that version."),
    "not_empty": Kind(409, "There is something already.", "Move it away, or give --force to replace it."),
    "missing_program": Kind(500, "A program is missing.", "`nearcast doctor` says how to get it."),
    "bad_settings": Kind(500, "The settings are not valid."),
    "internal": Kind(500, "Something went wrong here.", "The log has the request id."),
}  # fmt: skip

# Of a master that is refused for its own sake: no other try, and no other encoder, will do.
REFUSED_MASTER = frozenset({"not_a_video", "empty_file", "truncated_file", "forbidden_format"})


class ProblemDetails(BaseModel):
    """The body of an error answer (RFC 9457)."""

    model_config = ConfigDict(extra="ignore")
    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    hint: str = ""
    request_id: str = ""


class Problem(Exception):
    """An error that a person or program outside can act on; `code` is a key of CODES."""

    def __init__(self, code: str, detail: str = "", *, retry_after_s: int | None = None) -> None:
        self.code = code
        self.kind = CODES[code]
        self.detail = detail or self.kind.title
        self.retry_after_s = retry_after_s
        super().__init__(self.detail)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.kind.status

    def details(self, request_id: str = "") -> ProblemDetails:
        """The body of the answer."""
        return ProblemDetails(
            title=self.kind.title,
            status=self.status,
            detail=self.detail,
            code=self.code,
            hint=self.kind.hint,
            request_id=request_id,
        )


def problem_of(raw: bytes) -> Problem | None:
    """The Problem that a service's answer, or a failed command's JSON, tells of; None if none of
    ours."""
    try:
        details = ProblemDetails.model_validate_json(raw)
    except ValidationError:
        return None
    return Problem(details.code, details.detail) if details.code in CODES else None


def as_json(problem: Problem) -> dict[str, Any]:
    """What a failing `--json` command prints."""
    return problem.details().model_dump()

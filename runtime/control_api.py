"""The control plane's API, one method per operation.

Made of the route table by `python -m control_plane.client_maker`; not to be changed by hand.
"""

from urllib.parse import quote

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
from media.protection import LicenceRequest
from media.purges import PurgeDetails, PurgeJobs
from runtime.client import Client
from runtime.errors import Problem


class ControlApi:
    """Calls of the control plane through a client, by its tokens and time-outs; `timeout_s` is for
    the whole of one call. A keyword that is None is not sent. All raise Problem, also for what may
    go wrong with any call: that nobody is signed in, say."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def __aenter__(self) -> "ControlApi":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    async def login(self, body: Login, *, timeout_s: float | None = None) -> Tokens:
        """Signs in. Raises Problem `wrong_credentials`, `too_many_attempts`, `overloaded`,
        `unavailable`."""
        return await self.client.call(
            "POST", "/v1/auth/login", Tokens, body=body, timeout_s=timeout_s
        )

    async def refresh(self, body: Refresh, *, timeout_s: float | None = None) -> Tokens:
        """The next tokens of a device. Raises Problem `token_invalid`, `signed_out`,
        `unavailable`."""
        return await self.client.call(
            "POST", "/v1/auth/refresh", Tokens, body=body, timeout_s=timeout_s
        )

    async def logout(self, *, timeout_s: float | None = None) -> None:
        """Signs this device out. Raises Problem `unknown_device`."""
        await self.client.call_raw("POST", "/v1/auth/logout", timeout_s=timeout_s)

    async def rotate_access_keys(self, body: Rotation, *, timeout_s: float | None = None) -> None:
        """Another key signs access tokens."""
        await self.client.call_raw("POST", "/v1/access-keys", body=body, timeout_s=timeout_s)

    async def me(self, *, timeout_s: float | None = None) -> User:
        """Who is signed in."""
        return await self.client.call("GET", "/v1/me", User, timeout_s=timeout_s)

    async def change_password(self, body: NewPassword, *, timeout_s: float | None = None) -> None:
        """Changes one's own password. Raises Problem `wrong_credentials`, `too_many_attempts`,
        `overloaded`, `unavailable`."""
        await self.client.call_raw("PUT", "/v1/me/password", body=body, timeout_s=timeout_s)

    async def devices(self, *, timeout_s: float | None = None) -> Devices:
        """Where one is signed in."""
        return await self.client.call("GET", "/v1/devices", Devices, timeout_s=timeout_s)

    async def sign_out_device(self, device_id: str, *, timeout_s: float | None = None) -> None:
        """Signs a device out. Raises Problem `unknown_device`."""
        await self.client.call_raw("DELETE", f"/v1/devices/{_part(device_id)}", timeout_s=timeout_s)

    async def profiles(self, *, timeout_s: float | None = None) -> Profiles:
        """One's own profiles."""
        return await self.client.call("GET", "/v1/profiles", Profiles, timeout_s=timeout_s)

    async def create_profile(self, body: NewProfile, *, timeout_s: float | None = None) -> Profile:
        """Makes a profile. Raises Problem `name_taken`, `too_many`."""
        return await self.client.call(
            "POST", "/v1/profiles", Profile, body=body, timeout_s=timeout_s
        )

    async def change_profile(
        self, profile_id: str, body: ProfileChange, *, timeout_s: float | None = None
    ) -> Profile:
        """Changes a profile. Raises Problem `unknown_profile`, `name_taken`."""
        return await self.client.call(
            "PATCH", f"/v1/profiles/{_part(profile_id)}", Profile, body=body, timeout_s=timeout_s
        )

    async def delete_profile(self, profile_id: str, *, timeout_s: float | None = None) -> None:
        """Removes a profile. Raises Problem `unknown_profile`."""
        await self.client.call_raw(
            "DELETE", f"/v1/profiles/{_part(profile_id)}", timeout_s=timeout_s
        )

    async def api_keys(self, *, timeout_s: float | None = None) -> ApiKeys:
        """One's own API keys."""
        return await self.client.call("GET", "/v1/api-keys", ApiKeys, timeout_s=timeout_s)

    async def create_api_key(
        self, body: NewApiKey, *, timeout_s: float | None = None
    ) -> MadeApiKey:
        """Makes an API key. Raises Problem `too_many`."""
        return await self.client.call(
            "POST", "/v1/api-keys", MadeApiKey, body=body, timeout_s=timeout_s
        )

    async def revoke_api_key(self, key_id: str, *, timeout_s: float | None = None) -> None:
        """Revokes an API key. Raises Problem `unknown_api_key`."""
        await self.client.call_raw("DELETE", f"/v1/api-keys/{_part(key_id)}", timeout_s=timeout_s)

    async def plans(self, *, timeout_s: float | None = None) -> Plans:
        """What plans allow."""
        return await self.client.call("GET", "/v1/plans", Plans, timeout_s=timeout_s)

    async def put_plan(
        self, plan: str, body: PlanLimits, *, timeout_s: float | None = None
    ) -> Plan:
        """Makes or changes a plan."""
        return await self.client.call(
            "PUT", f"/v1/plans/{_part(plan)}", Plan, body=body, timeout_s=timeout_s
        )

    async def delete_plan(self, plan: str, *, timeout_s: float | None = None) -> None:
        """Removes a plan. Raises Problem `unknown_plan`, `in_use`."""
        await self.client.call_raw("DELETE", f"/v1/plans/{_part(plan)}", timeout_s=timeout_s)

    async def users(
        self, *, cursor: str | None = None, limit: int | None = None, timeout_s: float | None = None
    ) -> UserPage:
        """Users, the newest first."""
        return await self.client.call(
            "GET",
            "/v1/users",
            UserPage,
            query=_given(cursor=cursor, limit=limit),
            timeout_s=timeout_s,
        )

    async def create_user(self, body: NewUser, *, timeout_s: float | None = None) -> User:
        """Makes an account. Raises Problem `name_taken`, `unknown_plan`, `overloaded`."""
        return await self.client.call("POST", "/v1/users", User, body=body, timeout_s=timeout_s)

    async def user(self, user_id: str, *, timeout_s: float | None = None) -> User:
        """A user. Raises Problem `unknown_user`."""
        return await self.client.call(
            "GET", f"/v1/users/{_part(user_id)}", User, timeout_s=timeout_s
        )

    async def change_user(
        self, user_id: str, body: UserChange, *, timeout_s: float | None = None
    ) -> User:
        """Changes a user. Raises Problem `unknown_user`, `unknown_plan`, `last_admin`,
        `overloaded`, `steering_unavailable`."""
        return await self.client.call(
            "PATCH", f"/v1/users/{_part(user_id)}", User, body=body, timeout_s=timeout_s
        )

    async def delete_user(self, user_id: str, *, timeout_s: float | None = None) -> None:
        """Removes a user. Raises Problem `unknown_user`, `last_admin`, `steering_unavailable`."""
        await self.client.call_raw("DELETE", f"/v1/users/{_part(user_id)}", timeout_s=timeout_s)

    async def audit(
        self, *, cursor: str | None = None, limit: int | None = None, timeout_s: float | None = None
    ) -> AuditPage:
        """What operators did, the newest first."""
        return await self.client.call(
            "GET",
            "/v1/audit",
            AuditPage,
            query=_given(cursor=cursor, limit=limit),
            timeout_s=timeout_s,
        )

    async def create_title(self, body: NewTitle, *, timeout_s: float | None = None) -> Title:
        """Makes a draft title."""
        return await self.client.call("POST", "/v1/titles", Title, body=body, timeout_s=timeout_s)

    async def titles(
        self,
        *,
        profile_id: str | None = None,
        q: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
        timeout_s: float | None = None,
    ) -> TitlePage:
        """Titles, the newest first. Raises Problem `unknown_profile`."""
        return await self.client.call(
            "GET",
            "/v1/titles",
            TitlePage,
            query=_given(profile_id=profile_id, q=q, cursor=cursor, limit=limit),
            timeout_s=timeout_s,
        )

    async def home(
        self,
        *,
        profile_id: str | None = None,
        region: str | None = None,
        timeout_s: float | None = None,
    ) -> Home:
        """What to go on with, and what is popular. Raises Problem `unknown_profile`."""
        return await self.client.call(
            "GET",
            "/v1/home",
            Home,
            query=_given(profile_id=profile_id, region=region),
            timeout_s=timeout_s,
        )

    async def title(
        self, title_id: str, *, profile_id: str | None = None, timeout_s: float | None = None
    ) -> Title:
        """A title. Raises Problem `unknown_title`, `unknown_profile`."""
        return await self.client.call(
            "GET",
            f"/v1/titles/{_part(title_id)}",
            Title,
            query=_given(profile_id=profile_id),
            timeout_s=timeout_s,
        )

    async def change_title(
        self, title_id: str, body: TitleChange, *, timeout_s: float | None = None
    ) -> Title:
        """Changes what is known of a title. Raises Problem `unknown_title`."""
        return await self.client.call(
            "PATCH", f"/v1/titles/{_part(title_id)}", Title, body=body, timeout_s=timeout_s
        )

    async def delete_title(self, title_id: str, *, timeout_s: float | None = None) -> None:
        """Removes a title and its packages. Raises Problem `unknown_title`."""
        await self.client.call_raw("DELETE", f"/v1/titles/{_part(title_id)}", timeout_s=timeout_s)

    async def publish_title(self, title_id: str, *, timeout_s: float | None = None) -> Title:
        """Viewers may play it. Raises Problem `unknown_title`, `title_not_ready`."""
        return await self.client.call(
            "POST", f"/v1/titles/{_part(title_id)}/publish", Title, timeout_s=timeout_s
        )

    async def unpublish_title(self, title_id: str, *, timeout_s: float | None = None) -> Title:
        """A draft again. Raises Problem `unknown_title`."""
        return await self.client.call(
            "POST", f"/v1/titles/{_part(title_id)}/unpublish", Title, timeout_s=timeout_s
        )

    async def steer_title(
        self,
        title_id: str,
        *,
        region: str | None = None,
        client: str | None = None,
        timeout_s: float | None = None,
    ) -> SteerAnswer:
        """The ranking, with reasons. Raises Problem `unknown_title`, `title_not_ready`,
        `unknown_region`, `region_not_simulated`, `purged`, `steering_unavailable`."""
        return await self.client.call(
            "GET",
            f"/v1/titles/{_part(title_id)}/steer",
            SteerAnswer,
            query=_given(region=region, client=client),
            timeout_s=timeout_s,
        )

    async def title_artwork(
        self, title_id: str, *, profile_id: str | None = None, timeout_s: float | None = None
    ) -> bytes:
        """A title's picture. Raises Problem `unknown_title`, `unknown_artwork`,
        `store_unavailable`, `unknown_profile`."""
        return await self.client.call_raw(
            "GET",
            f"/v1/titles/{_part(title_id)}/artwork",
            query=_given(profile_id=profile_id),
            timeout_s=timeout_s,
        )

    async def artwork_at(
        self, title_id: str, sha256: str, key: str, *, timeout_s: float | None = None
    ) -> bytes:
        """The same, by its `artwork_url`. Raises Problem `unknown_title`, `unknown_artwork`,
        `store_unavailable`, `token_invalid`."""
        return await self.client.call_raw(
            "GET",
            f"/v1/titles/{_part(title_id)}/artwork/{_part(sha256)}/{_part(key)}",
            timeout_s=timeout_s,
        )

    async def put_title_artwork(
        self, title_id: str, data: bytes, *, timeout_s: float | None = None
    ) -> Title:
        """Gives a title a picture: JPEG, PNG or WebP. Raises Problem `unknown_title`,
        `bad_artwork`, `store_unavailable`, `disk_full`."""
        return await self.client.call(
            "PUT", f"/v1/titles/{_part(title_id)}/artwork", Title, body=data, timeout_s=timeout_s
        )

    async def delete_title_artwork(self, title_id: str, *, timeout_s: float | None = None) -> Title:
        """A title has the picture of its film again. Raises Problem `unknown_title`."""
        return await self.client.call(
            "DELETE", f"/v1/titles/{_part(title_id)}/artwork", Title, timeout_s=timeout_s
        )

    async def start_upload(
        self, title_id: str, body: NewUpload, *, timeout_s: float | None = None
    ) -> Upload:
        """Opens an upload of a master. Raises Problem `unknown_title`, `store_unavailable`."""
        return await self.client.call(
            "POST", f"/v1/titles/{_part(title_id)}/uploads", Upload, body=body, timeout_s=timeout_s
        )

    async def complete_upload(
        self, upload_id: str, body: CompleteUpload, *, timeout_s: float | None = None
    ) -> Job:
        """The master is whole; its encode is queued. Raises Problem `unknown_upload`,
        `unknown_title`, `parts_differ`, `store_unavailable`."""
        return await self.client.call(
            "POST", f"/v1/uploads/{_part(upload_id)}/complete", Job, body=body, timeout_s=timeout_s
        )

    async def abort_upload(self, upload_id: str, *, timeout_s: float | None = None) -> None:
        """Drops an upload. Raises Problem `unknown_upload`, `store_unavailable`."""
        await self.client.call_raw("DELETE", f"/v1/uploads/{_part(upload_id)}", timeout_s=timeout_s)

    async def lease_job(
        self, *, wait: float | None = None, timeout_s: float | None = None
    ) -> LeaseOffer:
        """Work for an encoder."""
        return await self.client.call(
            "POST", "/v1/jobs/lease", LeaseOffer, query=_given(wait=wait), timeout_s=timeout_s
        )

    async def renew_lease(
        self, job_id: str, body: JobHeartbeat, *, timeout_s: float | None = None
    ) -> Job:
        """Renews a lease. Raises Problem `unknown_job`, `lease_lost`."""
        return await self.client.call(
            "POST", f"/v1/jobs/{_part(job_id)}/heartbeat", Job, body=body, timeout_s=timeout_s
        )

    async def complete_job(
        self, job_id: str, body: JobComplete, *, timeout_s: float | None = None
    ) -> Job:
        """The package stands. Raises Problem `unknown_job`, `lease_lost`, `not_in_package`,
        `invalid_field`, `store_unavailable`."""
        return await self.client.call(
            "POST", f"/v1/jobs/{_part(job_id)}/complete", Job, body=body, timeout_s=timeout_s
        )

    async def fail_job(
        self, job_id: str, body: JobFailed, *, timeout_s: float | None = None
    ) -> Job:
        """The encode failed. Raises Problem `unknown_job`, `lease_lost`."""
        return await self.client.call(
            "POST", f"/v1/jobs/{_part(job_id)}/fail", Job, body=body, timeout_s=timeout_s
        )

    async def hand_back_job(
        self, job_id: str, body: JobHandedBack, *, timeout_s: float | None = None
    ) -> Job:
        """An encoder has to stop. Raises Problem `unknown_job`, `lease_lost`."""
        return await self.client.call(
            "POST", f"/v1/jobs/{_part(job_id)}/hand-back", Job, body=body, timeout_s=timeout_s
        )

    async def jobs(self, *, timeout_s: float | None = None) -> JobList:
        """Jobs that wait or run, and the last that ended."""
        return await self.client.call("GET", "/v1/jobs", JobList, timeout_s=timeout_s)

    async def job(self, job_id: str, *, timeout_s: float | None = None) -> Job:
        """A job. Raises Problem `unknown_job`."""
        return await self.client.call("GET", f"/v1/jobs/{_part(job_id)}", Job, timeout_s=timeout_s)

    async def cancel_job(self, job_id: str, *, timeout_s: float | None = None) -> Job:
        """Ends a job. Raises Problem `unknown_job`."""
        return await self.client.call(
            "POST", f"/v1/jobs/{_part(job_id)}/cancel", Job, timeout_s=timeout_s
        )

    async def retry_job(self, job_id: str, *, timeout_s: float | None = None) -> Job:
        """Queues a job again that failed. Raises Problem `unknown_job`, `not_found`,
        `store_unavailable`."""
        return await self.client.call(
            "POST", f"/v1/jobs/{_part(job_id)}/retry", Job, timeout_s=timeout_s
        )

    async def start_session(self, body: NewSession, *, timeout_s: float | None = None) -> Session:
        """Plays a title. Raises Problem `unknown_title`, `unknown_profile`, `title_not_ready`,
        `not_available`, `too_mature`, `not_in_region`, `not_in_plan`, `too_many_streams`,
        `unknown_region`, `region_not_simulated`, `no_appliance`, `purged`, `not_in_package`,
        `steering_unavailable`, `store_unavailable`."""
        return await self.client.call(
            "POST", "/v1/sessions", Session, body=body, timeout_s=timeout_s
        )

    async def session(self, session_id: str, *, timeout_s: float | None = None) -> Session:
        """A session. Raises Problem `unknown_session`."""
        return await self.client.call(
            "GET", f"/v1/sessions/{_part(session_id)}", Session, timeout_s=timeout_s
        )

    async def keep_session(
        self, session_id: str, body: Heartbeat, *, timeout_s: float | None = None
    ) -> None:
        """Where the player is. Raises Problem `unknown_session`, `too_many_streams`."""
        await self.client.call_raw(
            "POST", f"/v1/sessions/{_part(session_id)}/heartbeat", body=body, timeout_s=timeout_s
        )

    async def history(
        self,
        *,
        profile_id: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
        timeout_s: float | None = None,
    ) -> History:
        """What was watched, the latest first. Raises Problem `unknown_profile`."""
        return await self.client.call(
            "GET",
            "/v1/history",
            History,
            query=_given(profile_id=profile_id, cursor=cursor, limit=limit),
            timeout_s=timeout_s,
        )

    async def forget_title(
        self, title_id: str, *, profile_id: str | None = None, timeout_s: float | None = None
    ) -> None:
        """Takes a title out of the history. Raises Problem `unknown_profile`."""
        await self.client.call_raw(
            "DELETE",
            f"/v1/history/{_part(title_id)}",
            query=_given(profile_id=profile_id),
            timeout_s=timeout_s,
        )

    async def end_session(
        self, session_id: str, *, position_s: float | None = None, timeout_s: float | None = None
    ) -> None:
        """Ends a session. Raises Problem `unknown_session`, `steering_unavailable`."""
        await self.client.call_raw(
            "DELETE",
            f"/v1/sessions/{_part(session_id)}",
            query=_given(position_s=position_s),
            timeout_s=timeout_s,
        )

    async def hls_playlist(
        self,
        session_id: str,
        key: str,
        *,
        pathways: int | None = None,
        timeout_s: float | None = None,
    ) -> bytes:
        """The HLS multivariant playlist. Raises Problem `unknown_session`, `token_invalid`,
        `not_in_package`, `store_unavailable`."""
        return await self.client.call_raw(
            "GET",
            f"/v1/sessions/{_part(session_id)}/{_part(key)}/master.m3u8",
            query=_given(pathways=pathways),
            timeout_s=timeout_s,
        )

    async def dash_mpd(
        self,
        session_id: str,
        key: str,
        *,
        pathways: int | None = None,
        timeout_s: float | None = None,
    ) -> bytes:
        """The DASH MPD. Raises Problem `unknown_session`, `token_invalid`, `not_in_package`,
        `store_unavailable`."""
        return await self.client.call_raw(
            "GET",
            f"/v1/sessions/{_part(session_id)}/{_part(key)}/manifest.mpd",
            query=_given(pathways=pathways),
            timeout_s=timeout_s,
        )

    async def licence(
        self, session_id: str, key: str, body: LicenceRequest, *, timeout_s: float | None = None
    ) -> bytes:
        """A Clear Key licence (W3C EME, 9.1). Raises Problem `unknown_session`, `token_invalid`."""
        return await self.client.call_raw(
            "POST",
            f"/v1/sessions/{_part(session_id)}/{_part(key)}/license",
            body=body,
            timeout_s=timeout_s,
        )

    async def packages(self, *, timeout_s: float | None = None) -> PackageList:
        """Published packages, the newest first."""
        return await self.client.call("GET", "/v1/packages", PackageList, timeout_s=timeout_s)

    async def fleet(self, *, timeout_s: float | None = None) -> Roster:
        """The latest reports. Raises Problem `steering_unavailable`."""
        return await self.client.call("GET", "/v1/fleet", Roster, timeout_s=timeout_s)

    async def drain_appliance(
        self, appliance: str, body: DrainRequest, *, timeout_s: float | None = None
    ) -> None:
        """Drains an appliance, or restores it. Raises Problem `steering_unavailable`,
        `unknown_appliance`."""
        await self.client.call_raw(
            "PUT", f"/v1/fleet/{_part(appliance)}/drain", body=body, timeout_s=timeout_s
        )

    async def forget_appliance(self, appliance: str, *, timeout_s: float | None = None) -> None:
        """Trusts an appliance's key no more. Raises Problem `unknown_appliance`."""
        await self.client.call_raw("DELETE", f"/v1/fleet/{_part(appliance)}", timeout_s=timeout_s)

    async def invite(
        self, body: NewInvitation, *, timeout_s: float | None = None
    ) -> MadeInvitation:
        """Lets one machine join, once. Raises Problem `steering_unavailable`, `name_taken`,
        `too_many`."""
        return await self.client.call(
            "POST", "/v1/invitations", MadeInvitation, body=body, timeout_s=timeout_s
        )

    async def invitations(self, *, timeout_s: float | None = None) -> Invitations:
        """Who may join, or just did."""
        return await self.client.call("GET", "/v1/invitations", Invitations, timeout_s=timeout_s)

    async def withdraw_invitation(self, appliance: str, *, timeout_s: float | None = None) -> None:
        """Withdraws an invitation. Raises Problem `unknown_invitation`."""
        await self.client.call_raw(
            "DELETE", f"/v1/invitations/{_part(appliance)}", timeout_s=timeout_s
        )

    async def enrol(self, body: Enrolment, *, timeout_s: float | None = None) -> Enrolled:
        """A machine joins, by its invitation's token. Raises Problem `invitation_invalid`,
        `invitation_expired`, `invitation_used`, `name_taken`, `token_invalid`, `token_expired`,
        `too_many_attempts`, `unavailable`, `bad_settings`."""
        return await self.client.call(
            "POST", "/v1/enrolments", Enrolled, body=body, timeout_s=timeout_s
        )

    async def machines(
        self, *, wait: float | None = None, timeout_s: float | None = None
    ) -> MachineKeys:
        """The keys of appliances, by long poll."""
        return await self.client.call(
            "GET", "/v1/machines", MachineKeys, query=_given(wait=wait), timeout_s=timeout_s
        )

    async def fill_plan(self, appliance: str, *, timeout_s: float | None = None) -> FillPlan:
        """What the appliance is to hold. Raises Problem `steering_unavailable`,
        `unknown_appliance`, `unavailable`."""
        return await self.client.call(
            "GET", f"/v1/fleet/{_part(appliance)}/plan", FillPlan, timeout_s=timeout_s
        )

    async def fills(self, *, timeout_s: float | None = None) -> FillStatus:
        """How far the plans are filled. Raises Problem `steering_unavailable`."""
        return await self.client.call("GET", "/v1/fills", FillStatus, timeout_s=timeout_s)

    async def pin_package(
        self, package_id: str, body: PinRequest, *, timeout_s: float | None = None
    ) -> Pin:
        """Pins a package: plans have it first. Raises Problem `steering_unavailable`,
        `unknown_site`, `unknown_region`, `purged`, `too_many`."""
        return await self.client.call(
            "POST", f"/v1/fills/{_part(package_id)}", Pin, body=body, timeout_s=timeout_s
        )

    async def unpin_package(self, package_id: str, *, timeout_s: float | None = None) -> None:
        """Lifts the pin of a package. Raises Problem `steering_unavailable`."""
        await self.client.call_raw("DELETE", f"/v1/fills/{_part(package_id)}", timeout_s=timeout_s)

    async def start_purge(self, body: NewPurge, *, timeout_s: float | None = None) -> PurgeDetails:
        """Has all appliances drop a title, package or pattern. Raises Problem
        `steering_unavailable`."""
        return await self.client.call(
            "POST", "/v1/purges", PurgeDetails, body=body, timeout_s=timeout_s
        )

    async def purges(self, *, timeout_s: float | None = None) -> PurgeJobs:
        """Purges, the newest first. Raises Problem `steering_unavailable`."""
        return await self.client.call("GET", "/v1/purges", PurgeJobs, timeout_s=timeout_s)

    async def purge(self, job_id: str, *, timeout_s: float | None = None) -> PurgeDetails:
        """A purge, appliance by appliance. Raises Problem `steering_unavailable`,
        `unknown_purge`."""
        return await self.client.call(
            "GET", f"/v1/purges/{_part(job_id)}", PurgeDetails, timeout_s=timeout_s
        )

    async def cancel_purge(self, job_id: str, *, timeout_s: float | None = None) -> PurgeDetails:
        """Who has not begun a purge never will. Raises Problem `steering_unavailable`,
        `unknown_purge`."""
        return await self.client.call(
            "POST", f"/v1/purges/{_part(job_id)}/cancel", PurgeDetails, timeout_s=timeout_s
        )

    async def regions(self, *, timeout_s: float | None = None) -> Regions:
        """Regions that have appliances. Raises Problem `steering_unavailable`."""
        return await self.client.call("GET", "/v1/regions", Regions, timeout_s=timeout_s)

    async def healthz(self, *, timeout_s: float | None = None) -> None:
        """The process lives."""
        await self.client.call_raw("GET", "/healthz", timeout_s=timeout_s)

    async def readyz(self, *, timeout_s: float | None = None) -> None:
        """The database answers. Raises Problem `unavailable`."""
        await self.client.call_raw("GET", "/readyz", timeout_s=timeout_s)

    async def metrics(self, *, timeout_s: float | None = None) -> bytes:
        """Prometheus metrics."""
        return await self.client.call_raw("GET", "/metrics", timeout_s=timeout_s)

    async def openapi(self, *, timeout_s: float | None = None) -> bytes:
        """The OpenAPI document of this API."""
        return await self.client.call_raw("GET", "/openapi.json", timeout_s=timeout_s)


def _part(value: str) -> str:
    """The value as one segment of a path. Raises Problem for one that would lead elsewhere."""
    if value in ("", ".", ".."):
        raise Problem("not_found", f"There is nothing called {value!r}.")
    return quote(value, safe="")


def _given(**fields: str | float | None) -> dict[str, str]:
    """The query: only what is given."""
    return {name: str(value) for name, value in fields.items() if value is not None}

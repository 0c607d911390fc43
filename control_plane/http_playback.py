"""Handlers of playback sessions and their manifests."""

from collections.abc import Callable

from aiohttp import web
from aiohttp.web import ContentCoding
from pydantic import BaseModel, ConfigDict, Field

from control_plane import manifests
from control_plane.catalog import View
from control_plane.clock import Clock
from control_plane.metrics import Metrics
from control_plane.packages import Manifests, Packages
from control_plane.playback import Playback, Playing
from control_plane.profiles import UserProfiles
from control_plane.watching import Watching
from media.accounts import Request
from media.api import Heartbeat, History, NewSession, Position, Session, SteerAnswer
from media.fleet import ClientAddress
from media.ids import Name, ProfileId
from media.inventory import content_type
from media.objects import StoreUnavailable
from media.protection import LicenceRequest
from runtime.api import Call, problem_response
from runtime.errors import Problem

MAX_PATHWAYS = 16
# Players read manifests from pages of any origin; the address is all the authority there is.
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": "86400",
    "Timing-Allow-Origin": "*",
}

Write = Callable[[Manifests, Playing, int], str]


class SteerQuery(Request):
    """`GET /v1/titles/{title_id}/steer`: for a client in `region`, or at the address `client`."""

    region: Name | None = None
    client: ClientAddress | None = None


class HistoryQuery(Request):
    """`GET /v1/history`: `cursor` is the last page's `next_cursor`."""

    profile_id: ProfileId | None = None
    cursor: str | None = Field(None, max_length=60)
    limit: int = Field(50, ge=1, le=200)


class ProfileQuery(Request):
    """Whose history; the account's own without one."""

    profile_id: ProfileId | None = None


class EndQuery(Request):
    """`DELETE /v1/sessions/{session_id}`: where the player was, if it knows. A page that closes has
    no time for a heartbeat before it."""

    position_s: Position | None = None


class ManifestQuery(BaseModel):
    """Manifests: `pathways` is how many to name. Players add arguments of their own."""

    model_config = ConfigDict(extra="ignore")
    pathways: int = Field(MAX_PATHWAYS, ge=1, le=MAX_PATHWAYS)


class PlaybackHttp:
    """Sessions, and what they leave in histories."""

    def __init__(
        self,
        playback: Playback,
        packages: Packages,
        watching: Watching,
        profiles: UserProfiles,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._playback = playback
        self._packages = packages
        self._watching = watching
        self._profiles = profiles
        self._metrics = metrics
        self._clock = clock

    async def start(self, call: Call) -> Session:
        return await self._playback.start(call.body(NewSession), call.who, call.address or None)

    async def get(self, call: Call) -> Session:
        return await self._playback.get(call.path["session_id"], call.who)

    async def beat(self, call: Call) -> None:
        told = call.body(Heartbeat)
        await self._playback.beat(call.path["session_id"], call.who, told)
        self._metrics.heard(told.rebuffers, told.bitrate_bps)

    async def history(self, call: Call) -> History:
        query = call.query(HistoryQuery)
        user_id = call.who.user_id or ""
        view = View(self._clock(), age=await self._profiles.age(user_id, query.profile_id))
        return await self._watching.history(
            user_id, query.profile_id, view, cursor=query.cursor, limit=query.limit
        )

    async def forget(self, call: Call) -> None:
        user_id, profile_id = call.who.user_id or "", call.query(ProfileQuery).profile_id
        await self._profiles.age(user_id, profile_id)  # it is the caller's own
        await self._watching.forget(user_id, profile_id, call.path["title_id"])

    async def end(self, call: Call) -> None:
        position_s = call.query(EndQuery).position_s
        await self._playback.end(call.path["session_id"], call.who, position_s)

    async def steer(self, call: Call) -> SteerAnswer:
        query = call.query(SteerQuery)
        address = query.client or call.address or None
        return await self._playback.steer(call.path["title_id"], query.region, address)

    async def multivariant(self, call: Call) -> web.Response:
        return await self._manifest(call, manifests.multivariant)

    async def mpd(self, call: Call) -> web.Response:
        return await self._manifest(call, manifests.mpd)

    async def preflight(self, call: Call) -> web.Response:
        return web.Response(status=204, headers=CORS)

    async def license(self, call: Call) -> web.Response:
        session_id, key = call.path["session_id"], call.path["key"]
        try:
            given = await self._playback.licence(session_id, key, call.body(LicenceRequest))
        except Problem as problem:
            return _refused(problem, call)
        return web.json_response(given, headers=CORS | {"Cache-Control": "no-store"})

    async def _manifest(self, call: Call, write: Write) -> web.Response:
        try:
            text = await self._written(call, write)
        except StoreUnavailable as error:
            return _refused(Problem("store_unavailable", str(error)), call)
        except Problem as problem:
            return _refused(problem, call)
        response = web.Response(body=text.encode(), headers=CORS | {"Vary": "Accept-Encoding"})
        response.content_type = content_type(call.request.path)
        if "gzip" in call.request.headers.get("Accept-Encoding", ""):
            response.enable_compression(ContentCoding.gzip)
        return response

    async def _written(self, call: Call, write: Write) -> str:
        playing = await self._playback.playing(call.path["session_id"], call.path["key"])
        package = await self._packages.get(
            playing.title_id, playing.package_id, playing.inventory_sha256
        )
        limit = call.query(ManifestQuery).pathways
        return write(package, playing, limit)


def _refused(problem: Problem, call: Call) -> web.Response:
    """With CORS too: without it a page sees no status, let alone a code."""
    response = problem_response(problem, call.request_id)
    response.headers.update(CORS)
    return response

"""Handlers of artwork."""

from aiohttp import web

from control_plane.artwork import Artworks, Shown
from control_plane.catalog import Catalog, View
from control_plane.clock import Clock
from control_plane.http_catalog import ViewQuery, view_of
from control_plane.profiles import UserProfiles
from media.api import Title
from runtime.api import Call, has_tag

# Nothing but a picture, whatever a browser makes of its bytes.
SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
# An address has the digest in it: what is there never changes, though it may end.
KEPT = "private, max-age=604800, immutable"
ASKED_AGAIN = "private, no-cache"


class ArtworkHttp:
    """The pictures of titles."""

    def __init__(
        self, artworks: Artworks, catalog: Catalog, profiles: UserProfiles, clock: Clock
    ) -> None:
        self._artworks = artworks
        self._catalog = catalog
        self._profiles = profiles
        self._clock = clock

    async def put(self, call: Call) -> Title:
        await self._artworks.give(call.path["title_id"], call.raw)
        return await self._title(call)

    async def delete(self, call: Call) -> Title:
        await self._artworks.remove(call.path["title_id"])
        return await self._title(call)

    async def get(self, call: Call) -> web.Response:
        profile_id = call.query(ViewQuery).profile_id
        view = await view_of(call.who, profile_id, self._profiles, self._clock)
        shown = await self._artworks.of(call.path["title_id"], view)
        return _response(call, shown, ASKED_AGAIN)

    async def at(self, call: Call) -> web.Response:
        path = call.path
        shown = await self._artworks.at(path["title_id"], path["sha256"], path["key"])
        return _response(call, shown, KEPT)

    async def _title(self, call: Call) -> Title:
        return await self._catalog.get(call.path["title_id"], View(self._clock(), drafts=True))


def _response(call: Call, shown: Shown, cache_control: str) -> web.Response:
    if has_tag(call.request, shown.sha256):
        response = web.Response(status=304, headers=SAFE)
    else:
        response = web.Response(body=shown.data, content_type=shown.content_type, headers=SAFE)
    response.headers["Cache-Control"] = cache_control
    response.etag = shown.sha256
    return response

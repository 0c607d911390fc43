"""Handlers of the catalog."""

from collections.abc import Callable

from aiohttp import web
from pydantic import Field

from control_plane.bell import Bell
from control_plane.catalog import Catalog, View
from control_plane.clock import Clock
from control_plane.home import HomeRows
from control_plane.profiles import UserProfiles
from control_plane.roles import OPERATORS
from media.accounts import Plain, Request
from media.api import Home, NewTitle, Title, TitleChange, TitlePage
from media.ids import Name, ProfileId, TitleId
from media.inventory import sha256_of
from runtime.api import Call, Caller, has_tag


class ViewQuery(Request):
    """For whom: a profile sees what is for its age."""

    profile_id: ProfileId | None = None


class TitleQuery(ViewQuery):
    """`GET /v1/titles`: `q` has the beginnings of words, `cursor` is the `next_cursor` of the page
    before."""

    q: Plain = Field("", max_length=200)
    cursor: TitleId | None = None
    limit: int = Field(50, ge=1, le=200)


class HomeQuery(ViewQuery):
    """`GET /v1/home`: what is popular in `region`, or everywhere."""

    region: Name | None = None


class CatalogHttp:
    """Titles, and the packages that steering places. `removed` is called after a deletion."""

    def __init__(
        self,
        catalog: Catalog,
        home: HomeRows,
        profiles: UserProfiles,
        bell: Bell,
        clock: Clock,
        removed: Callable[[], None],
    ) -> None:
        self._catalog = catalog
        self._home = home
        self._profiles = profiles
        self._clock = clock
        self._bell = bell
        self._removed = removed

    async def create(self, call: Call) -> Title:
        return await self._catalog.create(call.body(NewTitle))

    async def page(self, call: Call) -> TitlePage:
        query = call.query(TitleQuery)
        view = await self._view(call, query.profile_id)
        return await self._catalog.page(view, q=query.q, cursor=query.cursor, limit=query.limit)

    async def get(self, call: Call) -> Title:
        view = await self._view(call, call.query(ViewQuery).profile_id)
        return await self._catalog.get(call.path["title_id"], view)

    async def change(self, call: Call) -> Title:
        return await self._catalog.change(call.path["title_id"], call.body(TitleChange))

    async def home(self, call: Call) -> Home:
        query = call.query(HomeQuery)
        view = await self._view(call, query.profile_id)
        return await self._home.rows(call.who, query.profile_id, query.region, view)

    async def publish(self, call: Call) -> Title:
        return await self._catalog.publish(call.path["title_id"])

    async def unpublish(self, call: Call) -> Title:
        return await self._catalog.unpublish(call.path["title_id"])

    async def delete(self, call: Call) -> None:
        for job_id in await self._catalog.delete(call.path["title_id"]):
            self._bell.ring(job_id)
        self._removed()

    async def packages(self, call: Call) -> web.Response:
        """The tag is the list's SHA-256: who has the list knows it."""
        listed = (await self._catalog.packages()).model_dump_json().encode()
        tag = sha256_of(listed)
        if has_tag(call.request, tag):
            response = web.Response(status=304)
        else:
            response = web.Response(body=listed, content_type="application/json")
        response.etag = tag
        return response

    async def _view(self, call: Call, profile_id: str | None) -> View:
        return await view_of(call.who, profile_id, self._profiles, self._clock)


async def view_of(
    who: Caller, profile_id: str | None, profiles: UserProfiles, clock: Clock
) -> View:
    """What the caller sees: drafts, to operators who name no profile. Raises Problem
    `unknown_profile`."""
    age = await profiles.age(who.user_id, profile_id)
    return View(clock(), drafts=who.role in OPERATORS and profile_id is None, age=age)

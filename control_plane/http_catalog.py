"""Handlers of the catalog."""

from collections.abc import Callable

from aiohttp import web
from pydantic import Field

from control_plane.bell import Bell
from control_plane.catalog import Catalog
from control_plane.roles import OPERATORS
from media.api import NewTitle, Plain, Request, Title, TitlePage
from media.ids import TitleId
from media.inventory import sha256_of
from runtime.api import Call, has_tag


class TitleQuery(Request):
    """`GET /v1/titles`: `q` is part of a name, `cursor` the `next_cursor` of the page before."""

    q: Plain = Field("", max_length=200)
    cursor: TitleId | None = None
    limit: int = Field(50, ge=1, le=200)


class CatalogHttp:
    """Titles, and the packages that steering places. `removed` is called after a deletion."""

    def __init__(self, catalog: Catalog, bell: Bell, removed: Callable[[], None]) -> None:
        self._catalog = catalog
        self._bell = bell
        self._removed = removed

    async def create(self, call: Call) -> Title:
        return await self._catalog.create(call.body(NewTitle))

    async def page(self, call: Call) -> TitlePage:
        query = call.query(TitleQuery)
        return await self._catalog.page(
            q=query.q, cursor=query.cursor, limit=query.limit, drafts=_sees_drafts(call)
        )

    async def get(self, call: Call) -> Title:
        return await self._catalog.get(call.path["title_id"], drafts=_sees_drafts(call))

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


def _sees_drafts(call: Call) -> bool:
    return call.who.role in OPERATORS

"""Handlers about the service itself: health, metrics, its own description."""

from aiohttp import web
from sqlalchemy import text

from control_plane.database import Database
from control_plane.metrics import Metrics
from runtime.api import Call


class SelfHttp:
    """The service."""

    def __init__(self, database: Database, metrics: Metrics) -> None:
        self._database = database
        self._metrics = metrics

    async def alive(self, call: Call) -> None:
        return None

    async def ready(self, call: Call) -> None:
        async with self._database.reading() as session:
            await session.execute(text("SELECT 1"))

    async def metrics(self, call: Call) -> web.Response:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": Metrics.CONTENT})

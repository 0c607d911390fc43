"""An OpenTelemetry collector for tests: takes OTLP over HTTP, and keeps the spans."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from runtime.service import serve_http


@dataclass(frozen=True)
class SpanSeen:
    """A span, with the service that sent it; ids in hex."""

    service: str
    instance: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    links: list[str]
    failed: bool


class Collector:
    """Listens from `start` to `stop`, each time on the same port."""

    def __init__(self) -> None:
        self.url = ""
        self.spans: list[SpanSeen] = []
        self._news = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=64 * 1024**2)
        app.router.add_post("/v1/traces", self._take)
        listen = self.url.removeprefix("http://") or "127.0.0.1:0"
        self._runner, self.url = await serve_http(app, listen)

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def until(
        self, fits: Callable[[list[SpanSeen]], object], within_s: float = 20
    ) -> list[SpanSeen]:
        """The spans, once they fit."""
        async with asyncio.timeout(within_s), self._news:
            await self._news.wait_for(lambda: bool(fits(self.spans)))
        return self.spans

    async def _take(self, request: web.Request) -> web.Response:
        said = ExportTraceServiceRequest.FromString(await request.read())
        async with self._news:
            for part in said.resource_spans:
                resource = _plain(part.resource.attributes)
                for scope in part.scope_spans:
                    self.spans += [_seen(resource, span) for span in scope.spans]
            self._news.notify_all()
        return web.Response(content_type="application/x-protobuf")


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector that listens until the end of the block."""
    collector = Collector()
    await collector.start()
    try:
        yield collector
    finally:
        await collector.stop()


def _seen(resource: dict[str, Any], span: Any) -> SpanSeen:
    return SpanSeen(
        service=resource["service.name"],
        instance=resource["service.instance.id"],
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        attributes=_plain(span.attributes),
        links=[link.trace_id.hex() for link in span.links],
        failed=span.status.code == span.status.STATUS_CODE_ERROR,
    )


def _plain(attributes: Any) -> dict[str, Any]:
    """OTLP's key-value pairs."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in attributes}

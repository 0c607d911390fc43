"""What the control plane counts, for Prometheus."""

import time
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Metrics:
    """Requests by route and status. Routes are those of the table: no client makes up a label."""

    CONTENT = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._seconds = Histogram(
            "nearcast_control_request_seconds",
            "Seconds from request to answer.",
            ("method", "route", "status"),
            registry=self._registry,
            buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
        )

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self._registry)

    def watch(self, app: web.Application) -> None:
        """Every request of the application is counted, refused ones too."""

        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            began = time.perf_counter()
            status = 499  # the client left
            try:
                response = await handler(request)
                status = response.status
                return response
            finally:
                resource = request.match_info.route.resource
                route = resource.canonical if resource is not None else "none"
                method = request.method if resource is not None else "ANY"
                self._seconds.labels(method, route, str(status)).observe(
                    time.perf_counter() - began
                )

        app.middlewares.insert(0, count)

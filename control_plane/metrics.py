"""What the control plane counts, for Prometheus."""

import time
from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import web
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from runtime.admission import PRIORITIES, Admission

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
        self._rebuffers = Counter(
            "nearcast_control_rebuffers_total",
            "Times that playing stopped for want of bytes, by players' own word.",
            registry=self._registry,
        )
        self._bitrate = Histogram(
            "nearcast_control_played_bps",
            "Bits per second of what plays, at each heartbeat.",
            registry=self._registry,
            buckets=(3e5, 1e6, 2e6, 4e6, 8e6, 16e6, 32e6),
        )

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self._registry)

    def heard(self, rebuffers: int, bitrate_bps: int | None) -> None:
        """A player has said how it fares."""
        self._rebuffers.inc(rebuffers)
        if bitrate_bps is not None:
            self._bitrate.observe(bitrate_bps)

    def watch(self, app: web.Application, admission: Admission) -> None:
        """Every request of the application is counted, refused ones too, and how many may run at
        once is told."""
        limit = Gauge(
            "nearcast_control_concurrency_limit",
            "Calls that may run at the same time, as learnt from how long they take.",
            registry=self._registry,
        )
        limit.set_function(lambda: admission.limit)
        refused = Gauge(
            "nearcast_control_refused_calls",
            "Calls refused for want of a place.",
            ("priority",),
            registry=self._registry,
        )
        for priority in PRIORITIES:
            told = partial(admission.refused_of, priority)
            refused.labels(priority).set_function(told)

        # Remembered: to look a child up by its labels costs more than all the rest.
        children: dict[tuple[str, str, int], Histogram] = {}

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
                key = method, route, status
                seconds = children.get(key)
                if seconds is None:
                    seconds = children[key] = self._seconds.labels(method, route, str(status))
                seconds.observe(time.perf_counter() - began)

        app.middlewares.insert(0, count)

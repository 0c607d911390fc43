"""Spans on their way to the collector (OTLP over HTTP), from a thread of its own.

Whoever ends a span appends it to a bounded queue, and goes on. The thread, which begins with the
first span, loads OpenTelemetry's SDK, which takes a while, and sends what has come every second. A
collector that is away or slow costs spans, the oldest first, and nothing else.
"""

import threading
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from runtime.log import logger

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Link, SpanContext

Kind = Literal["server", "internal"]
MAX_SPANS = 4096  # some 4 MB
_BATCH = 512
_EVERY_S = 1.0
_TIMEOUT_S = 5.0  # for one batch, tries and all


class SpanRecord(NamedTuple):
    """A span that has ended; times in Unix nanoseconds. `link` is another's trace and span."""

    name: str
    kind: Kind
    trace_id: int
    span_id: int
    parent_id: int | None
    began_ns: int
    ended_ns: int
    attributes: dict[str, str | int]
    link: tuple[int, int] | None
    failed: bool


class Exporting:
    """The queue and its thread."""

    def __init__(self, service: str, instance: str) -> None:
        self._service, self._instance = service, instance
        self._queue: deque[SpanRecord] = deque(maxlen=MAX_SPANS)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, record: SpanRecord) -> None:
        """It will be sent, unless MAX_SPANS others come before the collector takes it."""
        self._queue.append(record)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
            self._thread.start()

    def close(self, timeout_s: float) -> None:
        """What stands in the queue was sent, or the time has passed."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._send_for_ever()
        except Exception:  # of the SDK, or of a setting of its own: a trace is not worth a service
            logger().exception("traces_broken")

    def _send_for_ever(self) -> None:
        import logging

        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import SpanExportResult

        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # of each try; we say it once
        exporter = OTLPSpanExporter(timeout=_TIMEOUT_S)
        to_span = _converter(self._service, self._instance)
        away = False
        while True:
            is_last = self._closing.wait(_EVERY_S)
            while batch := self._taken():
                sent = exporter.export([to_span(r) for r in batch]) is SpanExportResult.SUCCESS
                if sent is away:
                    away = not sent
                    logger().warning("collector_away" if away else "collector_back")
                if away:
                    break
            if is_last:
                exporter.shutdown()  # type: ignore[no-untyped-call]
                return

    def _taken(self) -> list[SpanRecord]:
        return [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]


def _converter(service: str, instance: str) -> "_ToSpan":
    from opentelemetry.sdk.resources import Resource

    attributes = {
        "service.namespace": "nearcast",
        "service.name": service,
        "service.instance.id": instance,
    }
    return _ToSpan(Resource.create(attributes))


class _ToSpan:
    """Makes the SDK's spans. They are made when they have ended, since it is known only then in
    which trace a session's request belongs, and an appliance learns of a hit from its log."""

    def __init__(self, resource: "Resource") -> None:
        from opentelemetry import trace
        from opentelemetry.sdk import trace as sdk
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        self._resource = resource
        self._trace, self._sdk = trace, sdk
        self._scope = InstrumentationScope("nearcast")
        self._kinds = {"server": trace.SpanKind.SERVER, "internal": trace.SpanKind.INTERNAL}

    def __call__(self, record: SpanRecord) -> "ReadableSpan":
        trace = self._trace
        links: Sequence[Link] = ()
        if record.link is not None:
            links = [trace.Link(self._at(*record.link))]
        parent = record.parent_id
        code = trace.StatusCode.ERROR if record.failed else trace.StatusCode.UNSET
        return self._sdk.ReadableSpan(
            record.name,
            context=self._at(record.trace_id, record.span_id),
            parent=None if parent is None else self._at(record.trace_id, parent),
            resource=self._resource,
            attributes=record.attributes,
            links=links,
            kind=self._kinds[record.kind],
            status=trace.Status(code),
            start_time=record.began_ns,
            end_time=record.ended_ns,
            instrumentation_scope=self._scope,
        )

    def _at(self, trace_id: int, span_id: int) -> "SpanContext":
        flags = self._trace.TraceFlags(self._trace.TraceFlags.SAMPLED)
        return self._trace.SpanContext(trace_id, span_id, is_remote=False, trace_flags=flags)

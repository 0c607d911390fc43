"""Traces (OpenTelemetry, W3C Trace Context): from a session's start to the segments it plays.

The id of a session is 16 bytes of which ten are chance, and so is a trace's: they are the same
bytes, and the span that everything else of the session hangs from has an id that follows from them.
So an appliance, which knows a session by its token alone, knows its trace, and nothing more has to
travel. Between services, and between appliances that fill from each other, `traceparent` does.

Nothing is traced until the environment names a collector, as OpenTelemetry has it:
OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318. Spans say no tokens, no queries and no addresses.
"""

import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, NamedTuple

import structlog

from media.ids import to_bytes
from runtime.span_export import Exporting, Kind, SpanRecord

TRACEPARENT = "traceparent"
Mode = Literal["", "starts", "continues"]
_NAMES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
# Version, trace, parent, flags; a later version may say more behind them.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.{0,64})?"
)
_SAMPLED = 1

_exporting: Exporting | None = None


class Place(NamedTuple):
    """Where in which trace."""

    trace_id: int
    span_id: int

    @property
    def traceparent(self) -> str:
        """As the header says it."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-01"


class Span:
    """Something that is being done; `attributes` may be added to it until it ends."""

    def __init__(self, name: str, kind: Kind, place: Place, parent_id: int | None) -> None:
        self.name = name
        self.kind = kind
        self.place = place
        self.parent_id = parent_id
        self.link: Place | None = None
        self.attributes: dict[str, str | int] = {}
        self.failed = False
        self.movable = False  # it began a trace, and nobody has been told of it
        self.wanted = True
        self._began_ns = time.time_ns()

    def answered(self, status: int) -> None:
        """The HTTP status; one from 500 on is a failure. Who was not let in leaves no span: anybody
        could push out those of others."""
        self.wanted = status not in (401, 429)
        self.attributes["http.response.status_code"] = status
        self.failed = self.failed or status >= 500

    def record(self) -> SpanRecord:
        """As of now, when it ends."""
        return SpanRecord(
            self.name,
            self.kind,
            self.place.trace_id,
            self.place.span_id,
            self.parent_id,
            self._began_ns,
            time.time_ns(),
            self.attributes,
            self.link,
            self.failed,
        )


_current: ContextVar[Span | None] = ContextVar("span", default=None)


def configure(service: str, instance: str, environ: Mapping[str, str] | None = None) -> None:
    """From now on spans go to the collector that the environment names, if it does, in the name of
    this service."""
    global _exporting  # noqa: PLW0603  (one a process, as its log is)
    environ = os.environ if environ is None else environ
    named = any(environ.get(name) for name in _NAMES)
    is_off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    _exporting = Exporting(service, instance) if named and not is_off else None


def flush(timeout_s: float) -> None:
    """What ended has left, or the time has passed."""
    if _exporting is not None:
        _exporting.close(timeout_s)


def on() -> bool:
    """Whether a collector is named."""
    return _exporting is not None


def of_session(session_id: str) -> Place:
    """The span that the session's trace begins with."""
    raw = to_bytes(session_id)
    root = int.from_bytes(hashlib.sha256(raw).digest()[:8], "big")
    return Place(int.from_bytes(raw, "big") or 1, root or 1)


def read(traceparent: str) -> Place | None:
    """The place that a header names; None when it is none, or one that is not sampled."""
    fits = _TRACEPARENT.fullmatch(traceparent) if len(traceparent) <= 128 else None
    if fits is None or not int(fits[3], 16) & _SAMPLED:
        return None
    place = Place(int(fits[1], 16), int(fits[2], 16))
    return place if place.trace_id and place.span_id else None


def outgoing() -> dict[str, str]:
    """The header for a call to another service, if a span is under way."""
    span = _current.get() if _exporting is not None else None
    if span is None:
        return {}
    span.movable = False
    return {TRACEPARENT: span.place.traceparent}


@contextmanager
def serving(mode: Mode, traceparent: str, name: str) -> Iterator[Span | None]:
    """A request is answered: in the caller's trace, or, if the route `starts` one, in its own."""
    parent = read(traceparent) if _exporting is not None and mode else None
    if _exporting is None or not mode or (parent is None and mode != "starts"):
        yield None
        return
    span = _begun(name, "server", parent)
    span.movable = parent is None
    with _within(span):
        yield span


@contextmanager
def session(session_id: str) -> Iterator[None]:
    """What is done now begins the session's trace. A request whose caller has a trace of his own
    stays there, and the two are linked."""
    span = _current.get() if _exporting is not None else None
    if span is None:
        yield
        return
    place = of_session(session_id)
    if span.movable:
        span.place = place
        span.attributes["nearcast.session_id"] = session_id
        structlog.contextvars.bind_contextvars(trace_id=f"{place.trace_id:032x}")
        yield
        return
    own = Span("session", "internal", place, None)
    own.link = span.place
    own.attributes["nearcast.session_id"] = session_id
    with _within(own):
        yield


@contextmanager
def joined(traceparent: str, name: str) -> Iterator[Span | None]:
    """Something is done for who gave this place; None when nobody did."""
    parent = read(traceparent) if _exporting is not None and traceparent else None
    if parent is None:
        yield None
        return
    with _within(_begun(name, "internal", parent)) as span:
        yield span


def tell(
    name: str, session_id: str, began_s: float, took_us: int, attributes: dict[str, str | int]
) -> None:
    """Something was done in the session, then and for so long. Raises ValueError for an id that is
    none."""
    if _exporting is not None:
        root = of_session(session_id)
        began_ns = int(began_s * 1e9)
        _exporting.add(
            SpanRecord(
                name,
                "server",
                root.trace_id,
                _span_id(),
                root.span_id,
                began_ns,
                began_ns + took_us * 1000,
                attributes,
                None,
                False,
            )
        )


def _begun(name: str, kind: Kind, parent: Place | None) -> Span:
    trace_id = parent.trace_id if parent is not None else secrets.randbits(128) or 1
    return Span(name, kind, Place(trace_id, _span_id()), parent.span_id if parent else None)


@contextmanager
def _within(span: Span) -> Iterator[Span]:
    token = _current.set(span)
    trace_id = f"{span.place.trace_id:032x}"
    with structlog.contextvars.bound_contextvars(trace_id=trace_id):
        try:
            yield span
        except BaseException as error:
            span.failed = True
            span.attributes["error.type"] = type(error).__name__
            raise
        finally:
            _current.reset(token)
            if _exporting is not None and span.wanted:
                _exporting.add(span.record())


def _span_id() -> int:
    return secrets.randbits(64) or 1

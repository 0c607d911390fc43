"""Traces: which request belongs to which, what travels, and what a collector gets, or does not."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog
from aiohttp import web

from media.ids import new_id, to_bytes
from runtime import span_export, tracing
from runtime.api import Call, Route, make_app
from runtime.client import Client
from runtime.errors import Problem
from runtime.service import serve_http
from runtime.span_export import MAX_SPANS, Exporting, SpanRecord
from tests.collector import Collector, collecting

CALLER = f"00-{7:032x}-{8:016x}-01"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[SpanRecord]]:
    """A collector is named; what would leave for it."""
    ended: list[SpanRecord] = []
    monkeypatch.setattr(Exporting, "add", lambda self, record: ended.append(record))
    tracing.configure("test", "test-1", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})
    yield ended
    tracing.configure("test", "test-1", {})


@pytest.mark.parametrize(
    "header",
    [
        "", "00", f"00-{0:032x}-{8:016x}-01", f"00-{7:032x}-{0:016x}-01",
        f"ff-{7:032x}-{8:016x}-01",
        f"00-{7:032x}-{8:016x}-00", f"00-{7:032X}-{8:016x}-1", f"00-{'G' * 32}-{8:016x}-01",
        CALLER + "-" + "x" * 500, CALLER + "\n",
    ],
)  # fmt: skip
def test_what_is_no_place_is_none(header: str) -> None:
    assert tracing.read(header) is None


def test_a_place_is_read_as_it_is_written() -> None:
    place = tracing.read(CALLER)
    assert place == (7, 8) and place.traceparent == CALLER
    assert tracing.read(f"01-{7:032x}-{8:016x}-03-later") == (7, 8)


def test_a_session_is_its_trace() -> None:
    session_id = new_id("ses")
    place = tracing.of_session(session_id)
    assert place.trace_id.to_bytes(16, "big") == to_bytes(session_id)
    assert place == tracing.of_session(session_id) != tracing.of_session(new_id("ses"))
    with pytest.raises(ValueError):
        tracing.of_session("ses_?")


def test_a_session_that_begins_a_trace_is_its_root(spans: list[SpanRecord]) -> None:
    session_id = new_id("ses")
    root = tracing.of_session(session_id)
    with tracing.serving("starts", "", "POST /v1/sessions") as span:
        with tracing.session(session_id):
            assert tracing.outgoing() == {"traceparent": root.traceparent}
            told = structlog.contextvars.get_contextvars()["trace_id"]
        assert span is not None
        span.answered(201)
    assert "trace_id" not in structlog.contextvars.get_contextvars()
    (only,) = spans
    assert (only.trace_id, only.span_id, only.parent_id) == (*root, None)
    assert told == f"{root.trace_id:032x}" and not only.failed
    tracing.tell("segment", session_id, 1000.5, 2500, {"nearcast.bytes": 1})
    assert spans[1].trace_id == root.trace_id and spans[1].parent_id == root.span_id
    assert (spans[1].began_ns, spans[1].ended_ns) == (1000500000000, 1000502500000)


def test_a_caller_keeps_his_trace_and_the_session_has_its_own(spans: list[SpanRecord]) -> None:
    session_id = new_id("ses")
    with tracing.serving("starts", CALLER, "POST /v1/sessions"), tracing.session(session_id):
        assert tracing.outgoing() == {"traceparent": tracing.of_session(session_id).traceparent}
    session, request = spans
    assert (session.trace_id, session.span_id) == tracing.of_session(session_id)
    assert (request.trace_id, request.parent_id) == (7, 8)
    assert session.link == (request.trace_id, request.span_id)


def test_what_nobody_asked_for_is_not_traced(spans: list[SpanRecord]) -> None:
    for mode, header in (("", CALLER), ("continues", ""), ("continues", "00-nonsense")):
        with tracing.serving(mode, header, "GET /") as span:  # type: ignore[arg-type]
            assert span is None and tracing.outgoing() == {}
    with tracing.joined("", "fill") as span, tracing.session(new_id("ses")):
        assert span is None
    assert spans == []


def test_who_is_not_let_in_leaves_nothing(spans: list[SpanRecord]) -> None:
    for status in (401, 429, 503):
        with tracing.serving("starts", CALLER, "POST /v1/sessions") as span:
            assert span is not None
            span.answered(status)
    assert [span.attributes["http.response.status_code"] for span in spans] == [503]
    assert spans[0].failed


def test_a_failure_is_one(spans: list[SpanRecord]) -> None:
    with pytest.raises(KeyError), tracing.joined(CALLER, "fill"):
        raise KeyError
    assert spans[0].failed and spans[0].attributes["error.type"] == "KeyError"


async def test_it_passes_from_service_to_service(spans: list[SpanRecord]) -> None:
    async def rank(call: Call) -> web.Response:
        raise Problem("purged")

    second = make_app([Route("POST", "/v1/rank", rank, "Ranks", traced="continues")])
    behind, behind_url = await serve_http(second, "127.0.0.1:0")
    session_id = new_id("ses")
    async with Client(behind_url) as steering:

        async def start(call: Call) -> web.Response:
            with tracing.session(session_id):
                await steering.call_raw("POST", "/v1/rank?token=secret")
            return web.Response()

        first = make_app([Route("POST", "/v1/sessions", start, "Plays", traced="starts")])
        front, url = await serve_http(first, "127.0.0.1:0")
        async with Client(url) as client:
            with pytest.raises(Problem):
                await client.call_raw("POST", "/v1/sessions?token=secret")
        await front.cleanup()
    await behind.cleanup()
    ranked, started = spans
    root = tracing.of_session(session_id)
    assert (started.trace_id, started.span_id, started.parent_id) == (*root, None)
    assert (ranked.trace_id, ranked.parent_id) == root
    assert ranked.name == "POST /v1/rank" and "secret" not in repr(spans)
    assert ranked.attributes["http.response.status_code"] == 410


def a_record(number: int = 1) -> SpanRecord:
    return SpanRecord("fill", "internal", 7, number, 8, 1, 2, {"nearcast.bytes": 5}, (9, 10), True)


async def test_the_collector_gets_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(span_export, "_EVERY_S", 0.05)
    async with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        exporting = Exporting("appliance", "north-1")
        exporting.add(a_record())
        (span,) = await collector.until(lambda spans: len(spans) == 1)
        await asyncio.to_thread(exporting.close, 5.0)
    assert span.name == "fill" and span.instance == "north-1" and span.service == "appliance"
    assert (span.trace_id, span.parent_id) == (f"{7:032x}", f"{8:016x}")
    assert span.attributes == {"nearcast.bytes": 5} and span.failed
    assert span.links == [f"{9:032x}"]


async def test_a_collector_that_is_away_costs_spans_alone(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(span_export, "_EVERY_S", 0.05)
    monkeypatch.setattr(span_export, "_TIMEOUT_S", 0.2)
    collector = Collector()
    await collector.start()
    await collector.stop()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    exporting = Exporting("appliance", "north-1")
    for number in range(1, 10 * MAX_SPANS + 1):
        exporting.add(a_record(number))  # if each waited for the collector, it would take an hour
    while "collector_away" not in capfd.readouterr().out:  # noqa: ASYNC110  (of a thread)
        await asyncio.sleep(0.01)
    await collector.start()
    exporting.add(a_record(1))
    spans = await collector.until(lambda spans: spans and spans[-1].span_id == f"{1:016x}")
    assert len(spans) <= MAX_SPANS
    await asyncio.to_thread(exporting.close, 5.0)
    await collector.stop()


def test_nothing_of_it_is_loaded_until_a_collector_is_named() -> None:
    script = (
        "import json, sys; from runtime import tracing; tracing.configure('a', 'b', {});"
        "import appliance.worker, appliance.keeper, control_plane.app, steering.app;"
        "print(json.dumps([m for m in sys.modules if m.startswith('opentelemetry')]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []

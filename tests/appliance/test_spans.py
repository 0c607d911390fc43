"""Answers in traces: a sample of the access log's records."""

import pytest

from appliance.access_log import Record, session_part, what
from appliance.spans import MOST_PER_S, Sample, tell_answers
from media.ids import new_id
from runtime import tracing
from runtime.span_export import Exporting, SpanRecord

SESSION = new_id("ses")


def record(at_s: float, cache: str = "hit", scope: str = "play", status: int = 200) -> Record:
    said = what(b"GET", '"/titles/t/p/v-avc-720/3.m4s"', status, 65536, cache)  # type: ignore[arg-type]
    return at_s, 310, said, session_part(SESSION, scope)  # type: ignore[arg-type]


def test_the_first_of_each_second_are_taken() -> None:
    sample = Sample()
    many = [record(1000.0 + n / 1000) for n in range(100)]
    assert sample.take(many) == many[:MOST_PER_S]
    assert sample.take(many) == []
    assert sample.take([record(1001.0)]) == [record(1001.0)]


def test_what_is_no_file_of_a_session_is_not() -> None:
    others = [record(1.0, "-", status=403), record(1.0, scope="fill"), record(1.0, "miss")]
    assert Sample().take([*others, record(1.0, "fill")]) == [record(1.0, "fill")]


def test_a_record_becomes_a_span_of_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[SpanRecord] = []
    monkeypatch.setattr(Exporting, "add", lambda self, span: ended.append(span))
    tracing.configure("appliance", "a1", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})
    try:
        tell_answers([list(record(1000.25))])
    finally:
        tracing.configure("appliance", "a1", {})
    (span,) = ended
    assert (span.trace_id, span.parent_id) == tracing.of_session(SESSION)
    assert span.ended_ns - span.began_ns == 310_000
    assert span.attributes["nearcast.path"] == "/titles/t/p/v-avc-720/3.m4s"
    assert span.attributes["nearcast.cache"] == "hit" and span.attributes["nearcast.bytes"] == 65536

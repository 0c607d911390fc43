"""A session is one trace, from its start to its segments, over all services; and a collector that
is away is nobody's trouble."""

import time
from pathlib import Path

import pytest

from media.api import NewSession
from nearcast.walk import Walker
from runtime import tracing
from runtime.console import signed_in
from tests.collector import Collector, SpanSeen
from tests.running import Running, make_clip, running_cluster
from tests.stories.test_fleet import wait_for_roster

# Nothing is there before a viewer asks for it: the plan has no room.
SETTINGS = """
[steering]
recovery_s = 0
plan_share = 1e-9
[appliance]
early_fills = 0
"""


@pytest.mark.timeout(180)
async def test_one_trace_from_session_to_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = Collector()
    await collector.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    with running_cluster(tmp_path, 2, sites=["north"], settings=SETTINGS) as cluster:
        clip = make_clip(tmp_path / "clip.mp4", frames=96, size="320x180")
        cluster.nearcast("upload", str(clip), "--title", "Traced", "--wait")
        title_id = cluster.nearcast("title", "show", "Traced")["title_id"]
        session_id = await plays(cluster, title_id, tmp_path / "first")
        check(await collector.until(lambda spans: is_whole(spans, session_id)), session_id)
        await collector.stop()
        await plays(cluster, title_id, tmp_path / "second")
        wait_for_roster(cluster, lambda entry: entry["alive"])
        await collector.start()
        session_id = await plays(cluster, title_id, tmp_path / "third")
        await collector.until(lambda spans: "segment" in {s.name for s in of(spans, session_id)})
    await collector.stop()


async def plays(cluster: Running, title_id: str, folder: Path) -> str:
    """A session that fetched every file from its second pathway, which asks the first for it: that
    is the package's home."""
    began = time.monotonic()
    async with signed_in(cluster.data) as api:
        new = NewSession(title_id=title_id, region="north")
        session = await api.start_session(new)
    second = session.model_copy(update={"pathways": session.pathways[::-1]})
    walk = await Walker(second, folder, began).play()
    assert walk.segments >= 2 and walk.failovers == 0
    return session.session_id


def of(spans: list[SpanSeen], session_id: str) -> list[SpanSeen]:
    trace_id = f"{tracing.of_session(session_id).trace_id:032x}"
    return [span for span in spans if span.trace_id == trace_id]


def is_whole(spans: list[SpanSeen], session_id: str) -> bool:
    """Every service has told its part: of the appliances, who was asked for a segment, who brought
    a file from the store for its sibling, and who got it there."""
    mine = of(spans, session_id)
    told = {(s.service, s.name) for s in mine}
    services = {("control_plane", "POST /v1/sessions"), ("steering", "POST /v1/rank")}
    root = f"{tracing.of_session(session_id).span_id:016x}"
    fills = {s.parent_id for s in mine if s.name == "fill" and s.parent_id != root}
    known = {s.span_id for s in mine} | {""}
    return (
        told >= services | {("appliance", "segment")}
        and bool(fills)
        and {s.parent_id for s in mine} <= known
    )


def check(spans: list[SpanSeen], session_id: str) -> None:
    mine = {span.span_id: span for span in of(spans, session_id)}
    root = f"{tracing.of_session(session_id).span_id:016x}"
    assert mine[root].service == "control_plane" and mine[root].parent_id == ""
    assert mine[root].attributes["http.response.status_code"] == 201
    assert mine[root].attributes["nearcast.session_id"] == session_id
    parents = {span.parent_id for span in mine.values()} - {""}
    assert parents <= mine.keys()
    fills = [span for span in mine.values() if span.name == "fill"]
    assert {span.attributes["nearcast.outcome"] for span in fills} == {"held"}
    assert all(span.attributes["nearcast.bytes"] > 0 for span in fills)
    # One who asked its sibling, the file's home, which then asked the store for it.
    for_sibling = [span for span in fills if span.parent_id != root]
    assert for_sibling and {mine[s.parent_id].name for s in for_sibling} == {"fill"}
    assert "store" in {s.attributes["nearcast.source"] for s in for_sibling}
    assert {mine[s.parent_id].attributes["nearcast.source"] for s in for_sibling} == {
        span.instance for span in for_sibling
    }
    told = repr([span.attributes for span in mine.values()])
    assert "token" not in told and "?" not in told and "ttl_" in told

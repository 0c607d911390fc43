"""What a play asks of the object store, by the store's own log: nothing, where the plan has filled;
each file once, where nobody had it."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from media.api import NewSession
from media.objects import open_store
from media.s3 import S3Store
from nearcast.walk import Walk, Walker
from runtime.console import signed_in
from tests.logged_s3 import LoggedS3, logged_s3
from tests.running import AT_ONCE, Running, make_clip, running_cluster
from tests.stories.test_browser import served
from tests.stories.test_fleet import eventually, state, wait_for_roster

BUCKET = "films"
pytestmark = pytest.mark.timeout(180)


@pytest.fixture
async def store(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LoggedS3]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    with logged_s3() as logged:
        opened = open_store(f"s3://{BUCKET}?endpoint={logged.endpoint}")
        assert isinstance(opened, S3Store)
        await opened.create_bucket()
        await opened.close()
        yield logged


async def test_where_the_plan_has_filled_no_play_asks_the_store(
    store: LoggedS3, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with running_cluster(tmp_path, settings=_settings(store)) as cluster:
        title = await asyncio.to_thread(_publish, cluster, tmp_path)
        await asyncio.to_thread(_wait_until_filled, cluster, title)
        filled, at = _store_bytes(cluster), len(store.log)
        assert sum(filled) > 0  # the plan's bytes did come from there
        walks = {
            region: await _play(cluster, title, region, tmp_path / region)
            for region in ("north", "south", "west")
        }
        asked = store.reads(since=at)
        assert not [one for one in asked if one.by_appliance]
        # The control plane reads what it writes manifests from, once a title.
        names = Counter(one.key.partition(f"{title['package_id']}/")[2] for one in asked)
        assert names.keys() <= {"inventory.json", "dash/manifest.mpd"}
        assert names.total() == len(names)
        assert _store_bytes(cluster) == filled
        for region, walk in walks.items():
            eventually(lambda w=walk, r=region: _all_hits(cluster, w, r))  # type: ignore[misc]
        record_property("segments", sum(walk.segments for walk in walks.values()))


async def test_a_cold_region_s_first_play_fills_each_file_once(
    store: LoggedS3, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Two appliances of a site that have nothing, asked for all of a film at the same time."""
    cold = _settings(store, "plan_share = 0.000001\n")
    with running_cluster(tmp_path, 3, sites=("west", "north"), settings=cold) as cluster:
        title = await asyncio.to_thread(_publish, cluster, tmp_path)
        await asyncio.to_thread(
            wait_for_roster, cluster, lambda entry: entry["report"]["plan_version"] != ""
        )
        assert not [one for one in store.reads() if one.by_appliance]
        walks = await asyncio.gather(
            *(
                _play(cluster, title, "west", tmp_path / first, first=first)
                for first in ("west-1", "west-2")
            )
        )
        assert [list(walk.served_by) for walk in walks] == [["west-1"], ["west-2"]]
        brought = Counter(one.key for one in store.reads() if one.by_appliance)
        assert set(brought.values()) == {1}
        segments = [key for key in brought if key.endswith(".m4s")]
        assert len(segments) >= walks[0].segments == walks[1].segments > 0
        at = len(store.log)
        again = await _play(cluster, title, "west", tmp_path / "again")
        assert again.segments == walks[0].segments
        assert not store.reads(since=at)
        # Who is cold elsewhere takes it from there.
        await _play(cluster, title, "north", tmp_path / "north")
        assert not [one.key for one in store.reads(since=at) if one.key.endswith(".m4s")]
        record_property("files", len(brought))


def _settings(store: LoggedS3, steering: str = "") -> str:
    """Tables after [control_plane]."""
    url = f'store = "s3://{BUCKET}?endpoint={store.endpoint}"\n'
    return f"{url}{AT_ONCE}{steering}[encoder]\n{url}[appliance]\n{url}"


def _publish(cluster: Running, folder: Path) -> dict[str, Any]:
    clip = make_clip(folder / "clip.mp4", frames=144, size="320x180")
    cluster.nearcast("upload", str(clip), "--title", "Logged", "--wait")
    return cluster.nearcast("title", "show", "Logged")


def _wait_until_filled(cluster: Running, title: dict[str, Any]) -> None:
    for appliance in cluster.urls["appliances"].values():
        eventually(lambda a=appliance: title["package_id"] in state(a)["complete_packages"])  # type: ignore[misc]
    wait_for_roster(cluster, lambda entry: entry["packages_held"] == 1)


def _store_bytes(cluster: Running) -> list[int]:
    """What each appliance has taken from the store, by its own account."""
    urls = cluster.urls["appliances"]
    return [state(urls[name])["report"]["counters"]["fill_bytes_store"] for name in sorted(urls)]


def _all_hits(cluster: Running, walk: Walk, region: str) -> bool:
    lines = served(cluster, walk.session.session_id)
    return len(lines) == walk.segments and all(
        line["cache"] == "hit" and line["appliance_id"].startswith(region) for line in lines
    )


async def _play(
    cluster: Running, title: dict[str, Any], region: str, folder: Path, *, first: str = ""
) -> Walk:
    """Every file of every rendition, each byte compared; from the appliance `first`, if named."""
    began = time.monotonic()
    async with signed_in(cluster.data) as api:
        new = NewSession(title_id=title["title_id"], region=region)
        session = await api.start_session(new)
    if first:
        ordered = sorted(session.pathways, key=lambda one: one.appliance_id != first)
        session = session.model_copy(update={"pathways": tuple(ordered)})
    return await Walker(session, folder, began).play()

"""Appliances fill from each other."""

import shutil
from pathlib import Path

import pytest

from tests.running import make_clip, running_cluster
from tests.stories.test_fleet import answers, eventually, state, wait_for_roster


@pytest.mark.timeout(180)
def test_an_appliance_fills_from_its_peer(tmp_path: Path) -> None:
    """Two appliances; one loses its disk, and gets all back from the other, not from the store."""
    with running_cluster(tmp_path, appliances=2, sites=["north"]) as cluster:
        clip = make_clip(tmp_path / "clip.mp4", frames=96, size="320x180")
        cluster.nearcast("upload", str(clip), "--title", "Peer", "--wait")
        package_id = cluster.nearcast("title", "show", "Peer")["package_id"]
        everyone = cluster.urls["appliances"]
        for appliance in everyone.values():
            eventually(lambda a=appliance: package_id in state(a)["complete_packages"])  # type: ignore[misc]
        wait_for_roster(cluster, lambda entry: entry["packages_held"] == 1)
        with cluster.killed("north-2"):
            shutil.rmtree(cluster.data / "appliances" / "north-2" / "cache")
            shutil.rmtree(cluster.data / "store" / "titles")  # the store has nothing any more
        urls = everyone["north-2"]
        eventually(lambda: answers(urls) and package_id in state(urls)["complete_packages"])
        counters = state(urls)["report"]["counters"]
        assert counters["fill_bytes_peer"] > 100_000 and counters["fill_bytes_store"] == 0

"""A purge on a real cluster: ordered, obeyed by all, also by one that was killed in its midst;
and afterwards everything plays again."""

import os
import signal
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.running import Running, files_below, make_clip, running_cluster
from tests.stories.test_fleet import answers, eventually, state, status_of


@pytest.mark.timeout(180)
def test_a_purge_is_complete_when_nobody_holds_it_any_more(tmp_path: Path) -> None:
    with running_cluster(tmp_path, appliances=2) as cluster:
        everyone = cluster.urls["appliances"]
        clip = make_clip(tmp_path / "clip.mp4", frames=96, size="320x180")
        cluster.nearcast("upload", str(clip), "--title", "Purged", "--wait")
        title = cluster.nearcast("title", "show", "Purged")
        package_id = title["package_id"]
        for appliance in everyone.values():
            eventually(lambda a=appliance: package_id in state(a)["complete_packages"])  # type: ignore[misc]
        session = cluster.nearcast("play", "Purged", "--region", "north", "--player", "url")
        everything = files_of(cluster, "north-1", package_id)
        assert files_of(cluster, "south-1", package_id) == everything

        # A purge of what the plan wants: it leaves, and is brought anew.
        purged = cluster.nearcast("fleet", "purge", "Purged", "--wait")
        assert (purged["state"], purged["files"]) == ("complete", 2 * len(everything))
        for name in everyone:
            eventually(lambda n=name: files_of(cluster, n, package_id) == everything)  # type: ignore[misc]
            assert oldest_s(cluster, name, package_id) >= ordered_s(purged)

        # From here on the plan wants it no more: who plays it goes on playing.
        plans = {name: state(urls)["plan_version"] for name, urls in everyone.items()}
        cluster.nearcast("title", "unpublish", "Purged")
        for name, urls in everyone.items():
            eventually(lambda u=urls, v=plans[name]: state(u)["plan_version"] != v)  # type: ignore[misc]

        # A worker of south-1 hangs, so it cannot have let go, and the purge is not complete.
        workers = parts_of(cluster.pid_of("south-1"), "worker")
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        ordered = cluster.nearcast("fleet", "purge", title["title_id"])
        eventually(lambda: not any(files_of(cluster, name, package_id) for name in everyone))
        seen = eventually(lambda: purge_in(cluster, ordered, {"north-1": "complete"}))
        assert seen["state"] == "active"
        assert {one["appliance_id"]: one["awaited"] for one in seen["appliances"]} == {
            "north-1": False,
            "south-1": True,
        }
        # … nor is it while south-1 is dead; when it lives again it goes through with it.
        with cluster.killed("south-1"):
            assert cluster.nearcast("fleet", "purges", ordered["job_id"])["state"] == "active"
        eventually(lambda: answers(everyone["south-1"]))
        done = eventually(lambda: purge_in(cluster, ordered, dict.fromkeys(everyone, "complete")))
        assert (done["state"], done["awaited"]) == ("complete", 0)
        assert not any(files_of(cluster, name, package_id) for name in everyone)

        # The session that played before plays on, and what it asks for is filled anew.
        for pathway in session["pathways"]:
            for path in ("inventory.json", "hls/master.m3u8"):
                url = pathway["url"] + session["base_path"] + path
                eventually(lambda u=url: status_of(u) == 200)  # type: ignore[misc]
            held = files_of(cluster, pathway["appliance_id"], package_id)
            assert held == {"inventory.json", "hls/master.m3u8"}

        # By pattern: a part of it.
        pattern = f"titles/{title['title_id']}/*/*.m3u?"
        cluster.nearcast("fleet", "purge", "--pattern", pattern, "--wait")
        for name in everyone:
            assert files_of(cluster, name, package_id) == {"inventory.json"}
        listed = cluster.nearcast("fleet", "purges")["purges"]
        assert [job["state"] for job in listed] == ["complete"] * 3


def files_of(cluster: Running, name: str, package_id: str) -> set[str]:
    """What an appliance has on its disk of the package."""
    return set(found(cluster, name, package_id))


def oldest_s(cluster: Running, name: str, package_id: str) -> float:
    """When the first of these files landed, in Unix seconds."""
    return min(found(cluster, name, package_id).values())


def found(cluster: Running, name: str, package_id: str) -> dict[str, float]:
    """Files by path within the package, and when they landed; new ones stand in a place of their
    own until the disk has them, and may move while one looks."""
    cache = cluster.data / "appliances" / name / "cache"
    times: dict[str, float] = {}
    for folder in (*cache.glob(f".new/*/{package_id}"), cache / package_id):
        for path in files_below(folder):
            with suppress(FileNotFoundError):
                times[path.relative_to(folder).as_posix()] = path.stat().st_mtime
    return times


def ordered_s(purge: dict[str, Any]) -> float:
    return datetime.fromisoformat(purge["created_at"]).timestamp()


def purge_in(
    cluster: Running, purge: dict[str, Any], states: dict[str, str]
) -> dict[str, Any] | None:
    """The purge, once these appliances are so far with it."""
    seen = cluster.nearcast("fleet", "purges", purge["job_id"])
    so_far = {one["appliance_id"]: one["state"] for one in seen["appliances"]}
    return seen if states.items() <= so_far.items() else None


def parts_of(pid: int, part: str) -> list[int]:
    """The processes that an appliance has for this part of its work."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    argv = {int(child): Path(f"/proc/{child}/cmdline").read_text() for child in children}
    return [child for child, words in argv.items() if f"--part={part}" in words]

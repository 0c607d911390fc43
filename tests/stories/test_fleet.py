"""What happens to appliances: filling, deleting titles, dying, draining."""

import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tests.running import Running, files_below, make_clip

T = TypeVar("T")


def test_every_appliance_is_filled_before_anyone_asks(
    cluster: Running, film: dict[str, Any]
) -> None:
    for appliance in cluster.urls["appliances"].values():
        eventually(lambda a=appliance: film["package_id"] in state(a)["complete_packages"])  # type: ignore[misc]
    roster = cluster.nearcast("fleet", "list")["appliances"]
    assert len(roster) == 4 and all(entry["alive"] for entry in roster)


def test_a_deleted_title_is_gone_everywhere(
    cluster: Running, film: dict[str, Any], tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "short.mp4", frames=48, size="320x180")
    cluster.nearcast("upload", str(clip), "--title", "Gone", "--wait")
    package_id = cluster.nearcast("title", "show", "Gone")["package_id"]
    session = cluster.nearcast("play", "Gone", "--region", "north", "--player", "url")
    url = session["pathways"][0]["url"] + session["base_path"] + "inventory.json"
    assert status_of(url) == 200
    cluster.nearcast("title", "delete", "Gone")
    eventually(lambda: status_of(url) == 410)
    caches = cluster.data / "appliances"
    eventually(lambda: not list(caches.glob(f"*/cache/{package_id}")))
    eventually(lambda: not list(caches.glob(f"*/cache/.new/*/{package_id}")))
    eventually(
        lambda: not [p for p in files_below(cluster.data / "store") if package_id in p.parts]
    )
    assert cluster.nearcast("title", "show", "Gone", check=False)["code"] == "unknown_title"
    jobs = {job["package_id"]: job for job in cluster.nearcast("fleet", "purges")["purges"]}
    assert jobs[package_id]["forbidden_until"] is not None
    eventually(
        lambda: (
            cluster.nearcast("fleet", "purges", jobs[package_id]["job_id"])["state"] == "complete"
        )
    )


def test_a_drained_appliance_gets_no_new_session(cluster: Running, film: dict[str, Any]) -> None:
    cluster.nearcast("fleet", "drain", "south-1")
    try:
        ranking = cluster.nearcast("steer", "Twelve", "--region", "south")
        assert all(pathway["appliance_id"] != "south-1" for pathway in ranking["pathways"])
        assert {s["appliance_id"]: s["code"] for s in ranking["skipped"]}["south-1"] == "D"
    finally:
        cluster.nearcast("fleet", "restore", "south-1")
    eventually(
        lambda: (
            cluster.nearcast("steer", "Twelve", "--region", "south")["pathways"][0]["appliance_id"]
            == "south-1"
        )
    )


def test_a_dead_appliance_is_ranked_out_and_comes_back(
    cluster: Running, film: dict[str, Any]
) -> None:
    pid = cluster.pid_of("west-1")
    os.kill(pid, signal.SIGSTOP)
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for child in children:
        os.kill(int(child), signal.SIGSTOP)  # hung: it neither answers nor reports
    try:
        ranking = eventually(lambda: ranked_without(cluster, "west", "west-1"))
        assert {s["appliance_id"]: s["code"] for s in ranking["skipped"]}["west-1"] == "H"
    finally:
        for child in (str(pid), *children):
            os.kill(int(child), signal.SIGCONT)
    eventually(
        lambda: (
            cluster.nearcast("steer", "Twelve", "--region", "west")["pathways"][0]["appliance_id"]
            == "west-1"
        )
    )


def ranked_without(cluster: Running, region: str, appliance_id: str) -> dict[str, Any] | None:
    ranking = cluster.nearcast("steer", "Twelve", "--region", region)
    chosen = [pathway["appliance_id"] for pathway in ranking["pathways"]]
    return ranking if appliance_id not in chosen else None


def state(appliance: dict[str, str]) -> dict[str, Any]:
    """What an appliance says on its admin port."""
    with urllib.request.urlopen(f"{appliance['admin_url']}/v1/state", timeout=5) as answer:
        return dict(json.loads(answer.read()))


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def wait_for_roster(cluster: Running, fits: Callable[[dict[str, Any]], bool]) -> None:
    eventually(lambda: all(fits(e) for e in cluster.nearcast("fleet", "list")["appliances"]))


def answers(appliance: dict[str, str]) -> bool:
    """Whether the appliance's admin port answers (again)."""
    try:
        state(appliance)
    except OSError:
        return False
    return True


def eventually(look: Callable[[], T], within_s: float = 40.0) -> T:
    """The first answer that is true. Asked several times a second: nothing here rings a bell."""
    deadline = time.monotonic() + within_s
    while not (seen := look()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
    return seen

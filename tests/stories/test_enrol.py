"""A second machine joins a running cluster by one command, serves, and is forgotten."""

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.console import run_nearcast
from tests.running import Running
from tests.stories.test_fleet import eventually, state

HOST = "127.0.2.9"


def test_a_bare_machine_becomes_an_appliance_of_a_site(
    cluster: Running, film: dict[str, Any], tmp_path: Path
) -> None:
    invited = cluster.nearcast("fleet", "invite", "south", "--name", "south-9")
    folder = tmp_path / "machine"
    told = enrol(cluster, invited["token"], folder, "--systemd")
    assert told["exit_code"] == 0 and told["site"] == "south", told
    assert enrol(cluster, invited["token"], folder, "--systemd") == told  # as after a crash
    thief = enrol(cluster, invited["token"], tmp_path / "thief")
    assert (thief["exit_code"], thief["code"]) == (1, "invitation_used")
    sibling = cluster.urls["appliances"]["south-1"]
    eventually(lambda: film["package_id"] in state(sibling)["complete_packages"])
    with started(told["start"], tmp_path / "log") as urls:
        machine = {"admin_url": urls["admin"]}
        entry = eventually(lambda: in_roster(cluster, "south-9"))
        assert entry["report"]["site"] == "south" and entry["report"]["url"] == urls["data"]
        # With its first plan it knows its siblings; before, it asks the store. Its sibling knows
        # its key by the notices.
        eventually(lambda: state(machine)["plan_version"])
        eventually(lambda: notices_version(sibling) >= notices_version(machine))
        session = cluster.nearcast("play", "Twelve", "--region", "south", "--player", "url")
        for segment in segments_of(cluster, film):
            path = segment.relative_to(cluster.data / "store")
            package = Path("titles", film["title_id"], film["package_id"])
            asked = f"{urls['data']}{session['base_path']}{path.relative_to(package)}"
            with urllib.request.urlopen(asked, timeout=20) as answer:
                assert answer.read() == segment.read_bytes()
        # Its sibling gave it files.
        assert state(machine)["report"]["counters"]["fill_bytes_peer"] > 0
        eventually(lambda: [line for line in fills_given(cluster) if line["status"] == 200])
        cluster.nearcast("fleet", "forget", "south-9")
        eventually(lambda: in_roster(cluster, "south-9") is None)
        ranking = cluster.nearcast("steer", "Twelve", "--region", "south")
        assert "south-9" not in {pathway["appliance_id"] for pathway in ranking["pathways"]}
    assert enrol(cluster, invited["token"], folder)["code"] == "invitation_invalid"


def enrol(cluster: Running, token: str, folder: Path, *more: str) -> dict[str, Any]:
    """The one command, on a machine that has nothing but a folder and an address of its own."""
    done = run_nearcast(
        [
            "fleet", "enrol", cluster.urls["control_plane"], "--token", token,
            "--data", str(folder), "--listen", f"{HOST}:0", "--admin-listen", f"{HOST}:0",
            "--budget", "64M", *more, "--json",
        ]
    )  # fmt: skip
    return dict(json.loads(done.stdout), exit_code=done.returncode)


@contextmanager
def started(argv: list[str], log: Path) -> Iterator[dict[str, str]]:
    """The appliance runs by the command that was told; its addresses, as its log has them."""
    with log.open("wb") as out:
        process = subprocess.Popen(argv, stderr=out, start_new_session=True)
    try:
        yield eventually(lambda: addresses(log))
    finally:
        process.terminate()
        process.wait(20)


def addresses(log: Path) -> dict[str, str] | None:
    for line in log.read_text().splitlines():
        if '"event": "ready"' in line and '"data"' in line:
            return dict(json.loads(line))
    return None


def segments_of(cluster: Running, film: dict[str, Any]) -> list[Path]:
    """The segments of the film, in the store."""
    package = cluster.data / "store" / "titles" / film["title_id"] / film["package_id"]
    return sorted(package.glob("v-*/*.m4s"))


def notices_version(appliance: dict[str, str]) -> int:
    """The newest notices that it obeys."""
    return int(state(appliance)["report"]["notices_version"])


def fills_given(cluster: Running) -> list[dict[str, Any]]:
    """What south-1 has on record that it gave to other appliances."""
    return [line for line in cluster.access_log("south-1") if line["scope"] == "fill"]


def in_roster(cluster: Running, appliance_id: str) -> dict[str, Any] | None:
    for entry in cluster.nearcast("fleet", "list")["appliances"]:
        if entry["report"]["appliance_id"] == appliance_id and entry["alive"]:
            return dict(entry)
    return None

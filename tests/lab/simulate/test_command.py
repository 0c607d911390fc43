"""`nearcast simulate`, as its users see it."""

import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.simulate.run import play
from lab.simulate.variants import VARIANTS
from tests.appliance.conftest import children_of
from tests.console import run_nearcast
from tests.lab.simulate.tiny import tiny

TABLES = """
name = "small"
[clock]
warmup_days = 1
days = 9
part_s = 1800
[films]
titles = 120
minutes = [20, 100]
rung_mbps = [1, 4]
audio_mbps = [0.128]
launches_per_day = 2
[viewing]
sessions_per_day = 3000
rung_share = [0.3, 0.7]
audio_share = [1]
[net]
regions = 2
zones_h = [0, 1]
sites = 4
appliances = 2
disk_share = 0.2
[filling]
nightly_share = 0.1
"""


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    """The tiny world, in a file."""
    path = tmp_path / "small.toml"
    path.write_text(TABLES)
    return str(path)


def test_json_has_everything_and_a_picture_is_drawn(scenario: str, tmp_path: Path) -> None:
    plot = tmp_path / "small.svg"
    options = ["--days=2", "--variant=plan", "--variant=clairvoyant", "--seed=1", "--seed=2"]
    done = run_nearcast(["simulate", scenario, *options, f"--plot={plot}", "--json"])
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    assert said["scenario"]["clock"]["days"] == 2
    plan, clairvoyant = said["rows"]
    assert (plan["variant"], plan["seeds"], len(plan["runs"])) == ("plan", [1, 2], 2)
    expected = play(tiny(), 2, VARIANTS["plan"])
    run = plan["runs"][1]
    assert run["peak_hit"] == expected.peak_hit and run["hours"] == expected.hours
    assert len(run["hours"]["sent_store_bytes"]) == 3 * 24 and len(run["site_hits"]) == 4
    figures = plan["figures"]["peak_hit"]
    assert figures["min"] <= figures["median"] <= figures["max"]
    assert clairvoyant["figures"]["moves"] is None
    texts = [one.text for one in ET.parse(plot).iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("clairvoyant") == 7 and "the store" in texts


def test_people_get_a_table(scenario: str) -> None:
    done = run_nearcast(["simulate", scenario, "--days", "1"])
    assert done.returncode == 0, done.stderr
    assert all(f"\n{name} " in done.stdout for name in ("plan", "lru", "clairvoyant"))
    assert done.stderr == ""  # no bars where there is no terminal


def test_what_cannot_be_played(scenario: str, tmp_path: Path) -> None:
    for arguments, word in (
        (["nowhere"], "there are isp"),
        ([scenario, "--variant", "magic"], "magic"),
        ([scenario, "--plot", str(tmp_path / "no" / "a.svg")], "cannot be written"),
        (["planet", "--variant", "clairvoyant", "--days", "1"], "too many sites"),
        ([scenario, *(f"--seed={n}" for n in range(201))], "too many at once"),
    ):
        done = run_nearcast(["simulate", *arguments, "--json"])
        assert done.returncode == 1
        assert word in json.loads(done.stdout)["detail"]


@pytest.fixture
def sigint() -> Iterator[None]:
    """Children hear of Ctrl-C, though the shell that put us into the background has it ignored."""
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, earlier)


@pytest.mark.usefixtures("sigint")
def test_ctrl_c_ends_at_once_and_leaves_no_process(scenario: str) -> None:
    argv = [sys.executable, "-m", "nearcast", "simulate", scenario, "--days", "366"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, process_group=0) as command:
        children: list[int] = []
        while len(children) < 2:  # a run, and who looks after what it left
            children = children_of(command.pid)
        os.killpg(command.pid, signal.SIGINT)
        assert command.wait(10) == 130
    while any(map(lives, children)):  # the tracker of resources notices a moment later
        pass


def lives(pid: int) -> bool:
    """It is no zombie, either."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False

"""Scenarios are input: what is too much is refused in a sentence, before it takes any memory."""

import json
from pathlib import Path
from typing import Any

import pytest

from lab.simulate.run import play
from lab.simulate.scenario import FOLDER, Scenario, read
from lab.simulate.variants import VARIANTS
from runtime.errors import Problem
from tests.lab.simulate.tiny import tiny


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.toml")))
def test_those_that_are_there_can_be_read(name: str) -> None:
    assert read(name).name == name


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"films": {"titles": 1_000_000}, "clock": {"part_s": 4}}, "files of films"),
        ({"net": {"sites": 5000, "appliances": 100}}, "appliances are too many"),
        ({"net": {"sites": 1000, "regions": 1000}, "films": {"titles": 90_000}}, "in regions"),
        ({"net": {"sites": 5000}, "films": {"titles": 90_000}}, "titles at sites"),
        ({"viewing": {"sessions_per_day": 10**9}}, "viewers at once"),
        ({"films": {"minutes": (20, 1e9)}}, "minutes"),
        ({"films": {"minutes": (100, 20)}}, "shortest"),
        ({"films": {"rung_mbps": (float("inf"), 1)}}, "rung_mbps"),
        ({"clock": {"part_s": 7}}, "whole segments"),
        ({"clock": {"days": 10**9}}, "days"),
        ({"viewing": {"rung_share": (0.5, 0.6)}}, "1 together"),
        ({"viewing": {"zipf": float("nan")}}, "zipf"),
        ({"net": {"regions": 9}}, "each region has a site"),
        ({"net": {"zones_h": ()}}, "zones_h"),
        ({"outages": [{"site": 9, "from_hour": 0, "hours": 1}]}, "at no site"),
        ({"films": {"launches_per_day": 121}}, "more titles are launched"),
        ({"wrong": 1}, "wrong"),
    ],
)
def test_what_is_too_much_or_wrong(changes: dict[str, Any], word: str, tmp_path: Path) -> None:
    tables = json.loads(tiny().model_dump_json())
    for name, change in changes.items():
        tables[name] = {**tables[name], **change} if isinstance(change, dict) else change
    with pytest.raises(ValueError, match=word):
        Scenario.model_validate(tables)


@pytest.mark.parametrize(
    "changes",
    [
        {"films": {"titles": 1, "launches_per_day": 0}, "launches": [{"day": 0, "boost": 1000}]},
        {"films": {"titles": 3, "launches_per_day": 3}},
        {"clock": {"part_s": 86_400, "segment_s": 60}},
        {"viewing": {"sessions_per_day": 1}, "net": {"largest": 1e6, "headroom": 1e-9}},
        {"viewing": {"stays_first": 0, "night": 0, "zipf": 3}, "net": {"disk_share": 1e-9}},
        {"viewing": {"stays_first": 1, "stays": 1, "regional": 5, "drift": 5}},
        {"outages": [{"site": site, "from_hour": 0, "hours": 48} for site in range(4)]},
        {"net": {"disk_share": 2}, "filling": {"nightly_share": 0, "hour": 23.99}},
    ],
)
@pytest.mark.parametrize("variant", ["plan", "s3fifo", "clairvoyant"])
def test_odd_worlds_can_be_played(changes: dict[str, Any], variant: str) -> None:
    outcome = play(tiny(**changes), 1, VARIANTS[variant])
    assert -1e-9 < outcome.peak_hit <= outcome.peak_any_hit + 1e-9 <= 1 + 1e-8
    assert outcome.served_bytes >= 0


def test_a_file_that_is_none(tmp_path: Path) -> None:
    for text in (b"\xff", b"name = ", b'name = "a"', b"# " + b"x" * 2**20):
        path = tmp_path / "a.toml"
        path.write_bytes(text)
        with pytest.raises(Problem) as raised:
            read(str(path))
        assert raised.value.code == "invalid_field"
    with pytest.raises(Problem, match="there are isp"):
        read("nowhere")

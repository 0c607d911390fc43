"""`nearcast demo --once`: the whole path by one command, and the words it ends with."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.running import CONFIG, NEARCAST, make_clip, processes_of


@pytest.mark.timeout(180)
def test_once(tmp_path: Path) -> None:
    config = tmp_path / "test.toml"
    config.write_text(CONFIG)
    film = make_clip(tmp_path / "film.mp4", size="320x180")
    data = tmp_path / "data"
    done = subprocess.run(
        [
            *NEARCAST, "demo", "--once", "--json", f"--film={film}", f"--data={data}",
            f"--config={config}",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )  # fmt: skip
    result = json.loads(done.stdout)
    assert done.returncode == 0 and result["ok"] is True, done.stderr
    assert [region["region"] for region in result["regions"]] == ["north", "south", "west"]
    for region in result["regions"]:
        assert region["decode_errors"] == 0 and region["segments"] > 0 and region["bytes"] > 0
        assert list(region["served_by"]) == [region["pathways"][0]]
    assert result["published_s"] > 0 and result["first_segment_ms"] > 0
    assert result["failover_ms"] > 0 and result["killed"].startswith("north-")
    assert processes_of(data) == []


def test_a_missing_film_is_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [*NEARCAST, "demo", "--once", "--json", "--film", str(tmp_path / "none.mp4")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1 and "none.mp4" in json.loads(done.stdout)["detail"]

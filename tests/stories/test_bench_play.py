"""`nearcast bench play`: a small crowd, and nothing is left of it."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.console import run_nearcast
from tests.running import processes_of


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files go; by a short path, for sockets lie there, too."""
    with TemporaryDirectory(prefix="nc-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def test_a_small_crowd(place: Path) -> None:
    arguments = ["--players", "20", "--over", "2", "--film-s", "8", "--speed", "2", "--json"]
    done = run_nearcast(["bench", "play", *arguments])
    said = json.loads(done.stdout)
    assert "rows" in said, said
    rows = {row["case"]: row for row in said["rows"]}
    told = {name: row["ours"] for name, row in rows.items()}
    # How long anybody waited depends on what else the machine does: `make accept` looks at it.
    assert told["players"] == 20 and told["failed"] == told["wrong-bytes"] == 0
    assert told["store-bytes"] == 0 and told["bitrate"] > 0
    assert rows["errors"]["notes"]["requests"] > 20 * 8
    assert sum(rows["bitrate"]["notes"]["seconds_by_kbps"].values()) == pytest.approx(160, abs=4)
    assert set(rows["site-spread"]["notes"]["bytes_by_site"]) == {"north", "south", "west"}
    assert processes_of(place) == [] and not list(place.glob("nearcast-*"))

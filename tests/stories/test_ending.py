"""Ctrl-C and SIGTERM in the middle of work."""

import signal
from pathlib import Path

import pytest

from tests.running import make_clip, processes_of, running_cluster
from tests.stories.test_bad_input import stored
from tests.stories.test_fleet import eventually


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whose encode takes seconds."""
    return make_clip(tmp_path_factory.mktemp("ending") / "clip.mp4", frames=480)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ending_up_leaves_nothing(tmp_path: Path, clip: Path, number: signal.Signals) -> None:
    """In the middle of an encode: no process, no half-written object, and a start that goes on."""
    with running_cluster(tmp_path, appliances=1) as cluster:
        cluster.nearcast("upload", str(clip), "--title", "Unfinished")
        eventually(lambda: any("ffmpeg" in argv for argv in processes_of(cluster.data)))
        cluster.process.send_signal(number)
        assert cluster.process.wait(30) == 0
        assert processes_of(cluster.data) == []
        assert stored(cluster, "titles") == [] and stored(cluster, ".uploads") == []
        assert not (cluster.data / "run.json").exists()
        temporary = [p for p in cluster.data.rglob("*") if p.suffix in (".tmp", ".part")]
        assert temporary == []

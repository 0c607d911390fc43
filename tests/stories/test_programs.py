"""Players that are programs: mpv and GStreamer play a session to its end, by HLS and by DASH."""

import subprocess
from typing import Any

import pytest

from tests.lab.programs import need_programs
from tests.running import Running
from tests.stories.test_browser import served
from tests.stories.test_fleet import eventually

# Each as fast as it can, without a screen.
PROGRAMS = {
    "mpv": ["mpv", "--no-config", "--vo=null", "--ao=null", "--ao-null-untimed", "--untimed"],
    "gst-launch-1.0": [
        # Not playbin: on a busy machine it waits for ever after the last segment.
        "gst-launch-1.0", "-q", "playbin3", "video-sink=fakesink sync=false",
        "audio-sink=fakesink sync=false",
    ],
}  # fmt: skip
PACKAGES = {
    "mpv": "mpv",
    "gst-launch-1.0": "gstreamer1.0-tools gstreamer1.0-libav"
    " gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad",
}
CEILING_S = 60


@pytest.mark.parametrize("protocol", ["hls", "dash"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_session_plays_to_its_end(
    cluster: Running, film: dict[str, Any], program: str, protocol: str
) -> None:
    need_programs(program, packages=PACKAGES[program])
    session = cluster.nearcast("play", "Twelve", "--region", "south", "--player", "url")
    # They know nothing of pathways: of several they take any.
    url = f"{session[f'{protocol}_url']}?pathways=1"
    argv = [*PROGRAMS[program], f"uri={url}" if program.startswith("gst") else url]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=CEILING_S, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "rror" not in said, said

    def all_of_it() -> bool:
        """Picture and sound to the last segment, all from the appliance that was named first."""
        lines = served(cluster, session["session_id"])
        assert {line["appliance_id"] for line in lines} <= {"south-1"}
        paths = {line["path"].rpartition("/")[2] for line in lines}
        kinds = {line["path"].split("/")[-2][0] for line in lines}
        return kinds == {"v", "a"} and paths >= {"1.m4s", "2.m4s"}

    eventually(all_of_it)

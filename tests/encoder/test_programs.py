"""The encoder as it is started by people and by its parent."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.encoder_films import make_film

COMMAND = [sys.executable, "-c", "from encoder.cli import app; app(prog_name='nearcast')"]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_film(tmp_path_factory.mktemp("cli") / "film, one.mp4", seconds=1)


def nearcast(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [*COMMAND, *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=50, check=False)


def test_encode_then_check(film: Path, tmp_path: Path) -> None:
    ladder = tmp_path / "ladder.toml"
    ladder.write_text("[[rungs]]\nheight = 64\nmax_bps = 100000\n")
    out = tmp_path / "package"
    out.mkdir()  # an empty folder is taken too
    done = nearcast("encode", film, "--out", out, "--ladder", ladder, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [r["rendition_id"] for r in told["renditions"]] == ["v-avc-64", "a-aac-und"]
    assert (out / "inventory.json").is_file()
    checked = nearcast("check", out)
    assert checked.returncode == 0, checked.stdout
    again = nearcast("encode", film, "--out", out)
    assert again.returncode == 1
    assert "not empty" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["absent.mp4", "--out", "out"], "bad_request"),
        (["notes.txt", "--out", "out"], "not_a_video"),
        (["notes.txt", "--out", "absent/out"], "bad_request"),
        (["notes.txt", "--out", "notes.txt"], "bad_request"),
        (["notes.txt", "--out", "out", "--ladder", "absent.toml"], "bad_settings"),
    ],
)
def test_errors_are_one_document(arguments: list[str], code: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no film")
    places = [a if a.startswith("--") else str(tmp_path / a) for a in arguments]
    done = nearcast("encode", *places, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["code"] == code
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_the_service_says_ready_without_a_control_plane_and_stops(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    argv = [sys.executable, "-m", "encoder", "--data", str(tmp_path), "--ready-fd", str(writer)]
    argv += ["--set", "control_plane_url=http://127.0.0.1:9", "--instance", "enc-2"]
    process = subprocess.Popen(argv, pass_fds=[writer], stderr=subprocess.PIPE)
    os.close(writer)
    try:
        with os.fdopen(reader) as ready:
            line = json.loads(ready.readline())
        assert (line["service"], line["instance"]) == ("encoder", "enc-2")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=8) == 0
    finally:
        process.kill()
        process.communicate()
    assert (tmp_path / "secrets/enc-2.key").stat().st_mode & 0o77 == 0

"""The doctor sees what is missing and says how to get it."""

import json
import subprocess
import sys

import pytest

from nearcast import doctor


def test_it_finds_what_the_packages_bring() -> None:
    findings = {finding.name: finding for finding in doctor.examine()}
    for name in ("Python ≥ 3.11", "ffmpeg", "Shaka Packager"):
        assert findings[name].ok


def test_what_is_missing_has_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    missing = [finding for finding in doctor.examine() if not finding.ok]
    assert {"chromium", "redis-server", "ffplay"} <= {finding.name for finding in missing}
    assert all(finding.remedy for finding in missing if finding.name != "cores")


def test_json() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nearcast", "doctor", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    said = json.loads(done.stdout)
    assert done.returncode == (0 if said["ok"] else 1)
    assert {"name", "ok", "seen", "needed", "remedy"} == set(said["findings"][0])

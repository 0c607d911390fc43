"""What the repository promises about itself."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_the_compose_file_is_valid() -> None:
    done = subprocess.run(
        [
            sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec",
            str(ROOT / "docker-compose.yml"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("lock", ["requirements/runtime.txt", "requirements/test.txt"])
def test_python_locks_pin_by_hash_and_name_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text and "--index" not in text
    pinned = re.findall(r"^[a-z0-9-]+(?:\[[a-z0-9,-]+\])?==", text, re.MULTILINE)
    assert len(pinned) > 20
    assert len(re.findall(r"^    --hash=sha256:", text, re.MULTILINE)) >= len(pinned)


def test_the_lock_of_the_pages_names_no_address() -> None:
    lock = json.loads((ROOT / "web" / "package-lock.json").read_text())
    assert [name for name, entry in lock["packages"].items() if "resolved" in entry] == []


def test_every_runtime_dependency_is_explained() -> None:
    listed = (ROOT / "requirements" / "runtime.in").read_text().split()
    explained = (ROOT / "docs" / "dependencies.md").read_text()
    assert [name for name in listed if name.partition("[")[0] not in explained] == []

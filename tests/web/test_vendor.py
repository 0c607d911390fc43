"""The program that fetches the players' scripts."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

WEB = Path(__file__).resolve().parents[2] / "web"


def load() -> ModuleType:
    """web/vendor.py, which is a program and no package."""
    spec = importlib.util.spec_from_file_location("vendor", WEB / "vendor.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["vendor"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_lock_names_no_address_and_pins_what_package_json_asks() -> None:
    lock = (WEB / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert "://" not in lock
    asked = json.loads((WEB / "package.json").read_text())["dependencies"]
    for name, found in load().locked(WEB / "package-lock.json").items():
        assert found.startswith(f"{asked[name]} sha512-")


def test_what_is_current_is_left_alone() -> None:
    done = subprocess.run(
        [sys.executable, str(WEB / "vendor.py")], env={"PATH": ""}, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_other_version_is_not_current() -> None:
    vendor = load()
    wanted = vendor.locked(WEB / "package-lock.json")
    assert vendor.is_current(wanted)
    assert not vendor.is_current({**wanted, "hls.js": "1.0.0 sha512-x"})

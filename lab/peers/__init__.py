"""The peers that we are measured against, as processes of the bench."""

import re
import subprocess

from runtime.errors import Problem
from runtime.programs import installed

# Program, Debian's package, how it tells its version.
_PROGRAMS = (
    ("nginx", "nginx-light", "-v"),
    ("varnishd", "varnish", "-V"),
    ("wrk", "wrk", "-v"),
)


def require(against: str) -> None:
    """Everything is here that a bench against this peer runs. Raises Problem `missing_program`,
    with the command that brings it, before anything has been started."""
    for name, package, _ in _PROGRAMS:
        if name != "varnishd" or against == "varnish":
            installed(name, package)


def versions() -> dict[str, str]:
    """Versions of the programs that are here, by name."""
    found = {}
    for name, package, flag in _PROGRAMS:
        try:
            program = installed(name, package)
        except Problem:
            continue
        done = subprocess.run([program, flag], capture_output=True, text=True, check=False)
        version = re.search(r"\d+\.\d+(\.\d+)?", done.stderr + done.stdout)
        found[name] = version.group() if version else "?"
    return found

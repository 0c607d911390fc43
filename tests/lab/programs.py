"""Programs that a test of the lab runs."""

import os

import pytest

from runtime.errors import Problem
from runtime.programs import installed


def need_programs(*names: str, packages: str = "") -> None:
    """Skips the test where one is missing; in continuous integration (CI=true) that is a
    failure. `packages` bring them, if those are called otherwise."""
    for name in names:
        try:
            installed(name, packages or name)
        except Problem as problem:
            if os.environ.get("CI") == "true":
                pytest.fail(problem.detail)
            pytest.skip(problem.detail)

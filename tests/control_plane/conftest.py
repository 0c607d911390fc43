"""A fresh control plane for each test that asks for one."""

import sys
from pathlib import Path

import pytest
import structlog

from tests.control_plane.house import open_house


@pytest.fixture(autouse=True)
def log_apart():
    """The service's log never gets among what a command prints beside it."""
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=sys.__stderr__))
    yield
    structlog.reset_defaults()


@pytest.fixture
async def house(tmp_path: Path):
    async with open_house(tmp_path, "encoder-2", "oslo-1") as opened:
        yield opened

"""Fixtures of the steering tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.steering_service import ControlPlane, Fleet, running


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    made = ControlPlane(tmp_path)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def fleet(tmp_path: Path, control: ControlPlane) -> AsyncIterator[Fleet]:
    async with running(tmp_path, control) as started:
        yield started

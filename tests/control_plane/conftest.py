"""A fresh control plane for each test that asks for one."""

from pathlib import Path

import pytest

from tests.control_plane.house import open_house


@pytest.fixture
async def house(tmp_path: Path):
    async with open_house(tmp_path, "encoder-2", "oslo-1") as opened:
        yield opened

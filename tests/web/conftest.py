"""A real Chromium, and the stand-in that the pages talk to, as it was at the beginning."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser as Chromium

from control_plane.players import player_settings
from tests.browser import Browser, launch_chromium, open_browser
from tests.web.standin import TITLE_ID, Standin, make_package, run_standin

# hls.js as every session of two pathways gets it.
HLSJS = player_settings("ses_1", TITLE_ID, 2)["hlsjs"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Chromium]:
    async with launch_chromium() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def browser(chromium: Chromium) -> AsyncIterator[Browser]:
    async with open_browser(chromium) as opened:
        yield opened
        assert opened.complaints == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Standin]:
    package = tmp_path_factory.mktemp("package")
    make_package(package)
    async with run_standin(package, HLSJS) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def standin(running: Standin) -> Standin:
    await running.renew()
    return running

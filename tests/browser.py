"""A real Chromium for tests, driven by playwright. It starts once for a file of tests:

@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Chromium]:
    async with launch_chromium() as running:
        yield running

async def test_moves(chromium: Chromium) -> None:
    async with open_browser(chromium) as browser:
        page = await browser.open(url)
        await until(page, "nearcast.stats().position_s > 2")
"""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import BrowserContext, ConsoleMessage, Page, async_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)
POLL_S = 0.05


def find_chromium() -> str:
    """The program. Skips the test where there is none, but fails it on CI."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is not None:
        return found
    if os.environ.get("CI") == "true":
        pytest.fail("There is no Chromium on PATH: apt-get install chromium")
    pytest.skip("there is no Chromium on PATH (apt-get install chromium)")


@dataclass
class Browser:
    """An open browser. `complaints` are uncaught errors of its pages, and what their content
    security policy refused; failed requests are not among them."""

    context: BrowserContext
    complaints: list[str] = field(default_factory=list)

    async def open(self, url: str) -> Page:
        """A new tab at the address."""
        page = await self.context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._listen)
        await page.goto(url)
        return page

    def _listen(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            self.complaints.append(message.text)


@asynccontextmanager
async def launch_chromium() -> AsyncIterator[Chromium]:
    """A running Chromium; it has ended when the block ends."""
    program = find_chromium()
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=program, headless=True, args=list(FLAGS)
        )
        try:
            yield chromium
        finally:
            await chromium.close()


@asynccontextmanager
async def open_browser(
    chromium: Chromium, *, width: int = 1280, height: int = 800
) -> AsyncIterator[Browser]:
    """A fresh profile, with a cache, storage and connections of its own."""
    context = await chromium.new_context(viewport={"width": width, "height": height})
    context.set_default_timeout(15_000)
    try:
        yield Browser(context)
    finally:
        await context.close()


async def until(page: Page, expression: str, timeout_s: float = 20.0) -> Any:
    """The expression's value, once it is truthy in the page. playwright's own wait_for_function
    needs `unsafe-eval`, which our pages refuse."""
    deadline = time.monotonic() + timeout_s
    while not (value := await page.evaluate(expression)):
        if time.monotonic() > deadline:
            events = await page.evaluate("globalThis.nearcast?.events.slice(-20)")
            raise TimeoutError(f"{expression} did not come true in {timeout_s} s: {events}")
        await asyncio.sleep(POLL_S)
    return value

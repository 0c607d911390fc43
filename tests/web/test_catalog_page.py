"""The first page in a real Chromium: pictures, home rows, search."""

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser import Browser, until
from tests.web.standin import TITLE_ID, Standin

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

SHIFTS = """() => new Promise((resolve) => {
  new PerformanceObserver((list) => {
    resolve(list.getEntries().reduce((sum, entry) => sum + entry.value, 0));
  }).observe({ type: "layout-shift", buffered: true });
  setTimeout(resolve, 500, 0);
})"""


async def catalog(browser: Browser, standin: Standin) -> Page:
    """The page with its titles."""
    page = await browser.open(f"{standin.url}/#token=t")
    await expect(section(page, "Catalog").get_by_role("link", name="Test picture")).to_be_visible()
    return page


def section(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


async def test_cards_show_pictures_and_tiles_where_there_are_none(
    standin: Standin, browser: Browser
) -> None:
    page = await catalog(browser, standin)
    picture = page.locator(f"[data-title={TITLE_ID}] img")
    await until(page, "document.querySelector('.pictured img')?.naturalWidth === 320")
    attributes = {"alt": "", "loading": "lazy", "width": "640", "height": "360"}
    for name, value in attributes.items():
        await expect(picture).to_have_attribute(name, value)
    # One has none, and that of another cannot be had: both have their tile.
    await expect(page.locator(".poster")).to_have_count(3)
    await expect(page.locator(".poster img")).to_have_count(1)
    heights = await page.evaluate(
        "[...document.querySelectorAll('#titles .poster')].map((one) => one.offsetHeight)"
    )
    assert len(set(heights)) == 1 and heights[0] > 100
    assert await page.evaluate(SHIFTS) < 0.01


async def test_home_rows_are_shown_when_they_have_something(
    standin: Standin, browser: Browser
) -> None:
    page = await catalog(browser, standin)
    for row in ("Continue watching", "Popular"):
        assert await section(page, row).count() == 0

    standin.watched_s = 6.0  # of eight
    page = await catalog(browser, standin)
    going_on = section(page, "Continue watching").get_by_role("list").get_by_role("link")
    await expect(going_on).to_have_count(1)
    await expect(going_on).to_contain_text("less than a minute left")
    width = "getComputedStyle(document.querySelector('.progress'), '::after').width"
    whole = "document.querySelector('.progress').offsetWidth"
    assert await page.evaluate(f"parseFloat({width}) / {whole}") == pytest.approx(0.75, abs=0.01)
    names = section(page, "Popular").get_by_role("listitem").locator(".card-name")
    await expect(names).to_have_text(["Test picture", "Other"])  # degraded or not
    assert await page.evaluate(SHIFTS) < 0.01  # the catalog does not come before them

    standin.resume_s = 6.0
    await going_on.click()
    await until(page, "globalThis.nearcast?.stats().position_s > 6")


async def test_without_home_rows_there_is_the_catalog(standin: Standin, browser: Browser) -> None:
    standin.watched_s, standin.home_away = 6.0, True
    page = await catalog(browser, standin)
    await expect(page.get_by_role("alert")).to_be_hidden()
    assert await section(page, "Popular").count() == 0


async def test_a_search_leaves_what_it_finds(standin: Standin, browser: Browser) -> None:
    standin.watched_s = 6.0
    page = await catalog(browser, standin)
    await page.get_by_role("searchbox", name="Search the catalog").fill("no film")
    await expect(page.locator("#titles > li")).to_have_count(1)
    await expect(page.locator("#found")).to_have_text("1 found")
    assert await section(page, "Popular").count() == 0
    await page.get_by_role("searchbox").fill("nothing at all")
    await expect(page.locator("#found")).to_have_text("No title fits.")
    await expect(page.locator("#empty")).to_be_hidden()
    await page.get_by_role("searchbox").fill("")
    await expect(section(page, "Popular")).to_be_visible()
    await expect(page.locator("#titles > li")).to_have_count(3)


async def test_rows_are_gone_through_by_keyboard_and_fit_a_phone(
    standin: Standin, browser: Browser
) -> None:
    standin.watched_s = 6.0
    page = await browser.open(f"{standin.url}/#token=t")
    await page.set_viewport_size({"width": 360, "height": 640})
    links = section(page, "Popular").get_by_role("link")
    await links.first.focus()
    assert await page.evaluate("document.querySelector('#popular').scrollLeft") == 0
    await page.keyboard.press("Tab")
    await expect(links.last).to_be_focused()
    await until(page, "document.querySelector('#popular').scrollLeft > 0")
    # Only the rows are wider than the page.
    assert await page.evaluate("document.documentElement.scrollWidth") == 360

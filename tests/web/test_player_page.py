"""The pages in a real Chromium, against the stand-in: real segments, real processes to kill."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser import Browser, until
from tests.web.standin import (
    FILM_S,
    NAME,
    NO_FILM,
    PASSWORD,
    TITLE_ID,
    Standin,
)

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

MAX_STALL_S = 0.5


async def play(browser: Browser, standin: Standin, query: str = "") -> Page:
    """The player page, signed in by its address, with a small buffer and the film moving."""
    page = await browser.open(
        f"{standin.url}/player.html?title={TITLE_ID}&autoplay=1&muted=1&maxBufferLength=4{query}"
        "#token=t"
    )
    await until(page, "nearcast.stats().position_s > 0.3")
    return page


async def ended(page: Page, rate: float = 1.0) -> dict[str, Any]:
    """Plays to the end, at `rate` times the speed; the stats there."""
    await page.evaluate("(rate) => { document.getElementById('video').playbackRate = rate }", rate)
    await until(page, "nearcast.events.some((event) => event.type === 'ended')")
    stats: dict[str, Any] = await page.evaluate("nearcast.stats()")
    assert stats["position_s"] == pytest.approx(FILM_S, abs=0.1)
    return stats


async def events(page: Page, kind: str) -> list[dict[str, Any]]:
    """The page's events of a type."""
    found: list[dict[str, Any]] = await page.evaluate(
        "(type) => nearcast.events.filter((event) => event.type === type)", kind
    )
    return found


async def test_signs_in_finds_the_film_and_plays_it_to_the_end(
    standin: Standin, browser: Browser
) -> None:
    page = await browser.open(f"{standin.url}/player.html?title={TITLE_ID}&muted=1&autoplay=1")
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await page.get_by_label("Name").fill(NAME)
    await page.get_by_label("Password").fill("wrong")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_contain_text("password is wrong")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url("**/player.html?**")  # it comes back to where it was asked
    await page.get_by_role("link", name="Nearcast").click()

    assert await page.get_by_role("link", name="Not yet encoded").count() == 0
    waiting, refused = (page.locator(f"[data-title={title}]") for title in ("ttl_2", "ttl_3"))
    await expect(waiting).to_contain_text("Not encoded yet")
    await expect(refused).to_contain_text("Encode refused")
    await expect(refused).to_contain_text(NO_FILM)
    card = page.get_by_role("link", name="Test picture")
    await expect(card).to_contain_text("0:08 · 360p")
    await card.click()

    await until(page, "globalThis.nearcast?.stats().appliance_id === 'north-1'")
    await expect(page.locator("#stat-appliance")).to_have_text("north-1")
    await expect(page.locator("#stat-place")).to_have_text("north")
    await expect(page.locator("#stat-quality")).to_have_text(re.compile(r"\d+p · \d+ kb/s"))
    serving = page.locator("#pathways > li[aria-current]")
    await expect(serving).to_contain_text("same region")
    stats = await ended(page, rate=4)
    assert (stats["failovers"], stats["height"]) == (0, 360)


async def test_killed_appliance_costs_no_stall(standin: Standin, browser: Browser) -> None:
    page = await play(browser, standin)
    await standin.appliances["north-1"].kill()
    stats = await ended(page, rate=3)
    assert (stats["appliance_id"], stats["failovers"]) == ("south-1", 1)
    assert stats["longest_stall_s"] < MAX_STALL_S, await page.evaluate("nearcast.events")
    await expect(page.locator("#stat-appliance")).to_have_text("south-1")
    await expect(page.locator("[data-appliance=north-1] .badge")).to_have_text("Failed")
    moved = (await events(page, "pathway"))[-1]
    assert (moved["from"], moved["why"]) == ("north-1", "failure")
    assert len(standin.opened) == 1


async def test_body_that_stops_half_way_moves_on_before_the_buffer_is_empty(
    standin: Standin, browser: Browser
) -> None:
    page = await play(browser, standin)
    standin.hang("north-1")
    # The buffer had sunk below 2 s when it was given up, and fills again.
    await until(page, "nearcast.stats().failovers > 0 && nearcast.stats().buffer_s > 3")
    stats = await page.evaluate("nearcast.stats()")
    assert (stats["appliance_id"], stats["failovers"]) == ("south-1", 1)
    assert stats["longest_stall_s"] < MAX_STALL_S, await page.evaluate("nearcast.events")


async def test_another_region_goes_on_at_the_same_position(
    standin: Standin, browser: Browser
) -> None:
    """And at the quality that the throughput has been found to allow."""
    page = await play(browser, standin, "&region=south")
    assert "token" not in page.url
    await expect(page.locator("#stat-appliance")).to_have_text("south-1")
    assert (await page.evaluate("nearcast.stats().throughput_bps")) > 0
    # A machine that has much to do measures little: what has been found is said here.
    await page.evaluate("nearcast.hls.stopLoad(); nearcast.hls.bandwidthEstimate = 5e6")
    before = await page.evaluate("nearcast.stats().position_s")
    await page.get_by_label("Watch from").select_option("north")
    await until(page, "nearcast.stats().appliance_id === 'north-1'")
    await until(page, f"nearcast.stats().position_s > {before}")
    assert (await page.evaluate("nearcast.stats().position_s")) < before + 3
    assert "region=north" in page.url
    first, second = standin.opened
    assert first in standin.ended and second not in standin.ended
    assert (await page.evaluate("nearcast.stats()"))["failovers"] == 0
    video = [event for event in await events(page, "frag") if event["kind"] == "main"]
    north = [event["level"] for event in video if event["appliance_id"] == "north-1"]
    # The first of each session: later ones follow what is measured from then on.
    assert (video[0]["level"], north[0]) == (0, 1)


async def test_expired_token_gets_a_new_session(standin: Standin, browser: Browser) -> None:
    page = await play(browser, standin)
    standin.expire_tokens()
    await until(page, "nearcast.events.filter((event) => event.type === 'playing').length === 2")
    opened, renewed = await events(page, "session")
    assert (opened["why"], renewed["why"]) == ("opened", "token_expired")
    assert [opened["session_id"], renewed["session_id"]] == standin.opened
    started, resumed = await events(page, "playing")
    assert resumed["position_s"] > started["position_s"] + 0.2
    await until(page, f"nearcast.stats().position_s > {resumed['position_s'] + 0.2}")
    assert (await page.evaluate("nearcast.stats()"))["longest_stall_s"] < 1.0


async def test_it_goes_on_where_it_was_left_and_says_where_it_is(
    standin: Standin, browser: Browser
) -> None:
    standin.resume_s, standin.heartbeat_s = 3.0, 0.25
    page = await play(browser, standin)
    assert (await page.evaluate("nearcast.stats()"))["position_s"] >= 3.0
    said: list[float] = []
    while len(said) < 3:
        await page.wait_for_timeout(50)
        said = [b["position_s"] for b in standin.beats if b["position_s"] is not None]
    assert 3.0 <= said[0] <= said[-1]  # never that it stands at 0, before it moves
    assert standin.beats[-1]["rebuffers"] == 0 and standin.beats[-1]["bitrate_bps"] > 0
    page = await play(browser, standin, "&start=0")
    assert (await page.evaluate("nearcast.stats()"))["position_s"] < 3.0


async def test_it_says_where_it_was_left(standin: Standin, browser: Browser) -> None:
    """When it is paused, hidden, or closed, and at the end: the timer is far too slow for that."""
    page = await play(browser, standin)
    assert standin.beats == []
    await page.evaluate("document.getElementById('video').pause()")
    paused = await page.evaluate("nearcast.stats().position_s")
    await said(standin, lambda beat: beat["position_s"] == pytest.approx(paused, abs=0.05))
    await page.evaluate("document.getElementById('video').play()")
    await until(page, f"nearcast.stats().position_s > {paused + 0.5}")
    before = await page.evaluate("nearcast.stats().position_s")
    await page.evaluate(
        "Object.defineProperty(document, 'hidden', { value: true });"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    await said(standin, lambda beat: beat["position_s"] >= before)
    await page.goto("about:blank")
    while not standin.left_at:
        await asyncio.sleep(0.05)
    (at,) = standin.left_at
    assert at is not None and before <= at < FILM_S

    page = await play(browser, standin)
    await ended(page, rate=4)
    await said(standin, lambda beat: beat["position_s"] == pytest.approx(FILM_S, abs=0.1))
    # Closed before it has moved: nothing is known, and nothing is said.
    page = await browser.open(f"{standin.url}/player.html?title={TITLE_ID}#token=t")
    await until(page, "nearcast.session")
    await page.close()
    while len(standin.left_at) < 2:
        await asyncio.sleep(0.05)
    assert standin.left_at[1] is None


async def said(standin: Standin, wanted: Callable[[dict[str, Any]], bool]) -> None:
    """One of the heartbeats is so."""
    async with asyncio.timeout(10):
        while not any(wanted(b) for b in standin.beats if b["position_s"] is not None):
            await asyncio.sleep(0.05)


async def test_one_stream_too_many_stops(standin: Standin, browser: Browser) -> None:
    standin.heartbeat_s, standin.too_many = 0.25, True
    page = await browser.open(
        f"{standin.url}/player.html?title={TITLE_ID}&autoplay=1&muted=1#token=t"
    )
    await expect(page.get_by_role("alert")).to_contain_text("plays elsewhere")
    assert await page.evaluate("document.getElementById('video').paused")
    assert len(standin.opened) == 1


async def test_access_tokens_are_replaced_before_they_end(
    standin: Standin, browser: Browser
) -> None:
    standin.life_s = 10.0  # which is less than the page wants to have left
    page = await browser.open(standin.url)
    await page.get_by_label("Name").fill(NAME)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("link", name="Test picture")).to_be_visible()
    assert standin.refreshed == ["refresh-0"]
    standin.life_s = 3600.0
    await page.get_by_role("link", name="Test picture").click()
    await until(page, "globalThis.nearcast?.stats().position_s > 0.3")
    assert standin.refreshed == ["refresh-0", "refresh-1"]  # once, for all calls of the page
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert standin.signed_out == 1


async def test_nothing_delivers(standin: Standin, browser: Browser) -> None:
    for appliance in standin.appliances.values():
        await appliance.kill()
    await browser.context.clock.install()  # its pauses grow: here the next second comes at once
    page = await browser.open(f"{standin.url}/player.html?title={TITLE_ID}#token=t")
    alert = page.get_by_role("alert")
    while not await alert.is_visible():
        await page.clock.run_for(1000)
    await expect(alert).to_contain_text("No appliance delivers this film")
    await expect(alert.get_by_role("button", name="Try again")).to_be_visible()
    assert len(standin.opened) == 5  # one, and four more: no loop


@pytest.mark.parametrize(
    ("title_id", "sentence"),
    [(f"{TITLE_ID[:-1]}0", "no such title"), ("film", "names no title"), ("", "names no title")],
)
async def test_no_such_title_leads_to_the_catalog(
    standin: Standin, browser: Browser, title_id: str, sentence: str
) -> None:
    page = await browser.open(f"{standin.url}/player.html?title={title_id}#token=t")
    await expect(page.get_by_role("alert")).to_contain_text(sentence)
    await expect(page.locator("video")).to_be_hidden()
    await page.get_by_role("link", name="To the catalog").click()
    await expect(page.get_by_role("link", name="Test picture")).to_be_visible()


METER = """async () => {
  const { StallMeter } = await import("/stalls.js");
  const meter = new StallMeter();
  const film = [ // ms, position, idle
    [0, 0, true], [100, 0, false], [600, 0, false],     // starting: not a stall
    [700, 0.1, false], [800, 0.2, false],
    [1000, 0.2, false], [1100, 0.2, false], [1300, 0.3, false], // frozen from 800 to 1300
    [1400, 0.3, true], [9000, 5, true],                 // paused, and moved by hand
    [9100, 5, false], [9900, 5.1, false], [10000, 5.1, false],
  ];
  for (const [now, position, idle] of film) meter.look(now, position, idle);
  meter.waiting(10050);
  return { stalls: meter.stalls, now: meter.summary(10250) };
}"""


async def test_stall_meter_counts_what_a_viewer_sees(standin: Standin, browser: Browser) -> None:
    page = await browser.open(standin.url)
    seen = await page.evaluate(METER)
    assert seen["stalls"] == [{"t_ms": 800, "seconds": 0.5}]
    assert seen["now"] == {"stalls": 2, "stalled_s": 0.7, "longest_stall_s": 0.5}

"""The pages in a real Chromium over a running cluster. There are two witnesses of every play: what
the page noted (`window.nearcast`), and what the appliances wrote down that served it."""

import json
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from playwright.async_api import Browser as Chromium
from playwright.async_api import Page, expect

from tests.browser import Browser, launch_chromium, open_browser, until
from tests.encoder_films import ffmpeg
from tests.running import RATE, Running, make_clip
from tests.stories.test_fleet import eventually

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

BUFFER_S = 6
KILL_AT_S = 5
LEAST_BUFFERED_S = 4  # at the kill, for what is promised to be possible
MAX_STALL_S = 0.5
FILM_S = 20
ENDED = "globalThis.nearcast?.events.some((event) => event.type === 'ended')"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Chromium]:
    async with launch_chromium() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def browser(chromium: Chromium) -> AsyncIterator[Browser]:
    async with open_browser(chromium) as opened:
        yield opened
        assert opened.complaints == []


@pytest.fixture(scope="module")
def long_film(
    cluster: Running, clips: Path | None, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """One that plays for a while after the kill: of a real clip, if NEARCAST_CLIPS says where."""
    film = tmp_path_factory.mktemp("long") / "film.webm"
    clip = clips / "bbb_720p_30s.webm" if clips else None
    if clip is not None and clip.exists():
        ffmpeg("-i", clip, "-t", str(FILM_S), "-c", "copy", film)
    else:
        film = make_clip(film.with_suffix(".mp4"), frames=FILM_S * RATE)
    return dict(cluster.nearcast("upload", str(film), "--title", "Long", "--wait")["title"])


async def test_from_signing_in_to_the_last_picture(
    cluster: Running, film: dict[str, Any], browser: Browser
) -> None:
    """By the form and the catalog, at the speed of life: one appliance serves all, and is named."""
    page = await browser.open(cluster.urls["control_plane"])
    await page.get_by_label("Name").fill(account(cluster)["name"])
    await page.get_by_label("Password").fill(account(cluster)["password"])
    await page.get_by_role("button", name="Sign in").click()
    catalog = page.get_by_role("region", name="Catalog")
    card = catalog.get_by_role("link", name=film["name"])
    await expect(card.locator(".poster.pictured")).to_be_attached()  # by the encoder's own poster
    await card.click()

    await until(page, ENDED, timeout_s=40)
    stats = await page.evaluate("nearcast.stats()")
    assert stats["position_s"] == pytest.approx(film["duration_s"], abs=0.1)
    assert stats["longest_stall_s"] <= MAX_STALL_S and stats["failovers"] == 0
    first = (await page.evaluate("nearcast.session"))["pathways"][0]
    assert stats["appliance_id"] == first["appliance_id"]
    await expect(page.locator("#stat-appliance")).to_have_text(first["appliance_id"])
    await expect(page.locator("#pathways > [aria-current]")).to_contain_text(first["reasons"][0])
    told = await witnessed(page, cluster)
    assert {line["appliance_id"] for line in told} == {first["appliance_id"]}


async def test_a_closed_page_has_said_where_the_film_was_left(
    cluster: Running, film: dict[str, Any], browser: Browser
) -> None:
    """Long before the first heartbeat of its timer; and the next page goes on from there."""
    page = await open_player(browser, cluster, film, start=0)
    await until(page, "nearcast.stats().position_s > 3")
    await page.evaluate("document.querySelector('video').currentTime = 10.5")
    await until(page, "nearcast.stats().position_s > 10.6")
    left_s = await page.evaluate("nearcast.stats().position_s")
    await page.close()

    def watched() -> dict[str, Any] | None:
        rows = get(cluster, "/v1/home")["continue_watching"]
        return next((row for row in rows if row["title"]["title_id"] == film["title_id"]), None)

    found = eventually(watched)
    assert found is not None and left_s <= found["position_s"] < left_s + 2
    page = await browser.open(cluster.urls["control_plane"] + f"#token={access_token(cluster)}")
    row = page.get_by_role("region", name="Continue watching")
    await row.get_by_role("link", name=film["name"]).click()
    await until(page, f"globalThis.nearcast?.stats().position_s > {left_s}")


async def test_an_encrypted_title_with_subtitles(
    cluster: Running, browser: Browser, tmp_path: Path
) -> None:
    """The keys come from the session's licence, the subtitles from beside the film."""
    clip, text = make_clip(tmp_path / "locked.mp4", frames=3 * RATE), tmp_path / "locked.srt"
    text.write_text("1\n00:00:00,500 --> 00:00:02,000\nUnder lock and key\n")
    options = ["--title", "Locked", "--encrypt", "cbcs", "--subtitles", f"en={text}", "--wait"]
    title = cluster.nearcast("upload", str(clip), *options)["title"]
    page = await open_player(browser, cluster, title)
    await until(page, "document.querySelector('video').textTracks.length")
    await page.evaluate("document.querySelector('video').textTracks[0].mode = 'showing'")
    shown = "[...document.querySelector('video').textTracks[0].cues ?? []].map((cue) => cue.text)"
    await until(page, f"{shown}.includes('Under lock and key')")
    await until(page, ENDED, timeout_s=40)
    assert await page.evaluate("document.querySelector('video').mediaKeys !== null")


async def test_another_region_is_another_site(
    cluster: Running, film: dict[str, Any], browser: Browser
) -> None:
    page = await open_player(browser, cluster, film, region="north")
    await until(page, "nearcast.stats().position_s > 1 && nearcast.stats().site === 'north'")
    north = await witnessed(page, cluster)
    await page.get_by_label("Watch from").select_option("south")
    await until(page, "nearcast.stats().site === 'south' && nearcast.stats().position_s > 1.5")
    await expect(page.locator("#stat-appliance")).to_have_text("south-1")
    south = await witnessed(page, cluster)
    assert {line["appliance_id"] for line in north} <= {"north-1", "north-2"}
    assert {line["appliance_id"] for line in south} == {"south-1"}


async def test_the_serving_appliance_dies(
    cluster: Running,
    long_film: dict[str, Any],
    browser: Browser,
    record_property: Callable[[str, object], None],
) -> None:
    """SIGKILL in mid-play, and the film goes on from another appliance as if nothing had been."""
    page = await open_player(browser, cluster, long_film, region="north", maxBufferLength=BUFFER_S)
    await until(page, f"nearcast.stats().position_s >= {KILL_AT_S}")
    before = await page.evaluate("nearcast.stats()")
    dead = before["appliance_id"]
    with cluster.killed(dead):
        killed_at = datetime.now(UTC)
        await until(page, ENDED, timeout_s=40)
        eventually(lambda: dead not in pathways(cluster, long_film, "north"))
    after = await page.evaluate("nearcast.stats()")
    events = await page.evaluate("nearcast.events")
    assert before["buffer_s"] >= LEAST_BUFFERED_S
    assert after["position_s"] == pytest.approx(long_film["duration_s"], abs=0.1)
    assert after["longest_stall_s"] <= MAX_STALL_S, events
    assert (after["failovers"], after["appliance_id"] == dead) == (1, False)
    assert [event["why"] for event in events if event["type"] == "session"] == ["opened"]
    await expect(page.locator(f"[data-appliance={dead}] .badge")).to_have_text("Failed")

    told = await witnessed(page, cluster)
    later = [line for line in told if datetime.fromisoformat(line["ts"]) > killed_at]
    assert len(later) >= 3 and {line["appliance_id"] for line in later} == {after["appliance_id"]}
    refused, resumed = (
        next(e for e in events if e["type"] == kind and e["appliance_id"] == sender)
        for kind, sender in (("error", dead), ("frag", after["appliance_id"]))
    )
    record_property("startup_ms", round(after["startup_ms"]))
    record_property("buffered_at_kill_s", round(before["buffer_s"], 1))
    record_property("longest_stall_s", round(after["longest_stall_s"], 2))
    record_property("refusal_to_next_segment_ms", round(resumed["t_ms"] - refused["t_ms"]))
    record_property("segments_from_the_other", len(later))
    # It comes back, and gets viewers again.
    eventually(lambda: dead in pathways(cluster, long_film, "north"))


def account(cluster: Running) -> dict[str, str]:
    """Name and password of the cluster's admin."""
    return dict(json.loads((cluster.data / "secrets" / "admin.json").read_text()))


async def open_player(
    browser: Browser, cluster: Running, title: dict[str, Any], **query: object
) -> Page:
    """The player, signed in by its address, and the film on its way."""
    wanted = urlencode({"title": title["title_id"], "autoplay": 1, **query})
    control = cluster.urls["control_plane"]
    return await browser.open(f"{control}/player.html?{wanted}#token={access_token(cluster)}")


def access_token(cluster: Running) -> str:
    """What the admin signs in with, for an hour."""
    request = urllib.request.Request(
        f"{cluster.urls['control_plane']}/v1/auth/login",
        json.dumps(account(cluster)).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        return str(json.loads(answer.read())["access_token"])


def get(cluster: Running, path: str) -> dict[str, Any]:
    """What the admin gets from there."""
    request = urllib.request.Request(
        cluster.urls["control_plane"] + path,
        headers={"Authorization": f"Bearer {access_token(cluster)}"},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        return dict(json.loads(answer.read()))


async def witnessed(page: Page, cluster: Running) -> list[dict[str, Any]]:
    """The media segments that appliances say they sent to the page's session, each with its
    sender. Every segment that the page says it got, with its sender and its size, is among them."""
    session = (await page.evaluate("nearcast.session"))["session_id"]
    since = "nearcast.events.findLast((event) => event.type === 'session').t_ms"
    seen = Counter(
        (event["appliance_id"], event["bytes"])
        for event in await page.evaluate(
            f"nearcast.events.filter((event) => event.type === 'frag' && event.t_ms > {since})"
        )
    )
    assert seen

    def told() -> list[dict[str, Any]] | None:
        lines = served(cluster, session)
        sent = Counter((line["appliance_id"], line["bytes"]) for line in lines)
        return lines if seen <= sent else None

    return eventually(told) or []


def served(cluster: Running, session_id: str) -> list[dict[str, Any]]:
    """The lines of the access logs about media segments of a session."""
    return [
        {**line, "appliance_id": appliance_id}
        for appliance_id in cluster.urls["appliances"]
        for line in cluster.access_log(appliance_id)
        if line["session_id"] == session_id and line["path"].endswith(".m4s")
    ]


def pathways(cluster: Running, title: dict[str, Any], region: str) -> list[str]:
    """The appliances that a new session would be offered."""
    ranking = cluster.nearcast("steer", title["title_id"], "--region", region)
    return [pathway["appliance_id"] for pathway in ranking["pathways"]]

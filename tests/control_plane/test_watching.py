"""Histories, where to go on, and the rows of the home page."""

import json
from typing import Any

import pytest

from media.api import Session
from runtime.errors import Problem
from tests.control_plane.house import BOTH, House, code_of, send

pytestmark = BOTH


async def watch(house: House, title: Any, position_s: float, **more: Any) -> Session:
    session = await house.play(title, **more)
    path = f"/v1/sessions/{session.session_id}/heartbeat"
    api = await house.account("viewer")
    await send(api, "POST", path, position_s=position_s, rebuffers=1, bitrate_bps=4_000_000)
    house.clock.advance(1)
    return session


async def get(house: House, path: str, who: str = "viewer", **query: str) -> dict[str, Any]:
    api = await house.account(who)
    return dict(json.loads(await api.call_raw("GET", path, query=query)))


def names(watched: list[dict[str, Any]]) -> list[str]:
    return [one["title"]["name"] for one in watched]


async def test_a_film_goes_on_where_it_was_left(house: House):
    title = await house.published()
    assert (await house.play(title)).resume_s == 0.0
    await watch(house, title, 11.0)
    session = await house.play(title)
    assert session.resume_s == 11.0
    viewer = await house.account("viewer")
    again = await send(viewer, "GET", f"/v1/sessions/{session.session_id}")
    assert again["resume_s"] == 11.0
    await watch(house, title, 11.9)  # of twelve seconds: it is over
    assert (await house.play(title)).resume_s == 0.0
    await watch(house, title, 1e6)  # further than the film is long
    assert (await get(house, "/v1/history"))["watched"][0]["position_s"] == 12.0


async def test_the_end_of_a_session_says_where_it_was(house: House):
    title = await house.published()
    session, viewer = await house.play(title), await house.account("viewer")
    path = f"/v1/sessions/{session.session_id}"
    wrong = viewer.call_raw("DELETE", path, query={"position_s": "-1"})
    assert await code_of(wrong) == "invalid_field"
    await viewer.call_raw("DELETE", path, query={"position_s": "11"})
    assert (await house.play(title)).resume_s == 11.0


async def test_each_profile_has_its_own_history(house: House):
    title, other = await house.published("A"), await house.published("B")
    viewer = await house.account("viewer")
    anna = (await send(viewer, "POST", "/v1/profiles", name="Anna"))["profile_id"]
    await watch(house, title, 11.0, profile_id=anna)
    await watch(house, other, 5.0)
    assert names((await get(house, "/v1/history"))["watched"]) == ["B"]
    assert names((await get(house, "/v1/history", profile_id=anna))["watched"]) == ["A"]
    assert (await house.play(title)).resume_s == 0.0
    assert (await house.play(title, profile_id=anna)).resume_s == 11.0
    foreign = get(house, "/v1/history", who="operator", profile_id=anna)
    assert await code_of(foreign) == "unknown_profile"
    await send(viewer, "DELETE", f"/v1/profiles/{anna}")
    assert names((await get(house, "/v1/history"))["watched"]) == ["A", "B"]


async def test_histories_come_in_pages_and_can_be_forgotten(house: House):
    titles = [await house.published(f"Film {n}") for n in range(5)]
    for title in titles:
        await watch(house, title, 11.0)
    first = await get(house, "/v1/history", limit="3")
    rest = await get(house, "/v1/history", limit="3", cursor=first["next_cursor"])
    assert names(first["watched"] + rest["watched"]) == [f"Film {n}" for n in (4, 3, 2, 1, 0)]
    assert rest["next_cursor"] is None
    viewer = await house.account("viewer")
    await send(viewer, "DELETE", f"/v1/history/{titles[4].title_id}")
    assert names((await get(house, "/v1/history"))["watched"])[0] == "Film 3"
    assert await code_of(get(house, "/v1/history", cursor="x-y")) == "invalid_field"
    assert await code_of(get(house, "/v1/history", cursor="9" * 50)) == "invalid_field"


async def test_home_has_what_was_begun_and_what_is_popular(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    # A busy machine is no source that is away.
    monkeypatch.setattr("control_plane.home.TIMEOUT_S", 20.0)
    titles = {name: await house.published(name) for name in ("A", "B", "C")}
    await watch(house, titles["A"], 11.0)
    await watch(house, titles["B"], 11.9)
    for who in ("operator", "admin"):
        await house.play(titles["B"], who, region="south")
    home = await get(house, "/v1/home")
    assert names(home["continue_watching"]) == ["A"]
    assert [t["name"] for t in home["popular"]] == ["B", "A"]
    assert home["degraded"] == []
    assert [t["name"] for t in (await get(house, "/v1/home", region="south"))["popular"]] == [
        "B",
        "A",
    ]


async def test_a_row_whose_source_is_away_costs_only_itself(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    await house.published("A")
    rows = house.control.home

    async def away(*_: object, **__: object) -> None:
        raise Problem("unavailable")

    monkeypatch.setattr(rows, "_count", away)
    home = await get(house, "/v1/home")
    assert (home["degraded"], [t["name"] for t in home["popular"]]) == (["popular"], ["A"])
    monkeypatch.setattr(rows._watching, "unfinished", away)
    assert set((await get(house, "/v1/home"))["degraded"]) == {"popular", "continue_watching"}


async def test_nobody_beats_for_another(house: House):
    session = await house.play(await house.published())
    path = f"/v1/sessions/{session.session_id}/heartbeat"
    await send(await house.account("admin"), "POST", "/v1/users", name="bo", password="x" * 12)
    body = {"name": "bo", "password": "x" * 12}
    tokens = await send(house.anonymous(), "POST", "/v1/auth/login", **body)
    bo = house._client("bo", tokens["access_token"])
    assert await code_of(send(bo, "POST", path, position_s=1.0)) == "unknown_session"
    viewer = await house.account("viewer")
    for wrong in (-1, "NaN", 1e12):
        code = await code_of(send(viewer, "POST", path, position_s=wrong))
        assert code == "invalid_field", wrong

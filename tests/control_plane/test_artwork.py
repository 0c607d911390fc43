"""Artwork: the film's own picture or a given one, for those who see the title and nobody else."""

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

import control_plane.artwork
from control_plane.clock import utc_now
from media.api import Title
from media.ids import new_id
from media.inventory import POSTER, sha256_of
from media.objects import StoreUnavailable
from tests.control_plane.film import film_of
from tests.control_plane.house import BOTH, House, code_of, send
from tests.control_plane.stills import still

pytestmark = BOTH
FILM = film_of("v-avc-360", "a-aac-en") | {POSTER: still("jpg")}


async def filmed(house: House, name: str = "Film") -> Title:
    """A published title whose package has a poster."""
    await house.upload(name)
    lease = await house.lease()
    await house.complete(lease, film=FILM)
    return await told(house, lease.title_id)


async def told(house: House, title_id: str, who: str = "viewer", **query: str) -> Title:
    api = await house.account(who)
    return await api.call("GET", f"/v1/titles/{title_id}", Title, query=query)


async def give(house: House, title_id: str, raw: bytes, who: str = "operator") -> Title:
    api = await house.account(who)
    return await api.call("PUT", f"/v1/titles/{title_id}/artwork", Title, body=raw)


async def take_away(house: House, title_id: str) -> Title:
    api = await house.account("operator")
    return await api.call("DELETE", f"/v1/titles/{title_id}/artwork", Title)


@asynccontextmanager
async def seen(url: str | None, **headers: str):
    """As a page's <img> asks: without a token."""
    assert url is not None
    async with aiohttp.ClientSession() as page, page.get(url, headers=headers) as answer:
        yield answer


async def status(url: str | None) -> int:
    async with seen(url) as answer:
        return answer.status


async def bytes_of(url: str | None) -> bytes:
    async with seen(url) as answer:
        assert answer.status == 200
        return await answer.read()


async def kept(house: House, title_id: str) -> list[str]:
    return [o.key async for o in house.store.list_objects(f"artwork/{title_id}/")]


async def test_the_film_s_own_poster_then_a_given_picture_then_its_own_again(house: House):
    title = await filmed(house)
    assert await bytes_of(title.artwork_url) == still("jpg")
    for kind, content_type in (("png", "image/png"), ("webp", "image/webp")):
        given = await give(house, title.title_id, still(kind))
        async with seen(given.artwork_url) as answer:
            assert (await answer.read(), answer.content_type) == (still(kind), content_type)
        assert len(await kept(house, title.title_id)) == 1  # what it had before is gone
    shown = await told(house, title.title_id)
    assert await bytes_of(shown.artwork_url) == still("webp")
    assert await status(title.artwork_url) == 404  # an earlier address

    again = await take_away(house, title.title_id)
    assert await bytes_of(again.artwork_url) == still("jpg")
    assert await kept(house, title.title_id) == []
    assert (await told(house, title.title_id)).artwork_url == title.artwork_url


async def test_a_title_without_a_picture(house: House):
    title = await house.published()
    assert title.artwork_url is None
    viewer = await house.account("viewer")
    path = f"/v1/titles/{title.title_id}/artwork"
    assert await code_of(viewer.call_raw("GET", path)) == "unknown_artwork"
    assert (await give(house, title.title_id, still("png"))).artwork_url
    assert (await take_away(house, title.title_id)).artwork_url is None


async def test_it_is_sent_as_a_picture_and_nothing_else_and_may_be_kept(house: House):
    title = await filmed(house)
    tag = f'"{sha256_of(still("jpg"))}"'
    async with seen(title.artwork_url) as answer:
        headers = answer.headers
    assert headers["Content-Type"] == "image/jpeg"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert headers["Cache-Control"] == "private, max-age=604800, immutable"
    assert headers["ETag"] == tag
    async with seen(title.artwork_url, **{"If-None-Match": tag}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")
    async with aiohttp.ClientSession() as page, page.head(str(title.artwork_url)) as answer:
        assert answer.status == 200

    viewer = await house.account("viewer")
    path = f"/v1/titles/{title.title_id}/artwork"
    assert await viewer.call_raw("GET", path) == still("jpg")
    assert await viewer.call_raw("GET", path, known=tag.strip('"')) == b""


async def test_every_list_of_titles_has_it(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("control_plane.home.TIMEOUT_S", 20.0)
    title = await filmed(house)
    session = await house.play(title)
    viewer = await house.account("viewer")
    path = f"/v1/sessions/{session.session_id}/heartbeat"
    await send(viewer, "POST", path, position_s=11.0)
    page = (await send(viewer, "GET", "/v1/titles"))["titles"]
    home = await send(viewer, "GET", "/v1/home")
    history = (await send(viewer, "GET", "/v1/history"))["watched"]
    listed = [*page, *home["popular"], home["continue_watching"][0]["title"], history[0]["title"]]
    assert {one["artwork_url"] for one in listed} == {title.artwork_url} and len(listed) == 4


async def test_who_does_not_see_a_title_does_not_see_its_picture(house: House):
    title = await filmed(house)
    own = f"/v1/titles/{title.title_id}"
    operator, viewer = await house.account("operator"), await house.account("viewer")

    async def states(address: str | None) -> tuple[str, int]:
        return await code_of(viewer.call_raw("GET", f"{own}/artwork")), await status(address)

    assert await states(title.artwork_url) == ("", 200)
    await send(operator, "POST", f"{own}/unpublish")
    assert await states(title.artwork_url) == ("unknown_title", 404)
    draft = await told(house, title.title_id, "operator")
    assert draft.artwork_url != title.artwork_url  # an operator's shows drafts
    assert await bytes_of(draft.artwork_url) == still("jpg")
    assert await operator.call_raw("GET", f"{own}/artwork") == still("jpg")

    await send(operator, "POST", f"{own}/publish")
    later = (utc_now() + timedelta(days=1)).isoformat()
    await send(operator, "PATCH", own, available_from=later)
    assert await states(title.artwork_url) == ("unknown_title", 404)
    await send(operator, "PATCH", own, available_from=None, maturity=18)
    assert await states(title.artwork_url) == ("", 200)
    child = await send(viewer, "POST", "/v1/profiles", name="Kim", maturity=6)
    query = {"profile_id": child["profile_id"]}
    refused = viewer.call_raw("GET", f"{own}/artwork", query=query)
    assert await code_of(refused) == "unknown_title"

    await send(operator, "DELETE", own)
    assert await states(draft.artwork_url) == ("unknown_title", 404)


async def test_addresses_cannot_be_guessed(house: House):
    title, other = await filmed(house), await filmed(house, "Other")
    session = await house.play(title)
    base, sha256, key = str(title.artwork_url).rsplit("/", 2)
    session_key = session.hls_url.split("/")[-2]
    foreign = str(other.artwork_url).rsplit("/", 1)[1]
    for wrong in ("0" * 32, session_key, foreign):
        assert await status(f"{base}/{sha256}/{wrong}") == 403
    assert await status(f"{base}/{'0' * 64}/{key}") == 403
    assert await status(f"{base}/{sha256}/{key[:-1]}") == 404
    assert await status(str(title.artwork_url).replace(title.title_id, other.title_id)) == 403
    manifest = session.hls_url.replace(session_key, key)
    assert await status(manifest) == 403


async def test_hostile_pictures_are_refused_and_nothing_changes(house: House):
    title = await filmed(house)
    svg = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"
    huge = b"\xff\xd8" + bytes(4 * 1024 * 1024)
    wanted = {svg: "bad_artwork", b"": "bad_artwork", still("gif"): "bad_artwork",
              still("png")[:-20]: "bad_artwork", huge: "body_too_large"}  # fmt: skip
    for raw, code in wanted.items():
        assert await code_of(give(house, title.title_id, raw)) == code
    assert await code_of(give(house, title.title_id, still("png"), "viewer")) == "not_allowed"
    assert await code_of(give(house, new_id("ttl"), still("png"))) == "unknown_title"
    assert (await told(house, title.title_id)).artwork_url == title.artwork_url
    assert await kept(house, title.title_id) == []


async def test_a_deleted_title_s_picture_is_cleared_away(house: House):
    title = await filmed(house)
    await give(house, title.title_id, still("png"))
    await send(await house.account("operator"), "DELETE", f"/v1/titles/{title.title_id}")
    assert await code_of(give(house, title.title_id, still("jpg"))) == "unknown_title"
    assert await kept(house, title.title_id)
    await house.control.removal.remove_titles()
    assert await kept(house, title.title_id) == []


async def test_the_same_picture_given_at_once_stays(house: House):
    title = await filmed(house)
    given = [give(house, title.title_id, still("png")) for _ in range(6)]
    await asyncio.gather(*given, *(take_away(house, title.title_id) for _ in range(3)))
    await give(house, title.title_id, still("png"))
    await asyncio.gather(*(give(house, title.title_id, still("png")) for _ in range(4)))
    assert await bytes_of((await told(house, title.title_id)).artwork_url) == still("png")
    assert len(await kept(house, title.title_id)) == 1


async def test_the_store_is_asked_once(house: House, monkeypatch: pytest.MonkeyPatch):
    titles = [await filmed(house, f"Film {number}") for number in range(2)]
    await give(house, titles[1].title_id, still("png"))
    addresses = [(await told(house, title.title_id)).artwork_url for title in titles]
    asked: list[str] = []
    store = house.control.artworks._store
    read = store.get_bytes

    async def counted(key: str, **more: Any) -> bytes:
        asked.append(key)
        return await read(key, **more)

    monkeypatch.setattr(store, "get_bytes", counted)
    await asyncio.gather(*(bytes_of(address) for address in addresses * 10))
    await asyncio.gather(*(bytes_of(address) for address in addresses))
    assert len(asked) == 2
    assert house.control.artworks._read_bytes == len(still("jpg")) + len(still("png"))

    # There is a bound to it: what is over it is not remembered, but read anew.
    monkeypatch.setattr(control_plane.artwork, "REMEMBERED_BYTES", 0)
    given = await give(house, titles[1].title_id, still("webp"))
    assert await bytes_of(given.artwork_url) == still("webp")
    assert (house.control.artworks._read_bytes, len(house.control.artworks._read)) == (0, 0)

    # What is wrong or away is not sent, and is asked for again.
    (key,) = await kept(house, titles[1].title_id)
    await house.store.put_bytes(key, still("jpg"))
    assert await status(given.artwork_url) == 404
    await house.store.put_bytes(key, still("webp"))

    async def away(key: str, **more: Any) -> bytes:
        raise StoreUnavailable("no route")

    monkeypatch.setattr(store, "get_bytes", away)
    assert await status(given.artwork_url) == 503
    monkeypatch.setattr(store, "get_bytes", read)
    assert await status(given.artwork_url) == 200

"""Keys of encrypted packages: who gets them, and who does not."""

import base64
from typing import Any

import aiohttp
import pytest

from media.api import Session, Title
from media.dash_reader import parse
from media.ids import new_id
from tests.control_plane.house import House, open_house


def base64url(key_id: str) -> str:
    return base64.urlsafe_b64encode(bytes.fromhex(key_id)).decode().rstrip("=")


async def ask(url: str | None, *kids: str) -> tuple[int, Any]:
    """What a CDM is told that asks for these keys, as a player sends it."""
    assert url is not None
    body = {"kids": [base64url(kid) for kid in kids], "type": "temporary"}
    async with aiohttp.ClientSession() as browser, browser.post(url, json=body) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        return answer.status, await answer.json()


async def playing(house: House, encryption: str | None) -> tuple[Session, Any]:
    """A session, and what its encoder was told."""
    await house.upload(encryption=encryption)
    lease = await house.lease()
    await house.complete(lease)
    api = await house.account("viewer")
    title = await api.call("GET", f"/v1/titles/{lease.title_id}", Title)
    return await house.play(title), lease.protection


@pytest.mark.parametrize("scheme", ["cbcs", "cenc"])
async def test_a_session_gets_the_keys_that_the_encoder_had(house: House, scheme: str) -> None:
    session, protection = await playing(house, scheme)
    assert protection.scheme == scheme and protection.video != protection.audio
    asked = [protection.audio.key_id, "0" * 32]
    status, given = await ask(session.license_url, *asked)
    assert status == 200 and given["type"] == "temporary"
    assert given["keys"] == [
        {
            "kty": "oct",
            "kid": base64url(protection.audio.key_id),
            "k": base64url(protection.audio.key),
        }
    ]
    settings = session.player_settings
    assert settings["hlsjs"]["drmSystems"]["org.w3.clearkey"]["licenseUrl"] == session.license_url
    assert settings["shaka"]["drm"]["servers"]["org.w3.clearkey"] == session.license_url


async def test_manifests_say_where(house: House) -> None:
    session, protection = await playing(house, "cbcs")
    async with aiohttp.ClientSession() as browser, browser.get(session.dash_url) as answer:
        text = await answer.text()
    laurl = [e.text for e in parse(text).iter("{https://dashif.org/CPS}Laurl")]
    assert laurl == [session.license_url] * 2
    async with aiohttp.ClientSession() as browser, browser.get(session.hls_url) as answer:
        playlist = await answer.text()
    assert playlist.count("#EXT-X-SESSION-KEY:METHOD=SAMPLE-AES,") == 2
    assert protection.video.key not in text + playlist


async def test_only_while_the_session_lives(house: House) -> None:
    session, protection = await playing(house, "cbcs")
    assert session.license_url is not None
    kid = protection.video.key_id
    key = session.license_url.split("/")[-2]
    for other in (
        session.license_url.replace(key, "0" * 32),
        session.license_url.replace(session.session_id, new_id("ses")),
    ):
        assert (await ask(other, kid))[0] == 403
    viewer = await house.account("viewer")
    await viewer.call_raw("DELETE", f"/v1/sessions/{session.session_id}")
    status, refused = await ask(session.license_url, kid)
    assert (status, refused["code"]) == (404, "unknown_session")


async def test_a_package_in_the_clear_has_no_licence(house: House) -> None:
    session, protection = await playing(house, None)
    assert session.license_url is None and protection is None
    assert "drmSystems" not in session.player_settings["hlsjs"]


async def test_another_package_has_other_keys_and_a_restart_the_same(tmp_path: Any) -> None:
    async with open_house(tmp_path) as house:
        one, first = await playing(house, "cbcs")
        _, second = await playing(house, "cbcs")
        ids = {key.key_id for told in (first, second) for key in told.keys}
        assert len(ids) == 4
        _, given = await ask(one.license_url, first.video.key_id)
    async with open_house(tmp_path) as house:
        viewer = await house.account("admin")
        again = await viewer.call("GET", f"/v1/sessions/{one.session_id}", Session)
        assert await ask(again.license_url, first.video.key_id) == (200, given)

"""What the service says of itself, and the pages it hands out."""

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from control_plane.pages import Pages
from control_plane.settings import ControlPlaneSettings
from tests.control_plane.house import House, open_house


async def test_the_openapi_document_is_valid_and_whole(house: House):
    document = json.loads(await house.anonymous().call_raw("GET", "/openapi.json"))
    OpenAPIV31SpecValidator(document).validate()
    described = {
        f"{method.upper()} {path}" for path, on in document["paths"].items() for method in on
    }
    served = {f"{route.method} {route.path}" for route in house.control.routes}
    assert described == served - {"GET /openapi.json"}


async def test_metrics_name_routes_never_addresses(house: House):
    title = await house.published()
    api = house.anonymous()
    for path in ("/v1/nothing/here", "/some/page"):
        async with aiohttp.ClientSession() as browser, browser.get(house.url + path) as answer:
            assert answer.status == 404
    text = (await api.call_raw("GET", "/metrics")).decode()
    assert 'route="/v1/titles/{title_id}",status="200"' in text
    assert title.title_id not in text and "some/page" not in text and "nothing" not in text


async def test_healthy_and_ready(house: House):
    for path in ("/healthz", "/readyz"):
        await house.anonymous().call_raw("GET", path)


@pytest.fixture
async def pages(tmp_path: Path):
    web = tmp_path / "web"
    (web / "vendor").mkdir(parents=True)
    (web / "index.html").write_text("<!doctype html>")
    (web / "player.js").write_text("export {}")
    (web / "vendor" / "index.html").write_text("vendor")
    (web / ".npmrc").write_text("hidden")
    (web / "notes.py").write_text("not a page")
    (tmp_path / "outside.html").write_text("outside")
    (web / "link.html").symlink_to(tmp_path / "outside.html")
    async with open_house(tmp_path / "data", web=str(web)) as house:
        yield house


async def test_pages_come_with_their_types_and_a_policy(pages: House):
    html = "text/html; charset=utf-8"
    for path, content_type in {
        "/": html,
        "/index.html": html,
        "/player.js?v=1": "text/javascript; charset=utf-8",
        "/vendor/": html,
    }.items():
        async with aiohttp.ClientSession() as browser:
            async with browser.get(pages.url + path) as answer:
                assert answer.status == 200
                assert answer.headers["Content-Type"] == content_type
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["Referrer-Policy"] == "no-referrer"
                policy = answer.headers["Content-Security-Policy"]
                assert "script-src" not in policy and "default-src 'self'" in policy
                seen = {"If-None-Match": answer.headers["ETag"]}
            async with browser.get(pages.url + path, headers=seen) as again:
                assert again.status == 304


NOT_PAGES = (
    "../outside.html", "..%2foutside.html", "vendor/../../outside.html", "link.html", ".npmrc",
    "notes.py", "missing.html", "vendor/../.npmrc", "index.html%00.js", "//etc/passwd",
    "x" * 300 + ".html", "x/" * 2500, "%ff%fe.html",
)  # fmt: skip


async def test_nothing_else_is_handed_out(pages: House):
    host, port = pages.url.removeprefix("http://").split(":")
    for path in NOT_PAGES:
        assert await raw_status(host, int(port), f"/{path}") == 404, path


def test_a_folder_that_is_not_there_has_no_pages(tmp_path: Path):
    assert Pages(tmp_path / "none").find("index.html") is None


def test_every_setting_is_described():
    for name, field in ControlPlaneSettings.model_fields.items():
        assert field.description, name
        assert not field.is_required(), name


async def raw_status(host: str, port: int, target: str) -> int:
    """The status of a target that no client would send as it is."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    status = int((await reader.readline()).split()[1])
    writer.close()
    return status

"""What the log does not tell."""

import asyncio
import logging

import pytest
from aiohttp import web

from runtime.log import _is_ours
from runtime.service import serve_http


async def test_requests_that_are_no_http_are_not_quoted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("aiohttp.server"), "filters", [_is_ours])
    runner, url = await serve_http(web.Application(), "127.0.0.1:0")
    for wrong in (b"GET /secret/\xff HTTP/1.1", b"GET / HTTP/1.1\r\nX: secret\0"):
        reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
        writer.write(wrong + b"\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.0 400")
        writer.close()
    await runner.cleanup()
    assert "secret" not in caplog.text
    try:
        raise KeyError("a bug")
    except KeyError:
        logging.getLogger("aiohttp.server").exception("of ours")
    assert "a bug" in caplog.text

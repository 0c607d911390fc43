"""The admin port: how sessions play."""

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from appliance.admin import make_admin_app
from appliance.quality import Heard, QualityBook
from media.cmcd import Cmcd
from media.ids import id_from
from runtime.service import serve_http

P = id_from("pkg", 1_700_000_000_000, 1)


class Port:
    """The admin port of a keeper whose watch has a quality book, and nothing else is asked."""

    def __init__(self) -> None:
        self.players = QualityBook()
        self.url = ""

    def hear(self, number: int, now_s: float, **said: Any) -> None:
        session_id = id_from("ses", 1_700_000_000_000, number)
        self.players.hear(Heard(session_id, P, "v-avc-720/1.m4s", Cmcd(**said)), now_s)

    async def get(self, path: str) -> tuple[int, Any]:
        async with aiohttp.ClientSession() as session, session.get(self.url + path) as answer:
            return answer.status, await answer.json()


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[Port]:
    made = Port()
    keeper: Any = SimpleNamespace(
        appliance_id="north-1", watch=SimpleNamespace(players=made.players)
    )
    runner, made.url = await serve_http(
        make_admin_app(keeper, tmp_path / "trust.json"), "127.0.0.1:0"
    )
    yield made
    await runner.cleanup()


async def test_sessions_by_their_players_words(port: Port) -> None:
    port.hear(1, 100.0, object_type="v", startup_ms=700, buffer_ms=5000, throughput_kbps=9000)
    port.hear(2, 101.0, object_type="a", starved=True)
    port.hear(1, 102.0, object_type="v", bitrate_kbps=2500)
    status, told = await port.get("/v1/sessions")
    assert status == 200
    assert told["remembered"] == 2
    assert told["totals"]["requests"] == 3 and told["totals"]["starved_sessions"] == 1
    first, second = told["sessions"]
    assert first == {
        "session_id": id_from("ses", 1_700_000_000_000, 1), "package_id": P, "began_s": 100.0,
        "heard_s": 102.0, "requests": 2, "starved": 0, "starved_ms": 0, "startup_ms": 700,
        "buffer_ms": 5000, "throughput_kbps": 9000, "wanted_kbps": None, "bitrate_kbps": 2500,
        "top_bitrate_kbps": None, "streaming_format": "", "object_types": {"v": 2},
    }  # fmt: skip
    assert (second["starved"], second["startup_ms"]) == (1, None)


async def test_sessions_are_bounded(port: Port) -> None:
    for number in range(150):
        port.hear(number, float(number))
    _, told = await port.get("/v1/sessions")
    assert len(told["sessions"]) == 100 and told["remembered"] == 150
    _, told = await port.get("/v1/sessions?count=1")
    assert [session["heard_s"] for session in told["sessions"]] == [149.0]
    for count in ("0", "1001", "x"):
        assert (await port.get(f"/v1/sessions?count={count}"))[0] == 422


async def test_the_document_names_it(port: Port) -> None:
    _, document = await port.get("/openapi.json")
    assert "/v1/sessions" in document["paths"]

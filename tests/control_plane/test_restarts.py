"""PostgreSQL or Redis is restarted while people press play: what was answered is there, nothing
wrong is said, and it all comes back by itself."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from media.api import Session
from tests.control_plane.house import House, code_of, open_house, send
from tests.postgres_server import postgres
from tests.redis_server import redis

VIEWERS = 6
BACK_S = 10.0


class Crowd:
    """Viewers who start, say where they are, and look, over and over."""

    def __init__(self, house: House, title_id: str) -> None:
        self.house = house
        self.title_id = title_id
        self.played: list[str] = []  # sessions that were answered
        self.codes: Counter[str] = Counter()
        self.good_at: list[float] = []
        self.bad_at: list[float] = []
        self.told = asyncio.Event()
        self.going = True

    async def viewer(self) -> None:
        api = await self.house.account("viewer")
        while self.going:
            code = await code_of(self._once(api))
            self.codes[code] += 1
            (self.bad_at if code else self.good_at).append(time.monotonic())
            self.told.set()
            await asyncio.sleep(0.01)

    async def _once(self, api) -> None:
        started = await send(api, "POST", "/v1/sessions", title_id=self.title_id)
        session = Session.model_validate(started)
        self.played.append(session.session_id)
        path = f"/v1/sessions/{session.session_id}"
        await send(api, "POST", f"{path}/heartbeat", position_s=11.0)
        assert (await send(api, "GET", path))["resume_s"] == 11.0


async def restarted(house: House, restart: Callable[[], None]) -> Crowd:
    """A crowd that saw a restart, after which all was well again soon."""
    title = await house.published()
    crowd = Crowd(house, title.title_id)
    await house.account("viewer")
    viewers = [asyncio.create_task(crowd.viewer(), name="viewer") for _ in range(VIEWERS)]
    await _more(crowd, 20)
    await asyncio.to_thread(restart)
    back = time.monotonic()
    await _more(crowd, 40)
    crowd.going = False
    await asyncio.gather(*viewers)
    assert next(at for at in crowd.good_at if at > back) - back < BACK_S
    assert not [at for at in crowd.bad_at if at > back + BACK_S]
    return crowd


async def _more(crowd: Crowd, count: int) -> None:
    wanted = len(crowd.good_at) + count
    async with asyncio.timeout(BACK_S * 4):
        while len(crowd.good_at) < wanted:
            crowd.told.clear()
            await crowd.told.wait()


async def still_there(house: House, crowd: Crowd) -> None:
    """Each session that was answered."""
    api = await house.account("viewer")
    for session_id in crowd.played:
        assert await code_of(send(api, "GET", f"/v1/sessions/{session_id}")) == ""


async def test_postgresql_restarts(tmp_path: Path):
    with postgres() as server:
        async with open_house(tmp_path, database=server.url) as house:
            crowd = await restarted(house, server.restart)
            await still_there(house, crowd)
            assert set(crowd.codes) <= {"", "unavailable"}, crowd.codes


async def test_redis_restarts(tmp_path: Path):
    """Nobody is refused for it: sign-outs and streams are then told apart a little later."""
    with redis() as server:
        async with open_house(tmp_path, state=server.url) as house:
            crowd = await restarted(house, server.restart)
            await still_there(house, crowd)
            assert set(crowd.codes) == {""}, crowd.codes
            await house.put_on_plan("viewer", "one", streams=1)
            first = await house.play(await house.published("Other"))
            server.restart()
            api = await house.account("viewer")
            beat = f"/v1/sessions/{first.session_id}/heartbeat"
            await send(api, "POST", beat, rebuffers=0)  # which takes the place again
            start = send(api, "POST", "/v1/sessions", title_id=crowd.title_id)
            assert await code_of(start) == "too_many_streams"

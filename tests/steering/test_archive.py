"""The roster in shared state: found after a restart, and no one waits for a state that is away."""

from collections.abc import AsyncIterator, Iterator

import pytest
from structlog.testing import capture_logs

from runtime.state import MemoryState, State, StateUnavailable, open_state
from steering.archive import Archive
from steering.doubts import Left
from steering.roster import RosterBook
from steering.throughput import ThroughputBook
from tests.redis_server import redis_server
from tests.steering_fleet import ATLAS, NOW_S, holdings, package_id, report, session_id

P = package_id()


class Instance:
    """A steering of its own on a shared state."""

    def __init__(self, state: State) -> None:
        self.roster = RosterBook(ATLAS, report_timeout_s=15, forget_s=3600, session_bps=100_000_000)
        self.paces = ThroughputBook()
        self.archive = Archive(state, self.roster, self.paces, forget_s=3600)

    def hear(self, sequence: int, now_s: float, *, load: float = 0.1) -> None:
        assert self.roster.hear(report(sequence=sequence, load=load), now_s)
        self.archive.heard("a1")

    def take(self, sequence: int, *, snapshot: bool = False) -> None:
        message = holdings(sequence, (P, f"v-{sequence}", 1.0), snapshot=snapshot)
        assert self.roster.take("a1", message)
        self.archive.taken("a1")


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture(params=["memory", "redis"])
async def state(request: pytest.FixtureRequest) -> AsyncIterator[State]:
    is_memory = request.param == "memory"
    opened = open_state("memory:" if is_memory else request.getfixturevalue("redis_url"))
    for key in await opened.items(""):
        await opened.delete(key)
    yield opened
    await opened.close()


async def test_a_restarted_steering_finds_reports_and_holdings(state: State) -> None:
    before = Instance(state)
    before.hear(1, NOW_S)
    before.take(7, snapshot=True)
    await before.archive.sync(NOW_S)
    before.take(8)
    await before.archive.sync(NOW_S)

    after = Instance(state)
    await after.archive.sync(NOW_S + 1)
    assert after.roster.members(NOW_S + 1) == before.roster.members(NOW_S + 1)
    assert after.roster.shelves.share("a1", P) == 1.0
    after.take(9)  # the appliance goes on where it was, without a gap


async def test_instances_hear_each_other_s_news(state: State) -> None:
    one, two = Instance(state), Instance(state)
    one.hear(1, NOW_S)
    await one.archive.sync(NOW_S)
    await two.archive.sync(NOW_S)
    two.hear(2, NOW_S + 5, load=0.8)
    await two.archive.sync(NOW_S + 5)
    await one.archive.sync(NOW_S + 5)
    assert one.roster.candidate("a1", NOW_S + 5, False).load == 0.8


async def test_instances_share_what_players_say_and_whom_they_sent_where(state: State) -> None:
    one, two = Instance(state), Instance(state)
    one.hear(1, NOW_S)
    await one.archive.sync(NOW_S)
    await two.archive.sync(NOW_S)
    for number in range(5):
        two.roster.assign("a1", session_id(number))
        two.roster.doubts.hear(Left("a1", session_id(number), f"192.0.{number}.0/24", NOW_S))
    for _ in range(20):
        one.paces.hear("net", "s1", 10e6, NOW_S)
        two.paces.hear("net", "s0", 1e6, NOW_S)
    assert one.paces.slow("net", NOW_S) == {}
    for instance in (two, one, two):
        await instance.archive.sync(NOW_S + 1)
    assert one.paces.slow("net", NOW_S + 1) == two.paces.slow("net", NOW_S + 1) == {"s0": "s1"}
    seen = one.roster.candidate("a1", NOW_S + 1, False)
    assert seen.load == pytest.approx(0.1 + 5 * 0.1) and seen.suspected
    one.hear(2, NOW_S + 5)  # its next report has the sessions in it
    assert one.roster.candidate("a1", NOW_S + 5, False).load == pytest.approx(0.1)


async def test_what_is_in_the_state_may_be_broken(state: State) -> None:
    await state.put("steering:report:a1", b'{"report":', 60)
    await state.put("steering:report:a2", b'{"heard_s": 1}', 60)
    await state.put("steering:words:x", b"[1]", 60)
    instance = Instance(state)
    await instance.archive.sync(NOW_S)
    assert instance.roster.size == 0


class Broken(MemoryState):
    """A state that can be away."""

    away = True

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        if self.away:
            raise StateUnavailable("away")
        await super().put(key, value, ttl_s)

    async def items(self, prefix: str) -> dict[str, bytes]:
        if self.away:
            raise StateUnavailable("away")
        return await super().items(prefix)


async def test_news_wait_while_the_state_is_away() -> None:
    state = Broken()
    instance = Instance(state)
    instance.hear(1, NOW_S)
    instance.take(0, snapshot=True)
    with capture_logs() as lines:
        await instance.archive.sync(NOW_S)
        await instance.archive.sync(NOW_S)
    assert instance.archive.away
    said = [line["event"] for line in lines]
    assert said.count("state_away") == 1  # once, not at every attempt
    state.away = False
    await instance.archive.sync(NOW_S)
    assert not instance.archive.away
    restarted = Instance(state)
    await restarted.archive.sync(NOW_S)
    assert restarted.roster.shelves.share("a1", P) == 1.0

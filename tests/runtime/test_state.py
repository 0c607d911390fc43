"""The contract of shared state, in memory and in a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

import runtime.state
from runtime.state import MemoryState, State, StateUnavailable, open_state
from tests.redis_server import redis_server


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture(params=["memory", "redis"])
async def state(request: pytest.FixtureRequest) -> AsyncIterator[State]:
    if request.param == "memory":
        opened = open_state("memory:")
    else:
        url: str = request.getfixturevalue("redis_url")
        opened = open_state(url)
        for key in await opened.items(""):
            await opened.delete(key)
    yield opened
    await opened.close()


async def gone(state: State, key: str) -> None:
    """Returns when the entry has expired."""
    async with asyncio.timeout(5):
        while await state.get(key) is not None:  # noqa: ASYNC110  (Redis tells no one)
            await asyncio.sleep(0.005)


async def test_an_entry_is_kept_replaced_and_deleted(state: State) -> None:
    assert await state.get("a") is None
    await state.put("a", b"one", 60)
    await state.put("a", b"\x00two", 60)
    assert await state.get("a") == b"\x00two"
    await state.delete("a")
    await state.delete("a")
    assert await state.get("a") is None


async def test_entries_expire(state: State) -> None:
    await state.put("short", b"1", 0.05)
    await state.put("long", b"1", 60)
    await gone(state, "short")
    assert await state.items("") == {"long": b"1"}


async def test_items_are_found_by_prefix(state: State) -> None:
    for key in ("report:a", "report:b", "other:a"):
        await state.put(key, key.encode(), 60)
    assert await state.items("report:") == {"report:a": b"report:a", "report:b": b"report:b"}
    assert await state.items("none:") == {}


async def test_a_prefix_is_text_and_no_pattern(state: State) -> None:
    await state.put("a1", b"", 60)
    await state.put("[a]1", b"", 60)
    assert await state.items("*") == {}
    assert set(await state.items("[a]")) == {"[a]1"}


async def test_counters_add_up_and_end_with_their_first_amount_s_time(state: State) -> None:
    assert await state.add("n", 2, 0.3) == 2
    assert await state.add("n", -5, 60) == -3
    await gone(state, "n")
    assert await state.add("n", 1, 60) == 1


async def test_adding_at_once_loses_nothing(state: State) -> None:
    totals = await asyncio.gather(*(state.add("n", 1, 60) for _ in range(50)))
    assert sorted(totals) == list(range(1, 51))


async def test_memory_is_bounded_and_drops_what_expires_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runtime.state, "MAX_ENTRIES", 10)
    state = MemoryState(clock=lambda: 0.0)
    for number in range(11):
        await state.put(f"k{number}", b"", ttl_s=100 - number)
    held = await state.items("k")
    assert len(held) == 10
    assert "k9" not in held


@pytest.mark.parametrize("url", ["", "memory", "sqlite:///x", "http://127.0.0.1"])
def test_other_states_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is not a state"):
        open_state(url)


async def test_a_redis_that_went_away_is_one_kind_of_error() -> None:
    with redis_server() as url:
        state = open_state(url)
        await state.put("a", b"1", 60)
    for operation in (
        state.get("a"),
        state.put("a", b"1", 60),
        state.add("n", 1, 60),
        state.delete("a"),
        state.items(""),
        state.hold("k", "a", 1, 60),
        state.let_go("k", "a"),
    ):
        with pytest.raises(StateUnavailable):
            await operation
    await state.close()


async def test_no_more_hold_a_key_than_may(state: State) -> None:
    got = await asyncio.gather(*(state.hold("k1", f"h{n}", 3, 60) for n in range(50)))
    assert sum(got) == 3
    holder = f"h{got.index(True)}"
    assert await state.hold("k1", holder, 3, 60)  # who holds it may go on
    assert not await state.hold("k1", "late", 3, 60)
    await state.let_go("k1", holder)
    assert await state.hold("k1", "late", 3, 60)
    assert await state.hold("other", "late", 1, 60)
    await state.let_go("none", "late")


async def test_who_does_not_renew_holds_no_more(state: State) -> None:
    assert await state.hold("k2", "a", 1, 0.1)
    assert not await state.hold("k2", "b", 1, 60)
    async with asyncio.timeout(5):
        while not await state.hold("k2", "b", 1, 60):  # noqa: ASYNC110  (Redis tells no one)
            await asyncio.sleep(0.005)
    assert not await state.hold("k2", "a", 1, 60)


async def test_a_renewal_counts_from_now(state: State) -> None:
    for _ in range(10):
        assert await state.hold("k3", "a", 1, 0.5)
        await asyncio.sleep(0.1)
    assert not await state.hold("k3", "b", 1, 60)

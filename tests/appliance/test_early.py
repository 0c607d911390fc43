"""Early fills: what is expected, what there is room for, and that they are in nobody's way."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from appliance import early
from appliance.early import FLOOR_BYTES, SHARE, WINDOW_S, Ahead, Budget, named
from appliance.gate import Gate, Grant, Learn
from appliance.shed import Priority
from appliance.tally import Tally
from appliance.want import FileWant
from media import cmcd
from media.fleet import Notices, Purge
from media.inventory import segment_after
from media.keys import Keyring
from tests.appliance.conftest import Standing
from tests.appliance.inside import Inside, inside
from tests.appliance.test_gate import ADDRESS, NOW, Door
from tests.appliance.test_purge import FAR
from tests.appliance.test_serving import get
from tests.appliance.test_wired import metrics

SIZES = {f"{number}.m4s": 20_000 + number for number in range(1, 6)}


def says(following: str) -> bytes:
    return cmcd.raw(b"CMCD=" + quote(f'bl=4000,nor="{following}"').encode(), {})


def test_what_comes_after() -> None:
    assert segment_after("v-avc-720/9.m4s") == "v-avc-720/10.m4s"
    for path in ("v-avc-720/init.mp4", "v-avc-720/files.json", "hls/9.m4s", "9.m4s", "a-x/01.m4s"):
        assert segment_after(path) is None


def test_what_a_player_names_is_in_its_package() -> None:
    said = b'nor=("4.m4s" "4.m4s" "../../../x" "/etc/passwd" "../a-aac-en/4.m4s")'
    assert named("v-avc-720/3.m4s", said) == ("v-avc-720/4.m4s", "a-aac-en/4.m4s")
    assert named("v-avc-720/3.m4s", b"nor") == ()


class Crowd:
    """A gate's package, and sessions that ask for files of it."""

    def __init__(self, folder: Path, *, on: bool = True) -> None:
        self.door = Door(folder)
        self.door.learn_all()
        self.ahead = Ahead(lambda grant, path: self.door.gate.find(grant, path, NOW), on=on)

    def grant(self, **claims: object) -> Grant:
        return Grant(self.door.package.claims(**claims))

    def want(self, path: str) -> FileWant:
        found = self.door.gate.find(self.grant(), f"v-avc-720/{path}", NOW)
        assert found is not None
        return found

    def wishes(self, *used: str) -> list[tuple[str, str]]:
        keys = {self.want(path).key: None for path in used}
        return [(reason, want.path) for reason, want in self.ahead.wishes(keys)]


def test_a_player_s_word_counts_and_else_the_next_segment(tmp_path: Path) -> None:
    crowd, said = Crowd(tmp_path), says("../v-avc-360/2.m4s")
    for tell in (crowd.ahead.heard, crowd.ahead.missed):
        tell(crowd.grant(), crowd.want("1.m4s"), said)
        assert crowd.wishes() == [("said", "v-avc-360/2.m4s")]
    crowd.ahead.heard(crowd.grant(), crowd.want("1.m4s"), b"bl%3D4000")
    assert crowd.wishes() == []  # it is held, and nothing is known of what comes
    crowd.ahead.missed(crowd.grant(), crowd.want("1.m4s"), b"bl%3D4000")
    assert crowd.wishes() == [("next", "v-avc-720/2.m4s")]
    assert crowd.wishes("1.m4s") == []
    assert crowd.wishes("2.m4s") == [("next", "v-avc-720/3.m4s")]  # as expected: so it goes on
    assert crowd.wishes("2.m4s") == []
    assert crowd.wishes("3.m4s") == []  # it was the last


def test_what_a_session_may_not_have_is_not_brought_for_it(tmp_path: Path) -> None:
    crowd = Crowd(tmp_path)
    for paths, claims in [
        (["v-avc-720/9.m4s", "v-hevc-720/1.m4s"], {}),  # the package has none
        (["v-avc-360/2.m4s"], {"renditions": ("v-avc-720",)}),
        (["v-avc-720/2.m4s"], {"expires_s": int(NOW) - 1}),
        (["v-avc-720/2.m4s"], {"scope": "fill"}),
    ]:
        for path in paths:
            crowd.ahead.heard(crowd.grant(**claims), crowd.want("1.m4s"), says(f"../{path}"))
            assert crowd.wishes() == [], path
    crowd.ahead.missed(crowd.grant(scope="fill"), crowd.want("1.m4s"), b"")
    assert crowd.wishes() == []
    purge = Purge(package_id=crowd.door.package.package_id, until=FAR)
    want = crowd.want("1.m4s")
    crowd.door.gate.obey(Notices(version=1, purges=(purge,)), NOW)
    crowd.ahead.missed(crowd.grant(), want, b"")
    assert crowd.ahead.wishes({}) == []


def test_a_list_that_was_not_read_names_nothing(tmp_path: Path) -> None:
    door = Door(tmp_path)
    gate = Gate(Keyring([identity.public for identity in door.keys.values()]))
    grant = Grant(door.package.claims())
    assert gate.find(grant, "v-avc-720/1.m4s", NOW) is None
    asked = gate.decide(
        b"GET", f"/{door.token}/{door.package.base}v-avc-720/1.m4s".encode(), ADDRESS, NOW
    )
    assert isinstance(asked, Learn)
    gate.learn(asked.want, door.package.files[asked.want.path])
    assert gate.find(grant, "v-avc-720/1.m4s", NOW) is None
    assert gate.find(grant, "hls/master.m3u8", NOW) is not None


def test_what_is_remembered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early, "MAX_HEARD", 1)
    monkeypatch.setattr(early, "MAX_WISHES", 2)
    monkeypatch.setattr(early, "MAX_EXPECTED", 1)
    crowd = Crowd(tmp_path)
    for following in ("2.m4s", "3.m4s"):
        crowd.ahead.heard(crowd.grant(), crowd.want("1.m4s"), says(following))
    assert crowd.wishes() == [("said", "v-avc-720/2.m4s")]
    every = " ".join(f'"{n}.m4s"' for n in (1, 2, 3))
    crowd.ahead.heard(crowd.grant(), crowd.want("1.m4s"), f"nor=({every})".encode())
    assert len(crowd.wishes()) == 2
    for path in ("1.m4s", "2.m4s"):
        crowd.ahead.missed(crowd.grant(), crowd.want(path), b"")
    assert len(crowd.wishes()) == 2
    assert crowd.wishes("2.m4s") == []  # another was expected since
    quiet = Crowd(tmp_path / "off", on=False)
    quiet.ahead.heard(quiet.grant(), quiet.want("1.m4s"), says("2.m4s"))
    quiet.ahead.missed(quiet.grant(), quiet.want("1.m4s"), b"")
    assert quiet.wishes() == []


def test_bytes_in_vain_are_a_share_of_those_brought() -> None:
    budget = Budget(10**12, 100.0)  # brought before it was asked
    assert budget.allows(FLOOR_BYTES, 10**12, 100.0)
    budget.begun(FLOOR_BYTES)
    assert not budget.allows(1, 10**12, 100.0)
    assert budget.allows(int(SHARE * 10**9), 10**12 + 10**9, 100.0)
    assert not budget.allows(int(SHARE * 10**9) + 1, 10**12 + 10**9, 100.0)
    budget.used(1000)
    assert budget.allows(int(SHARE * 10**9) + 1000, 10**12 + 10**9, 100.0)
    budget.begun(int(SHARE * 10**9) + 1000)
    assert not budget.allows(1000, 10**12 + 10**9, 100.0)
    for _ in range(100):  # what was in vain is forgotten, and so is what was brought
        assert budget.allows(0, 10**12 + 10**9, 100.0 + WINDOW_S)
    later_s = 100.0 + 20 * WINDOW_S
    assert budget.allows(FLOOR_BYTES - 10, 10**12 + 10**9, later_s)
    assert not budget.allows(FLOOR_BYTES + 10, 10**12 + 10**9, later_s)


async def until(happens: Callable[[], bool]) -> None:
    """It is so. (Counters ring no bell.)"""
    async with asyncio.timeout(5):
        while not happens():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def holds(house: Inside, name: str) -> bool:
    return f"{house.package.package_id}/v-avc-720/{name}" in house.cache


async def test_who_asks_for_what_is_under_way_joins_it(tmp_path: Path) -> None:
    async with inside(tmp_path, SIZES, early_fills=2) as house:
        house.let("2.m4s", 0)
        await house.fetch("1.m4s")
        await until(lambda: house.early.started["next"] == 1)
        started = house.fills.started
        fetching = asyncio.create_task(house.fetch("2.m4s"))
        await until(lambda: house.early.useful["next"] == 1)
        house.let("2.m4s", SIZES["2.m4s"])
        assert (await fetching).endswith(house.data("2.m4s"))
        await until(lambda: holds(house, "3.m4s"))
        assert house.fills.started == started + 1  # the third's
        assert house.early.bytes["next"] == SIZES["2.m4s"] + SIZES["3.m4s"]


async def test_so_many_at_once_and_none_when_there_is_too_much_to_do(tmp_path: Path) -> None:
    async with inside(tmp_path, SIZES, early_fills=1) as house:
        for name in ("2.m4s", "3.m4s", "4.m4s"):
            house.let(name, 0)
        await house.fetch("1.m4s", 'CMCD-Request: nor=("3.m4s" "4.m4s")')
        await until(lambda: house.early.started["said"] == 1)
        house.let("3.m4s", SIZES["3.m4s"])
        await until(lambda: holds(house, "3.m4s"))
        assert house.fills.started == 4  # inventory and list, the first and the third

        async def asked(name: str) -> int:
            """How many early fills begin when this one is asked for."""
            before = house.early.started["next"]
            house.let(name, SIZES[name])
            await house.fetch(name)
            await house.fetch(name)  # the desk has read on
            return house.early.started["next"] - before

        house.board.pressure = 0.9
        house.worker._tick()
        assert await asked("4.m4s") == 0
        assert house.worker.tally[Tally.SHED + Priority.PREFETCH] == 1
        house.cache.remove([f"{house.package.package_id}/v-avc-720/4.m4s"])
        house.worker._let_go()
        house.board.pressure, house.draining = 0.0, True
        house.worker._tick()
        assert await asked("4.m4s") == 0


async def test_a_file_that_left_unused_was_in_vain(tmp_path: Path) -> None:
    async with inside(tmp_path, SIZES, early_fills=1) as house:
        house.cache.changed = lambda key, held: None if held else house.early.lost(key)
        await house.fetch("4.m4s")
        await until(lambda: holds(house, "5.m4s"))
        house.cache.remove([f"{house.package.package_id}/v-avc-720/5.m4s"])
        house.worker._let_go()
        assert (await house.fetch("5.m4s")).endswith(house.data("5.m4s"))
        assert house.early.useful == {"said": 0, "next": 0}


async def test_a_real_appliance_is_ahead_of_its_players(appliance: Standing) -> None:
    package = appliance.package()
    assert appliance.daemon is not None

    async def fetch(name: str, query: str = "") -> str:
        url = appliance.url(package, f"v-avc-720/{name}") + query
        status, body, fields = await get(url)
        assert (status, body) == (200, package.files[f"v-avc-720/{name}"])
        return fields["Cache-Status"]

    async def told(name: str, reason: str, number: int) -> None:
        async with asyncio.timeout(10):
            while (await metrics(appliance))[name, reason] != number:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    assert await fetch("1.m4s") == "north-1; fwd=miss"
    await told("early_fill_bytes_total", "next", len(package.files["v-avc-720/2.m4s"]))
    assert await fetch("2.m4s") == "north-1; hit"
    await told("useful_early_fills_total", "next", 1)
    await told("early_fills_total", "next", 2)  # and on to the third, with the worker's tick
    assert await fetch("1.m4s", "?CMCD=nor%3D%22init.mp4%22") == "north-1; hit"
    await told("early_fill_bytes_total", "said", len(package.files["v-avc-720/init.mp4"]))
    assert await fetch("init.mp4") == "north-1; hit"
    await told("useful_early_fills_total", "said", 1)

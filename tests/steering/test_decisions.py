"""The decision log, and what a replay of it says."""

import asyncio
import json
from pathlib import Path

import pytest

from media.places import Geography, Place
from media.rank import Asked, Candidate, Limits, rank
from steering.decision_log import DecisionLog
from steering.decisions import Seen, decision_line, fleet_line, map_line, replay
from tests.steering_fleet import ATLAS, REGIONS, SITES, Paper, candidate, package_id, session_id
from tests.steering_service import Fleet, P

N1 = Place("north", "n1")
LIMITS = Limits()
GEOGRAPHY = Geography(regions=REGIONS, sites=SITES)
FLEET = [
    candidate("a", capacity_bps=100_000_000), candidate("b", capacity_bps=100_000_000),
    candidate("s", "s1"), candidate("w", "w1"), candidate("far", "n2", held=1.0),
]  # fmt: skip


def log_of(count: int, fleet: list[Candidate] = FLEET) -> list[str]:
    lines = [map_line(GEOGRAPHY, 5_000_000, LIMITS), fleet_line(0.0, fleet)]
    for number in range(count):
        asked = Asked(package_id(number % 7), N1, 3, session_id=session_id(number))
        seen = Seen(Paper(fleet))
        answer = rank(asked, seen, ATLAS)
        lines.append(decision_line(1.0 + number, asked, seen, answer, slow={}, blind=False))
    return lines


def test_without_a_change_every_decision_is_as_it_was() -> None:
    found = replay(log_of(40))
    assert (found.decisions, found.same, found.moved, found.stranded) == (40, 40, 0, 0)
    assert all(share.then == share.now for share in found.by_appliance.values())


def test_an_outage_sends_its_viewers_on_and_loads_their_hosts() -> None:
    lines = log_of(40)
    at_a = sum(json.loads(line)["chosen"][0] == "a" for line in lines[2:])
    found = replay(lines, ["a"])
    assert 0 < at_a < 40
    assert found.by_appliance["a"] == (at_a, 0)
    assert found.moved >= at_a and found.stranded == 0
    assert found.by_appliance["b"].now > found.by_appliance["b"].then
    # Each moved viewer counts 5 Mb/s of 100: one that fills up sends the next ones farther.
    assert found.most_load["b"] <= LIMITS.full_load + 0.05
    both = replay(lines, ["a", "b"])
    assert (both.moved, both.farther) == (40, 40) and "s" in both.by_appliance
    everyone = [one.appliance_id for one in FLEET]
    assert replay(lines, everyone).stranded == 40


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2"),
        ('{"kind": "fleet"}', "line 2"),
        ('{"kind": "fleet", "fleet": [[1]]}', "other figures"),
        ('{"kind": "decision"}', "line 2"),
        ("[]", "line 2"),
    ],
)
def test_what_is_no_log_is_named(line: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replay([map_line(GEOGRAPHY, 0, LIMITS), line])
    with pytest.raises(ValueError, match="begins with a map"):
        replay([fleet_line(0.0, FLEET)])


async def test_files_turn_over_and_each_begins_with_the_map(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    lines = log_of(30)
    log = DecisionLog(path, 40_000, lambda: lines[0], lambda now_s: lines[1])
    for number in range(60):
        log.add(lines[2 + number % 30], 100.0 + number)
        await log.flush()
    files = [path, *(Path(f"{path}.{number}") for number in (1, 2, 3))]
    assert all(file.exists() for file in files) and not Path(f"{path}.4").exists()
    assert sum(file.stat().st_size for file in files) < 48_000
    for file in files:
        assert replay(file.read_text().splitlines()).decisions > 0
    assert log.lost == 0
    nowhere = DecisionLog(tmp_path / "decisions.jsonl" / "x", 40_000, lambda: "", lambda _: "")
    nowhere.add("line", 0.0)
    await nowhere.flush()  # a disk that does not take it costs the lines alone
    assert nowhere.lost == 2


async def test_steering_writes_what_it_decides(fleet: Fleet, tmp_path: Path) -> None:
    await fleet.everyone_reports()
    await fleet.hold("north-2", P)
    firsts = []
    for number in range(5):
        answer = await fleet.rank(client="127.0.1.9", session_id=session_id(number))
        firsts.append(answer.pathways[0].appliance_id)
    await fleet.rank(client="127.0.1.9")  # without a session: a question, not a decision
    log = tmp_path / "steering" / "decisions.jsonl"
    async with asyncio.timeout(5):
        # A file that grows rings no bell.
        while not log.exists() or len(log.read_text().splitlines()) < 7:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    found = replay(log.read_text().splitlines())
    assert (found.decisions, found.same) == (5, 5)
    assert replay(log.read_text().splitlines(), [firsts[0]]).moved == firsts.count(firsts[0])
    assert "127.0.1.9" not in log.read_text()

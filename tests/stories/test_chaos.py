"""`nearcast chaos`: one scenario, short; and that it would say so if viewers were let down."""

from collections import Counter
from pathlib import Path

import pytest

from lab.chaos import SCENARIOS, Outcome, document, run_chaos
from lab.player import Played
from runtime.errors import Problem


async def test_viewers_do_not_notice_an_appliance_that_is_cut_off(tmp_path: Path) -> None:
    outcome = await run_chaos("partition", tmp_path, viewers=3, buffer_s=8, film_s=30)
    said = document(outcome)
    assert said["viewers"] == 6 and said["wrong_bytes"] == 0
    # How long they stood still depends on what else the machine does: `make accept` looks at it.
    assert [one.error for one in outcome.players] == [""] * 6
    assert all(one.position_s == pytest.approx(30, abs=0.3) for one in outcome.players)
    moved = [one for one in outcome.players if outcome.victim in one.segments]
    assert moved and all(one.path[-1][1] != outcome.victim for one in moved)


async def test_an_unknown_scenario_is_named(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="no scenario 'flood'; there are kill, hang"):
        await run_chaos("flood", tmp_path, viewers=1, buffer_s=8)


def test_what_was_not_kept_is_said() -> None:
    fine = Played("north", segments=Counter({"north-1": 9}), stalls_s=[0.2])
    let_down = [
        Played("north", stalls_s=[0.1, 0.8]),
        Played("south", wrong_bytes=7),
        Played("west", error="TimeoutError: no pathway gave x"),
    ]
    outcome = Outcome("kill", "north-1", [fine, *let_down], None, 0)
    assert [text.partition(" (")[0] for text in outcome.complaints] == [
        "player 1", "player 2", "player 3",
    ]  # fmt: skip
    assert document(outcome)["ok"] is False and document(outcome)["longest_stall_s"] == 0.8
    failed = Played("north", failed_requests=1)
    assert Outcome("kill", "", [failed], None, 0).complaints == []
    assert Outcome("drain", "", [failed], None, 0).complaints != []
    assert set(SCENARIOS) == {
        "kill", "hang", "drain", "partition", "steering", "store", "control",
    }  # fmt: skip

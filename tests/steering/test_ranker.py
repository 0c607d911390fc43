"""Answers that are shared: always those that would be given anew."""

import random
from pathlib import Path

import pytest

from media.rank import Limits
from steering.decision_log import DecisionLog
from steering.doubts import Left
from steering.notices import NoticeDesk
from steering.ranker import Ranker
from steering.roster import RosterBook
from steering.throughput import ThroughputBook
from tests.steering_fleet import ATLAS, IN_N1, NOW_S, holdings, package_id, report, session_id

_SITES = {"a1": "n1", "a2": "n1", "a3": "n1", "b1": "s1", "c1": "w1"}
_OFFERED = tuple(_SITES)
_STEPS = 8000


class Town:
    """Two rankers that see the same; one shares answers, the other is asked everything anew."""

    def __init__(self, folder: Path) -> None:
        self.roster = RosterBook(
            ATLAS, report_timeout_s=15, forget_s=3600, session_bps=1_000_000, recovery_s=30
        )
        self.notices = NoticeDesk(folder / "notices.json")
        self.paces = ThroughputBook()
        self.now_s = NOW_S
        self.sequence = dict.fromkeys(_SITES, 0)
        self.held = dict.fromkeys(_SITES, 0)
        log = DecisionLog(folder / "log", 0, lambda: "", lambda now_s: "")
        self.sharing, self.fresh = (
            Ranker(Limits(), ATLAS, self.roster, self.notices, self.paces, log) for _ in range(2)
        )

    async def go_on(self, dice: random.Random) -> None:
        """Something happens, or only time passes."""
        one = dice.choice(_OFFERED)
        match dice.randrange(9):
            case 0 | 1:
                self.sequence[one] += 1
                state = dice.choice(["serving", "serving", "strained", "out", "draining"])
                self.roster.hear(
                    report(
                        one,
                        self.now_s,
                        site=_SITES[one],
                        sequence=self.sequence[one],
                        state=state,
                        load=dice.random(),
                        starved=[
                            {
                                "session_id": session_id(dice.randrange(4)),
                                "starved": 2,
                                "requests": 9,
                            }
                        ]
                        if dice.random() < 0.2
                        else [],
                    ),
                    self.now_s,
                )
            case 2 if self.sequence[one]:
                fraction = dice.choice([0.0, 0.5, 1.0])
                message = holdings(
                    self.held[one],
                    (package_id(dice.randrange(2)), "v-avc-720", fraction),
                    snapshot=self.held[one] == 0,
                )
                self.roster.take(one, message)
                self.held[one] += 1
            case 3:
                await self.notices.drain(one, dice.random() < 0.3)
            case 4:
                self.roster.assign(one, session_id(dice.randrange(50)))
            case 5:
                self.roster.hear_assigned("other", {one: dice.randrange(500)})
            case 6:
                self.paces.hear("192.0.2.0/24", _SITES[one], dice.choice([1e5, 1e6]), self.now_s)
            case 7:
                left = Left(one, session_id(dice.randrange(50)), dice.choice("xyz"), self.now_s)
                self.roster.doubts.hear(left)
            case _:
                self.now_s += dice.choice([0.1, 0.4, 1.1, 1.1, 6.0])


@pytest.mark.parametrize("seed", range(3))
async def test_a_shared_answer_is_the_one_given_anew(tmp_path: Path, seed: int) -> None:
    town, dice, shared = Town(tmp_path), random.Random(seed), 0
    places = [ATLAS.place(IN_N1), ATLAS.place("203.0.113.9")]
    for number in range(_STEPS):
        if number % 8 == 0:
            await town.go_on(dice)
        package, place = package_id(dice.randrange(2)), dice.choice(places)
        current, session = dice.choice([None, "a1", "b1"]), session_id(dice.randrange(4))
        network = "192.0.2.0/24" if place is places[0] else "203.0.113.0/24"
        anew = town.fresh.question(package, place, _OFFERED)
        anew.answers.clear()
        right = town.fresh.priority(anew, current, session, network, town.now_s)
        question = town.sharing.question(package, place, _OFFERED)
        before = question.answers.get(current)
        assert town.sharing.priority(question, current, session, network, town.now_s) == right
        shared += before is not None and question.answers[current] is before
    assert shared > _STEPS / 10

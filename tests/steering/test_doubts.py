"""Players' words against an appliance: how many it takes, and what they can do."""

import pytest

from steering.doubts import PROBE_S, WINDOW_S, Doubts, Left

AT_S = 1000.0


def left(session: int, network: int = 0, at_s: float = AT_S, appliance_id: str = "a1") -> Left:
    return Left(appliance_id, f"ses_{session}", f"192.0.{network}.0/24", at_s)


@pytest.mark.parametrize(
    ("words", "doubt"),
    [
        ([left(n, n % 2) for n in range(5)], "suspected"),
        ([left(n, n % 2) for n in range(4)], ""),  # too few
        ([left(n) for n in range(50)], ""),  # one network
        ([left(0, n) for n in range(50)], ""),  # one session
        ([left(n, n, AT_S - WINDOW_S - 1) for n in range(50)], ""),  # long ago
        ([left(n, n, appliance_id="a2") for n in range(50)], ""),  # about another
    ],
)
def test_it_takes_several_sessions_of_several_networks(words: list[Left], doubt: str) -> None:
    doubts = Doubts()
    doubts.hear_all(words)
    assert doubts.doubt("a1", AT_S) == doubt
    assert ("a1" in doubts.due(AT_S)) == bool(doubt)


def test_a_probe_confirms_or_clears() -> None:
    doubts = Doubts()
    doubts.hear_all(left(n, n) for n in range(5))
    assert doubts.due(AT_S) == ["a1"]
    doubts.probed("a1", True, AT_S)
    assert doubts.doubt("a1", AT_S) == "suspected"  # it answers us, but players still leave it
    assert doubts.due(AT_S + 1) == [] and doubts.due(AT_S + PROBE_S) == ["a1"]
    doubts.probed("a1", False, AT_S + PROBE_S)
    late_s = AT_S + 10 * WINDOW_S
    assert doubts.doubt("a1", late_s) == "failing" and doubts.due(late_s) == ["a1"]
    doubts.probed("a1", True, late_s)
    assert doubts.doubt("a1", late_s) == ""
    doubts.probed("nobody", False, late_s)
    assert doubts.doubt("nobody", late_s) == ""


def test_a_player_that_keeps_away_says_so_once() -> None:
    doubts = Doubts()
    for at_s in range(0, 300, 15):  # hls.js comes back to where it failed after five minutes
        doubts.hear_all(left(n, n, AT_S + at_s) for n in range(5))
    assert doubts.doubt("a1", AT_S + 300) == ""
    assert doubts.words(AT_S + 300) == [] and len(doubts.words(AT_S + 10)) == 5

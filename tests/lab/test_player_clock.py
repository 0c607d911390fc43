"""The clock of a virtual player."""

import pytest

from lab.playhead import Playhead


def test_it_plays_what_it_has_and_counts_what_it_waits() -> None:
    head = Playhead(10.0)
    head.load(0.0, 1.0)
    assert head.state == "starting"
    head.load(4.0, 2.0)
    assert (head.state, head.buffer_s) == ("playing", 4.0)
    head.advance(5.0)
    assert (head.position_s, head.buffer_s) == (3.0, 1.0)
    head.load(6.0, 7.5)  # the media ran out at 6.0
    assert (head.state, head.position_s, head.stalls_s) == ("playing", 4.0, [1.5])
    head.load(99.0, 8.0)
    head.advance(13.0)
    assert (head.state, head.position_s) == ("playing", 9.5)
    head.advance(13.5)
    assert (head.state, head.position_s, head.stalls_s) == ("ended", 10.0, [1.5])


def test_a_stall_that_lasts_counts_as_long_as_it_lasted() -> None:
    head = Playhead(10.0)
    head.load(2.0, 0.0)
    head.end(9.0)
    assert head.stalls_s == pytest.approx([7.0])

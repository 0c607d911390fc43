"""Forged tokens: what is looked into, and what is not."""

from appliance.doubts import FORGED_IN_ALL, FORGED_PER_ADDRESS, Doubts


def test_an_address_that_forges_is_believed_again_the_next_second() -> None:
    doubts = Doubts()
    for _ in range(FORGED_PER_ADDRESS):
        assert doubts.allow("bad", 10.0)
        doubts.refused("bad")
    assert not doubts.allow("bad", 10.9) and doubts.allow("good", 10.9)
    assert doubts.allow("bad", 11.0)


def test_many_forgers_are_too_many_together() -> None:
    doubts = Doubts()
    for number in range(FORGED_IN_ALL):
        assert doubts.allow(str(number), 5.0)
        doubts.refused(str(number))
    assert not doubts.allow("new", 5.5) and doubts.allow("new", 6.0)


def test_sound_tokens_cost_an_address_nothing() -> None:
    doubts = Doubts()
    assert all(doubts.allow("a school", 1.0) for _ in range(10_000))

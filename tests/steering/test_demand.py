"""What viewers take, from cumulative figures. (tests/appliance/test_demand.py has both ends.)"""

import pytest

from media.fleet import Demand, Served
from steering.demand import DemandBook
from tests.steering_fleet import package_id

P, Q = package_id(1), package_id(2)
V = "v-avc-720"


class Told:
    """A book, and what its sink has heard."""

    def __init__(self, most: int = 1000) -> None:
        self.heard: list[tuple[str, str, int]] = []
        self.book = DemandBook(
            lambda region, package, rendition, sent, at_s: self.heard.append(
                (region, package, sent)
            ),
            most,
        )

    def say(
        self, sequence: int, *served: tuple[str, int, int], boot: str = "b", name: str = "north-1"
    ) -> bool:
        message = Demand(
            boot_id=boot,
            sequence=sequence,
            served=tuple(
                Served(package_id=package, rendition_id=V, bytes=sent, told=told)
                for package, sent, told in served
            ),
        )
        return self.book.take(name, name.partition("-")[0], message, 5.0)

    def total(self) -> int:
        return sum(sent for *_, sent in self.heard)


def test_the_sink_hears_of_the_increase() -> None:
    told = Told()
    assert told.say(1, (P, 100, 0), (Q, 7, 0)) and told.say(2, (P, 150, 100))
    assert told.heard == [("north", P, 100), ("north", Q, 7), ("north", P, 50)]


def test_a_message_that_comes_again_or_late_is_no_news() -> None:
    told = Told()
    told.say(1, (P, 100, 0))
    told.say(3, (P, 180, 0))  # the answer to 1 was lost, and 2 is still on its way
    assert not told.say(3, (P, 180, 0)) and not told.say(2, (P, 120, 0))
    assert told.total() == 180


def test_another_boot_counts_from_nothing() -> None:
    told = Told()
    told.say(9, (P, 100, 0))
    assert told.say(1, (P, 30, 0), boot="c")
    assert told.total() == 130
    assert len(told.book) == 1


def test_who_has_never_heard_of_it_counts_from_what_was_told() -> None:
    told = Told()
    told.say(9, (P, 1_000_000, 999_000), (Q, 5, 0))
    assert told.total() == 1_005


def test_a_figure_that_falls_has_begun_anew() -> None:
    """The appliance keeps the renditions that were sent last, and had forgotten this one."""
    told = Told()
    told.say(1, (P, 1_000, 0))
    told.say(2, (P, 40, 0))
    told.say(3, (P, 50, 40))
    assert told.total() == 1_050
    told.say(4, (P, 20, 1_000))  # nonsense: more was told of than there was
    assert told.total() == 1_050


def test_memory_is_bounded_and_what_is_forgotten_is_counted_right() -> None:
    told = Told(most=10)
    many = [package_id(number) for number in range(8)]
    told.say(1, *((one, 10, 0) for one in many))
    told.say(1, *((one, 10, 0) for one in many), name="west-1")
    assert len(told.book) == 8  # the one silent for longer is forgotten
    told.say(2, *((one, 15, 10) for one in many))
    assert told.total() == 8 * (10 + 10 + 5)
    told.say(3, *((package_id(number), 1, 0) for number in range(100, 130)))
    assert len(told.book) == 10
    told.book.forget(["west-1"])
    assert len(told.book) == 0


@pytest.mark.parametrize("figure", [0, -1, 2**60])
def test_figures_are_bounded(figure: int) -> None:
    with pytest.raises(ValueError):
        Served(package_id=P, rendition_id=V, bytes=figure)

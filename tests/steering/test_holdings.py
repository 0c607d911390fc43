"""Snapshots, deltas and gaps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.fleet import MAX_HELD
from runtime.errors import Problem
from steering.holdings import Shelves
from tests.steering_fleet import holdings, package_id

P, Q = package_id(1), package_id(2)
HD, SD = "v-avc-720", "v-avc-360"


def shelves(*held: tuple[str, str, float]) -> Shelves:
    made = Shelves()
    made.take("a1", holdings(5, *held, snapshot=True))
    return made


def test_a_share_is_measured_against_the_widest_copy() -> None:
    made = shelves((P, HD, 1.0))
    assert made.share("a1", P) == 1.0
    made.take("a2", holdings(0, (P, HD, 1.0), (P, SD, 0.5), snapshot=True))
    assert made.share("a1", P) == 0.5
    assert made.share("a2", P) == 0.75
    assert made.share("a1", Q) == made.share("nobody", P) == 0.0
    assert made.whole_packages("a1") == 0
    made.take("a2", holdings(1, (P, SD, 1.0)))
    assert made.whole_packages("a2") == 1


def test_deltas_follow_the_snapshot() -> None:
    made = shelves((P, HD, 1.0))
    assert made.take("a1", holdings(6, (P, HD, 0.0), (Q, SD, 0.2)))
    assert made.share("a1", P) == 0.0
    assert made.share("a1", Q) == 0.2


@pytest.mark.parametrize(("sequence", "boot_id"), [(7, "boot-1"), (6, "boot-2"), (0, "boot-2")])
def test_a_gap_asks_for_a_snapshot(sequence: int, boot_id: str) -> None:
    made = shelves((P, HD, 1.0))
    with pytest.raises(Problem) as caught:
        made.take("a1", holdings(sequence, (Q, HD, 1.0), boot_id=boot_id))
    assert caught.value.code == "holdings_gap"
    assert made.share("a1", P) == 1.0
    assert made.share("a1", Q) == 0.0


def test_a_delta_before_any_snapshot_is_a_gap() -> None:
    with pytest.raises(Problem):
        Shelves().take("a1", holdings(0, (P, HD, 1.0)))


def test_what_comes_late_is_ignored_and_what_comes_again_is_applied() -> None:
    made = shelves((P, HD, 1.0))
    assert not made.take("a1", holdings(4, (P, HD, 0.0)))
    assert not made.take("a1", holdings(4, snapshot=True))
    assert made.share("a1", P) == 1.0
    # The answer to delta 6 was lost, so it comes again, with more in it.
    made.take("a1", holdings(6, (P, HD, 0.5)))
    assert made.take("a1", holdings(6, (P, HD, 0.5), (Q, HD, 1.0)))
    assert made.share("a1", Q) == 1.0


def test_a_new_boot_starts_with_its_snapshot() -> None:
    made = shelves((P, HD, 1.0))
    assert made.take("a1", holdings(0, (Q, HD, 1.0), snapshot=True, boot_id="boot-2"))
    assert made.share("a1", P) == 0.0


def test_a_shelf_is_bounded() -> None:
    made = shelves()
    shelf = made.get("a1")
    assert shelf is not None
    shelf.size = MAX_HELD
    with pytest.raises(Problem) as caught:
        made.take("a1", holdings(6, (P, HD, 1.0)))
    assert caught.value.code == "invalid_field"


changes = st.tuples(
    st.sampled_from([P, Q]), st.sampled_from([HD, SD]), st.sampled_from([0.0, 0.5, 1.0])
)


@given(st.lists(st.lists(changes, max_size=4), max_size=6))
def test_deltas_and_a_snapshot_come_to_the_same(
    batches: list[list[tuple[str, str, float]]],
) -> None:
    by_deltas = Shelves()
    by_deltas.take("a1", holdings(0, snapshot=True))
    for number, batch in enumerate(batches, 1):
        by_deltas.take("a1", holdings(number, *batch))
    shelf = by_deltas.get("a1")
    assert shelf is not None
    truth = {(p, r): f for batch in batches for p, r, f in batch}
    held = {(h.package_id, h.rendition_id): h.fraction for h in shelf.snapshot().held}
    assert held == {key: fraction for key, fraction in truth.items() if fraction > 0}
    assert shelf.size == len(held)

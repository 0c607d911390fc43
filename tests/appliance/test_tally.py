"""The layout of a worker's tally."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.shed import Priority
from appliance.tally import BOUNDS_S, BUCKETS, TALLY_WORDS, Tally, histogram, note


def test_words_do_not_overlap() -> None:
    assert Tally.SHED - Tally.ANSWERS == 6  # 0xx to 5xx
    assert len(Priority) == Tally.BEAT_US - Tally.SHED
    assert Tally.FILL - Tally.HIT == TALLY_WORDS - Tally.FILL == 1 + BUCKETS
    assert len(BOUNDS_S) == BUCKETS - 1


@given(st.integers(-10, 2**63))
def test_a_latency_is_counted_below_its_bound(us: int) -> None:
    words = [0] * TALLY_WORDS
    note(words, Tally.FILL, us)
    told = histogram(words, Tally.FILL)
    assert sum(told.counts) == 1 and told.sum_us == max(0, us)
    assert histogram(words, Tally.HIT).sum_us == sum(histogram(words, Tally.HIT).counts) == 0
    bucket = told.counts.index(1)
    lower = BOUNDS_S[bucket - 1] if bucket else 0.0
    upper = BOUNDS_S[bucket] if bucket < BUCKETS - 1 else float("inf")
    assert lower <= max(0, us) / 1e6 < upper


def test_the_words_fit_a_row_of_unsigned_words() -> None:
    row = memoryview(bytearray(8 * TALLY_WORDS)).cast("Q")
    note(row, Tally.HIT, 12)
    note(row, Tally.HIT, 100)
    later = histogram(row, Tally.HIT)
    note(row, Tally.HIT, 100)
    since = histogram(row, Tally.HIT).minus(later)
    assert sum(since.counts) == 1 and since.sum_us == 100

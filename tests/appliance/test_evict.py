"""LRU against a plain model."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.evict import Lru

KEYS = st.sampled_from("abcdef")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), KEYS, st.integers(1, 50), st.booleans()),
        st.tuples(st.just("touch"), KEYS),
        st.tuples(st.just("pin"), KEYS, st.booleans()),
        st.tuples(st.just("remove"), KEYS),
        st.tuples(st.just("victims"), st.integers(1, 100)),
    ),
    max_size=60,
)


@given(STEPS)
def test_it_evicts_the_oldest_and_counts_right(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    lru, order, sizes, pinned = Lru(), [], {}, set()
    for step in steps:
        match step:
            case ("insert", key, size, pin):
                lru.insert(key, size, pinned=pin)
                order = [k for k in order if k != key] + [key]
                sizes[key] = size
                pinned = pinned | {key} if pin else pinned - {key}
            case ("touch", key):
                lru.touch(key)
                if key in sizes and key not in pinned:
                    order = [k for k in order if k != key] + [key]
            case ("pin", key, pin):
                lru.pin(key, pin)
                if key in sizes and (key in pinned) != pin:
                    order = [k for k in order if k != key] + [key]
                    pinned = pinned | {key} if pin else pinned - {key}
            case ("remove", key):
                assert lru.remove(key) == sizes.pop(key, 0)
                order = [k for k in order if k != key]
                pinned = pinned - {key}
            case ("victims", amount):
                expected = []
                for key in [k for k in order if k not in pinned]:
                    if amount <= 0:
                        break
                    amount -= sizes.pop(key)
                    expected.append(key)
                    order = [k for k in order if k != key]
                assert lru.victims(step[1]) == expected
        assert set(lru) == set(sizes) and len(lru) == len(sizes)
        assert lru.used_bytes == sum(sizes.values())
        assert lru.pinned_bytes == sum(sizes[k] for k in pinned)

"""All policies keep the same promises; each is itself; and the better ones are better."""

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.admit import Seen
from appliance.evict import Admission, Lru, PolicyName, Ration, S3Fifo, Sieve, make_policy
from appliance.index import NIL, PINNED, Index
from lab.replay import Cache
from lab.trace import Request
from tests.appliance.cache_trace import TOTAL_BYTES, miss_bytes, requests

POLICIES: list[tuple[PolicyName, Admission]] = [
    ("lru", "all"),
    ("lru", "second_hit"),
    ("sieve", "all"),
    ("sieve", "second_hit"),
    ("s3fifo", "all"),
]
KEYS = st.sampled_from([f"pkg/v/{name}" for name in "abcdefgh"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), KEYS, st.integers(0, 50), st.booleans()),
        st.tuples(st.just("find"), KEYS, st.integers(0, 50), st.booleans()),
        st.tuples(st.just("touch"), KEYS),
        st.tuples(st.just("pin"), KEYS, st.booleans()),
        st.tuples(st.just("remove"), KEYS),
        st.tuples(st.just("victims"), st.integers(1, 100), st.integers(1, 8)),
    ),
    max_size=80,
)


@pytest.mark.parametrize("policy", POLICIES)
@given(steps=STEPS)
def test_what_every_policy_promises(
    policy: tuple[PolicyName, Admission],
    steps: list[tuple],  # type: ignore[type-arg]
) -> None:
    """Bytes are right, pinned files are never chosen, and no file is lost or counted twice."""
    index = Index()
    ration = Ration(index, make_policy(*policy, index, 10_000_000))
    held: dict[str, int] = {}
    pinned: set[str] = set()
    for step in steps:
        key = step[1]
        match step:
            case ("insert" | "find" as verb, key, size, pin) if key not in held:
                ration.insert(index.add(key, size, 0), pinned=pin, found=verb == "find")
                held[key] = size
                pinned |= {key} if pin else set()
            case ("touch", key) if key in held:
                ration.touch(index.find(key))
            case ("pin", key, pin) if key in held:
                ration.pin(index.find(key), pin)
                pinned = pinned | {key} if pin else pinned - {key}
            case ("remove", key) if key in held:
                ration.remove(index.find(key))
                index.drop(index.find(key))
                del held[key]
                pinned.discard(key)
            case ("victims", amount, at_most):
                slots = ration.victims(amount, at_most)
                chosen = [index.key(slot) for slot in slots]
                assert len(set(chosen)) == len(chosen) <= at_most
                assert not set(chosen) & pinned and set(chosen) <= held.keys()
                freed = sum(held[key] for key in chosen)
                enough = freed >= amount or len(chosen) == at_most
                assert enough or len(held) - len(chosen) == len(pinned)
                assert not chosen or freed - held[chosen[-1]] < amount  # and not one too many
                for slot, key in zip(slots, chosen, strict=True):
                    index.drop(slot)
                    del held[key]
        assert sorted(index) == sorted(held)
        assert ration.used_bytes == sum(held.values())
        assert ration.pinned_bytes == sum(held[key] for key in pinned)
        assert {key for key in held if index.flags[index.find(key)] & PINNED} == pinned
    rest = ration.victims(10**9, 100)
    assert {index.key(slot) for slot in rest} == held.keys() - pinned


@pytest.mark.parametrize("policy", POLICIES)
def test_the_budget_is_kept_over_a_trace(policy: tuple[PolicyName, Admission]) -> None:
    name, admission = policy
    cache = Cache(name, TOTAL_BYTES // 50, admission=admission)
    for key, size in islice(requests(3), 5_000):
        cache.ask(Request(0.0, key, size))
        assert cache.held_bytes <= TOTAL_BYTES // 50
    counts = cache.counts
    assert counts.bytes - counts.hit_bytes - counts.evicted_bytes == cache.held_bytes


def _of(policy: type[Lru] | type[Sieve], names: str) -> tuple[Index, Lru | Sieve]:
    index = Index()
    made = policy(index)
    for name in names:
        made.insert(index.add(f"p/{name}", 1, 0))
    return index, made


def _next(index: Index, policy: Lru | Sieve | S3Fifo) -> str:
    slot = policy.victim()
    if slot == NIL:
        return ""
    name = index.key(slot).removeprefix("p/")
    index.drop(slot)
    return name


def test_lru_takes_the_least_recently_used() -> None:
    index, lru = _of(Lru, "abcd")
    lru.touch(index.find("p/a"))
    lru.insert_oldest(index.add("p/z", 1, 0))
    assert [_next(index, lru) for _ in range(6)] == ["z", "b", "c", "d", "a", ""]


def test_sieve_s_hand_leaves_used_files_where_they_are() -> None:
    """The paper's figure: the hand passes visited files, clears them, and goes on from there."""
    index, sieve = _of(Sieve, "abcde")
    for name in "abd":
        sieve.touch(index.find(f"p/{name}"))
    assert _next(index, sieve) == "c"
    sieve.insert(index.add("p/f", 1, 0))
    assert _next(index, sieve) == "e"  # d is passed
    sieve.touch(index.find("p/a"))
    assert [_next(index, sieve) for _ in range(5)] == ["f", "b", "d", "a", ""]


def test_sieve_s_hand_survives_what_is_removed_under_it() -> None:
    index, sieve = _of(Sieve, "abcd")
    sieve.touch(index.find("p/a"))
    assert _next(index, sieve) == "b"  # the hand is at c
    for name in "cd":
        slot = index.find(f"p/{name}")
        sieve.remove(slot)
        index.drop(slot)
    assert [_next(index, sieve), _next(index, sieve)] == ["a", ""]


def test_s3fifo_lets_in_what_was_used_twice_or_comes_again() -> None:
    index = Index()
    policy = S3Fifo(index, 100, 20)  # the small queue is full with two, the names weigh 18
    for name in "ab":
        policy.insert(index.add(f"p/{name}", 1, 0))
    policy.touch(index.find("p/a"))
    for _ in range(2):
        policy.touch(index.find("p/b"))
    assert _next(index, policy) == "a"
    policy.insert(index.add("p/c", 1, 0))
    assert _next(index, policy) == "c"  # b has passed
    for name in "ac":
        policy.insert(index.add(f"p/{name}", 1, 0))
    policy.insert(index.add("p/d", 1, 0))
    assert [_next(index, policy) for _ in range(5)] == ["d", "b", "a", "c", ""]


def test_s3fifo_s_main_queue_takes_what_comes_before_anything_had_to_leave() -> None:
    index = Index()
    policy = S3Fifo(index, 100, 20)
    for name in "abcdef":
        policy.insert(index.add(f"p/{name}", 1, 0))
    assert [_next(index, policy) for _ in range(2)] == ["a", "b"]
    for name in "ghi":
        policy.insert(index.add(f"p/{name}", 1, 0))
    assert [_next(index, policy) for _ in range(3)] == ["g", "h", "i"]
    assert _next(index, policy) == "c"


def test_s3fifo_s_queues_share_what_the_plan_leaves() -> None:
    """Of 20 bytes 10 are pinned: the main queue has nine of the others, the small one gives way."""
    index = Index()
    ration = Ration(index, S3Fifo(index, 100, 20))
    ration.insert(index.add("p/pinned", 10, 0), pinned=True)
    for number in range(10):
        ration.insert(index.add(f"p/{number}", 1, 0))
    ration.insert(index.add("p/late", 1, 0))
    left = [index.key(slot) for slot in ration.victims(3, 3)]
    assert left == ["p/1", "p/0", "p/2"]


def test_second_hit_keeps_newcomers_on_probation() -> None:
    """One scan of new files pushes out nothing that was used twice; who returns has passed."""
    index = Index()
    ration = Ration(index, make_policy("lru", "second_hit", index, 10_000))
    for name in "abcd":
        slot = index.add(f"p/{name}", 1, 0)
        ration.insert(slot)
        ration.touch(slot)
    for name in "efgh":  # a restart found them: they are no newcomers
        ration.insert(index.add(f"p/{name}", 1, 0), found=True)
    for number in range(100):
        ration.insert(index.add(f"p/{number}", 1, 0))
        for victim in ration.victims(ration.used_bytes - 10, 10):
            index.drop(victim)
    assert {f"p/{name}" for name in "abcdefgh"} <= set(index)
    returning = index.add("p/50", 1, 0)  # its name is remembered
    ration.insert(returning)
    for number in range(100, 200):
        ration.insert(index.add(f"p/{number}", 1, 0))
        for victim in ration.victims(ration.used_bytes - 10, 10):
            index.drop(victim)
    assert "p/50" in index


def test_what_was_seen_is_forgotten_in_turn() -> None:
    seen = Seen(1_000)
    names = [name * 0x9E3779B97F4A7C15 % 2**64 for name in range(10_000)]
    for name in names:
        seen.add(name)
    assert not any(seen.pop(name) for name in names[:9_000])
    assert all(seen.pop(name) for name in names[9_000:])
    assert not any(seen.pop(name) for name in names)  # each is told once


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(("add", "pop")), st.integers(0, 12), st.integers(0, 9)),
        max_size=60,
    )
)
def test_what_was_seen_is_a_queue_of_names_by_weight(steps: list[tuple[str, int, int]]) -> None:
    """As the plainest list would have it; names crowd one another in the table, or are far off."""
    seen, plain = Seen(64), dict[int, int]()
    for verb, number, size in steps:
        name = number % 3 * 16 + number // 3 * 2**40
        if verb == "pop":
            assert seen.pop(name) == (plain.pop(name, None) is not None)
        else:
            plain.pop(name, None)
            while sum(plain.values()) + size > 20:
                del plain[next(iter(plain))]
            plain[name] = size
            seen.add(name, size, 20)
        assert seen.bytes == sum(plain.values()) <= 20


# Byte miss ratios on the trace of cache_trace.py at 3 % of all bytes, where the order of
# STANDARDS.md shows: LRU, SIEVE, S3-FIFO; and second-hit admission helps LRU. The trace cannot do
# better than 0.214, the first request of each file.
GOLDEN = {
    ("lru", "all"): 0.673,
    ("lru", "second_hit"): 0.635,
    ("sieve", "all"): 0.598,
    ("sieve", "second_hit"): 0.582,
    ("s3fifo", "all"): 0.567,
}


@pytest.mark.parametrize("policy", POLICIES)
def test_how_good_each_policy_is(policy: tuple[PolicyName, Admission]) -> None:
    assert round(miss_bytes(*policy, TOTAL_BYTES * 3 // 100), 3) == GOLDEN[policy]


def test_the_order_is_the_known_one() -> None:
    assert [name for name, _ in sorted(GOLDEN.items(), key=lambda item: -item[1])] == POLICIES

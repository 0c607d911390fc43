"""The index against a plain dict, and its queues against lists."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.index import FRESH, NIL, Index, Queue

KEYS = st.builds(
    lambda package, folder, name: f"{package}/{folder}{name}",
    st.sampled_from(["pkg_a", "pkg_b"]),
    st.sampled_from(["", "v/", "w/x/"]),
    st.sampled_from(["1.m4s", "2.m4s", "inventory.json"]),
)
STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "drop"]), KEYS, st.integers(0, 2**40)), max_size=60
)


@given(STEPS)
def test_it_knows_what_is_held_and_nothing_else(steps: list[tuple[str, str, int]]) -> None:
    index, held = Index(), dict[str, int]()
    for verb, key, size in steps:
        slot = index.find(key)
        assert (slot != NIL) == (key in held)
        if verb == "add" and slot == NIL:
            slot = index.add(key, size, size % 3)
            assert index.flags[slot] == index.marks[slot] == 0
            index.flags[slot] |= FRESH
            held[key] = size
        elif verb == "drop" and slot != NIL:
            index.drop(slot)
            del held[key]
        assert len(index) == len(held) and sorted(index) == sorted(held)
        for name, bytes_ in held.items():
            slot = index.find(name)
            assert index.key(slot) == name and index.sizes[slot] == bytes_
            assert index.shelf[slot] == bytes_ % 3 and index.flags[slot] == FRESH
    # What is free is used again, and names that nobody has are forgotten.
    assert len(index.sizes) - 1 <= 18 and len(index._names) <= 3
    for key in held:
        index.drop(index.find(key))
    assert index.directories() == [] and not index._name_numbers


@given(
    st.lists(
        st.tuples(st.sampled_from(["push", "push_oldest", "remove", "pop"]), st.integers(0, 5)),
        max_size=60,
    )
)
def test_a_queue_is_a_list(steps: list[tuple[str, int]]) -> None:
    index = Index()
    slots = [index.add(f"pkg/{number}", number + 1, 0) for number in range(6)]
    queue, row = Queue(index), list[int]()  # the oldest first
    for verb, number in steps:
        slot = slots[number]
        match verb:
            case "push" if slot not in row:
                queue.push(slot)
                row.append(slot)
            case "push_oldest" if slot not in row:
                queue.push_oldest(slot)
                row.insert(0, slot)
            case "remove" if slot in row:
                queue.remove(slot)
                row.remove(slot)
            case "pop":
                assert queue.pop() == (row.pop(0) if row else NIL)
        assert list(queue) == row and queue.count == len(row)
        assert queue.bytes == sum(index.sizes[slot] for slot in row)
        assert (queue.oldest, queue.newest) == ((row[0], row[-1]) if row else (NIL, NIL))

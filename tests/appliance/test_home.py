"""Who brings a file for a site."""

from collections import Counter
from itertools import permutations

from appliance.home import home_of, went_through

SITE = ("north-1", "north-2", "north-10")
KEYS = [f"pkg_x/v-avc-720/{number}.m4s" for number in range(3000)]


def test_all_who_know_the_same_members_agree() -> None:
    for key in KEYS[:20]:
        assert len({home_of(key, members) for members in permutations(SITE)}) == 1


def test_homes_are_spread_and_stay() -> None:
    homes = {key: home_of(key, SITE) for key in KEYS}
    assert all(800 < count < 1200 for count in Counter(homes.values()).values())
    for key, home in homes.items():
        if home != "north-2":
            assert home_of(key, ("north-1", "north-10")) == home


def test_a_loop_is_seen_and_a_longer_name_is_none() -> None:
    assert went_through(b"nearcast; id=north-1", b"north-1")
    assert went_through(b"other; id=x, nearcast;id=north-1", b"north-1")
    assert not went_through(b"nearcast; id=north-10", b"north-1")
    assert not went_through(b"", b"north-1")

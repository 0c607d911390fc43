"""Who brings a file for a site."""

from collections import Counter
from collections.abc import Sequence
from itertools import permutations

from appliance.home import Asker, went_through, whom_to_ask
from media.homes import home_of, tier_home_of
from media.places import Atlas, Place, Region, Site
from media.rank import Asked, Candidate, Limits, Standing, order, standings

SITE = {"north-1": 10**9, "north-2": 10**9, "north-10": 10**9}
PACKAGES = [f"pkg_{number}" for number in range(3000)]


def test_all_who_know_the_same_members_agree() -> None:
    for package in PACKAGES[:20]:
        homes = {home_of(package, dict(members)) for members in permutations(SITE.items())}
        assert len(homes) == 1


def test_homes_are_spread_by_capacity_and_stay() -> None:
    homes = {package: home_of(package, SITE) for package in PACKAGES}
    assert all(800 < count < 1200 for count in Counter(homes.values()).values())
    for package, home in homes.items():
        if home != "north-2":
            assert home_of(package, {"north-1": 10**9, "north-10": 10**9}) == home
    larger = Counter(home_of(package, SITE | {"north-2": 2 * 10**9}) for package in PACKAGES)
    assert 1350 < larger["north-2"] < 1650


def test_the_home_is_where_viewers_are_sent_first() -> None:
    atlas = Atlas([Region(id="r", name="R", latitude=0, longitude=0)], [Site(id="s", region="r")])
    site = [
        Candidate(name, "s", "", name, "serving", "none", 0.0, 0.0, False, 0.1, capacity_bps)
        for name, capacity_bps in {"a": 10**9, "b": 4 * 10**9, "c": 2 * 10**9}.items()
    ]
    fleet = FakeFleet({"s": standings(site, Limits())})
    for package in PACKAGES[:300]:
        first, *_ = order(Asked(package, Place("r", "s")), fleet, atlas.rings(Place("r", "s")))
        assert first == home_of(package, {one.appliance_id: one.capacity_bps for one in site})


class FakeFleet(dict[str, Sequence[Standing]]):
    """Appliances that hold nothing."""

    at = dict.__getitem__

    def held(self, appliance_id: str) -> float:
        return 0.0

    def holds(self, site: str) -> bool:
        return False


def test_a_loop_is_seen_and_a_longer_name_is_none() -> None:
    assert went_through(b"nearcast; id=north-1", b"north-1")
    assert went_through(b"other; id=x, nearcast;id=north-1", b"north-1")
    assert not went_through(b"nearcast; id=north-10", b"north-1")
    assert not went_through(b"", b"north-1")


REGION = {"north": SITE, "south": {"south-1": 10**9, "south-2": 3 * 10**9}, "east": {"e": 10**9}}


def test_a_region_has_one_home_for_a_package_and_it_is_its_sites_home() -> None:
    for package in PACKAGES[:300]:
        home = tier_home_of(package, REGION)
        (site,) = (one for one, members in REGION.items() if home in members)
        assert home == home_of(package, REGION[site])
    sites = Counter(
        next(one for one, members in REGION.items() if tier_home_of(package, REGION) in members)
        for package in PACKAGES
    )
    assert sites["north"] < sites["south"]  # it can send more
    assert 250 < sites["east"] < 500


def test_nobody_waits_in_a_circle() -> None:
    """Whoever is asked to bring asks only those who wait for fewer."""
    for package in PACKAGES[:300]:
        for site, members in REGION.items():
            for own in members:
                way, asker = [own], Asker.OURS
                where = site
                while (found := whom_to_ask(package, way[-1], where, REGION, asker)) is not None:
                    name, then = found
                    assert then > asker
                    assert name not in way
                    way.append(name)
                    asker = then
                    where = next(one for one, group in REGION.items() if name in group)
                assert way[-1] == tier_home_of(package, REGION)
                assert len(way) <= 3


def test_views_that_differ_still_end() -> None:
    """The home by one's view may see another home; it is asked as one, and asks no further."""
    assert whom_to_ask("pkg", "north-1", "north", {"north": SITE}, Asker.SITE) is None
    assert whom_to_ask("pkg", "e", "east", REGION, Asker.TIER) is None

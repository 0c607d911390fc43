"""Where viewers are, and how near sites are to them."""

import pytest

from media.places import Atlas, Place, Route, Site, great_circle_km
from runtime.errors import Problem
from runtime.settings import load
from steering.settings import SteeringSettings
from tests.steering_fleet import ATLAS, IN_N1, REGIONS, SITES


@pytest.mark.parametrize(
    ("client", "region", "place"),
    [
        (IN_N1, None, Place("north", "n1")),
        ("::ffff:192.0.2.7", None, Place("north", "n1")),
        ("2001:db8:1::7", None, Place("north", "n1")),
        (
            "127.0.0.1",
            None,
            Place("north", None),
        ),  # nobody's network: the default region, two sites
        (None, None, Place("north", None)),
        (None, "north", Place("north", None)),
        (None, "south", Place("south", "s1")),  # the only site there
        (IN_N1, "north", Place("north", "n1")),
        (IN_N1, "west", Place("west", "w1")),  # a simulated region overrules the address
    ],
)
def test_place(client: str | None, region: str | None, place: Place) -> None:
    assert ATLAS.place(client, region) == place


def test_an_unknown_region_is_an_error() -> None:
    with pytest.raises(KeyError):
        ATLAS.place(None, "east")


def test_nearness_is_site_then_fallbacks_then_region_then_distance() -> None:
    place = Place("north", "n1")
    order = sorted(SITES, key=lambda site: ATLAS.nearness(place, site.id).steps)
    assert [site.id for site in order] == ["n1", "s1", "n2", "w1"]
    assert [ATLAS.nearness(place, site.id).why for site in order] == [
        "same site",
        "fallback 1 of n1",
        "same region",
        "1267 km away",
    ]


def test_distance_matches_a_published_one() -> None:
    # Oslo to Madrid and Oslo to Dublin, from their coordinates.
    north, south, west = REGIONS
    assert great_circle_km(north, south) == pytest.approx(2390, abs=15)
    assert great_circle_km(north, west) == pytest.approx(1270, abs=15)
    assert great_circle_km(north, north) == 0


@pytest.mark.parametrize(
    ("sites", "words"),
    [
        ((Site(id="a", region="east"),), "no region 'east'"),
        ((Site(id="a", region="north", fallbacks=("b",)),), "'b' is no fallback"),
        ((Site(id="a", region="north", fallbacks=("a",)),), "'a' is no fallback"),
        ((Site(id="a", region="north"), Site(id="a", region="south")), "twice"),
        ((Site(id="a", region="north", networks=("10.0.0.1/8",)),), "host bits"),
    ],
)
def test_contradictions_are_refused(sites: tuple[Site, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Atlas(REGIONS, sites)


def test_the_default_settings_place_each_documented_network() -> None:
    atlas = SteeringSettings().atlas()
    for site, addresses in {
        "north": ("127.0.1.9", "192.0.2.9", "2001:db8:1::9"),
        "south": ("127.0.2.9", "198.51.100.9", "2001:db8:2::9"),
        "west": ("127.0.3.9", "203.0.113.9", "2001:db8:3::9"),
    }.items():
        assert {atlas.place(address).site for address in addresses} == {site}
    assert atlas.place("127.0.0.1") == Place("north", "north")


def test_settings_with_contradictions_are_one_sentence() -> None:
    with pytest.raises(Problem, match="no region 'east'"):
        load(SteeringSettings, "steering", flags={"default_region": "east"}, environ={})


def test_several_sites_may_serve_a_network() -> None:
    routes = [
        Route(network="100.64.0.0/16", site="w1", path_length=3, med=5),
        Route(network="100.64.0.0/16", site="n2", path_length=2, med=50),
        Route(network="100.64.0.0/16", site="s1", path_length=2, med=10),
        Route(network="100.64.7.0/24", site="n1"),
        Route(network="192.0.2.0/24", site="w1", path_length=1),  # which is n1's own, too
    ]
    atlas = Atlas(REGIONS, SITES, routes=routes)
    place = atlas.place("100.64.1.1")
    assert place == Place("south", "s1", ("n2", "w1"))
    assert [(near.steps, sites) for near, sites in atlas.rings(place)][:3] == [
        (0, ("s1",)), (1, ("n2",)), (2, ("w1",)),
    ]  # fmt: skip
    assert atlas.place("100.64.7.1") == Place("north", "n1")
    assert atlas.place(IN_N1) == Place("north", "n1", ("w1",))
    assert [near.steps for near, sites in atlas.rings(atlas.place(IN_N1)) if "s1" in sites] == [2]
    assert atlas.network("100.64.1.1") == "100.64.0.0/16"
    assert atlas.network("8.8.8.8") == "8.8.8.0/24"
    with pytest.raises(ValueError, match="no site 'x1'"):
        Atlas(REGIONS, SITES, routes=[Route(network="10.0.0.0/8", site="x1")])
    with pytest.raises(ValueError, match="twice at one site"):
        Atlas(REGIONS, SITES, routes=[Route(network="192.0.2.0/24", site="n1")])


def test_an_address_that_nobody_serves_is_where_geography_has_it() -> None:
    where = {"8.8.8.8": (41.0, -4.0), "9.9.9.9": None}
    atlas = Atlas(REGIONS, SITES, locate=where.get)
    assert atlas.place("8.8.8.8") == Place("south", "s1")
    assert atlas.place("9.9.9.9") == Place("north", None)
    assert atlas.place("8.8.8.8", "west") == Place("west", "w1")


def test_rings_hold_every_site_once_the_nearest_first() -> None:
    for place in (Place("north", "n1"), Place("north", None), Place("west", "w1")):
        rings = ATLAS.rings(place)
        assert sorted(site for _, sites in rings for site in sites) == ["n1", "n2", "s1", "w1"]
        assert [near.steps for near, _ in rings] == sorted({near.steps for near, _ in rings})
    assert ATLAS.rings(Place("north", "n1"), ("w1", "n1")) == (
        ATLAS.rings(Place("north", "n1"))[0], ATLAS.rings(Place("north", "n1"))[3],
    )  # fmt: skip

"""Plans: the newest packages that fit, and whom to ask first."""

from hypothesis import given
from hypothesis import strategies as st

from steering.placement import MAX_PEERS, PlanVersions, Wanting, peers, plan
from steering.roster import Member
from tests.steering_fleet import ATLAS, package

MEMBERS = tuple(
    Member(name, site, f"http://{name}.example:8090")
    for name, site in {"a1": "n1", "a2": "n1", "b": "s1", "c": "w1", "d": "n2"}.items()
)
WANTING = Wanting("a1", "n1", 1_000_000)
NEWEST_FIRST = [package(number) for number in range(20, 0, -1)]


def test_the_newest_come_first_while_the_share_of_the_budget_lasts() -> None:
    made = plan(WANTING, NEWEST_FIRST, MEMBERS, ATLAS, share=0.8)
    assert [item.package_id for item in made.items] == [
        package(number).package_id for number in range(20, 12, -1)
    ]
    assert {item.renditions for item in made.items} == {None}


def test_what_does_not_fit_is_left_out_and_the_purged_too() -> None:
    packages = [package(3, 900_000), package(2, 700_000), package(1, 100_000)]
    made = plan(WANTING, packages, (), ATLAS, share=0.8, purged={packages[2].package_id})
    assert [item.package_id for item in made.items] == [packages[1].package_id]


def test_peers_are_of_the_site_first_then_by_nearness_and_never_oneself() -> None:
    made = peers(WANTING, MEMBERS, ATLAS)
    assert [peer.appliance_id for peer in made] == ["a2", "b", "d", "c"]
    assert made[0].url == "http://a2.example:8090"


def test_askers_of_one_site_do_not_all_ask_the_same_peer() -> None:
    members = tuple(Member(f"a{n}", "n1", f"http://a{n}:1") for n in range(400))
    lists = [peers(Wanting(f"x{n}", "n1", 0), members, ATLAS) for n in range(20)]
    assert len({asked[0] for asked in lists}) > 10
    assert {len(asked) for asked in lists} == {MAX_PEERS}


def test_the_version_names_the_content() -> None:
    made = plan(WANTING, NEWEST_FIRST, MEMBERS, ATLAS, share=0.8)
    again = plan(WANTING, NEWEST_FIRST, reversed(MEMBERS), ATLAS, share=0.8)
    assert made == again
    assert len(made.version) == 16
    fewer = plan(WANTING, NEWEST_FIRST, MEMBERS[:-1], ATLAS, share=0.8)
    older = plan(WANTING, NEWEST_FIRST[1:], MEMBERS, ATLAS, share=0.8)
    assert len({made.version, fewer.version, older.version}) == 3


def test_a_known_version_needs_the_same_inputs() -> None:
    versions = PlanVersions()
    assert versions.find(WANTING, "r1", MEMBERS) is None
    versions.keep("v1", WANTING, "r1", MEMBERS)
    assert versions.find(WANTING, "r1", MEMBERS) == "v1"
    assert versions.find(WANTING, "r2", MEMBERS) is None
    assert versions.find(WANTING, "r1", MEMBERS[1:]) is None
    assert versions.find(Wanting("a1", "n1", 2), "r1", MEMBERS) is None


@given(
    st.lists(st.integers(1, 500_000), max_size=30),
    st.integers(0, 2_000_000),
    st.floats(0.01, 1),
)
def test_every_plan_fits(sizes: list[int], budget_bytes: int, share: float) -> None:
    packages = [package(number, size) for number, size in enumerate(sizes)]
    made = plan(Wanting("a1", "n1", budget_bytes), packages, (), ATLAS, share=share)
    size_of = {one.package_id: one.total_bytes for one in packages}
    planned = [item.package_id for item in made.items]
    assert sum(size_of[one] for one in planned) <= budget_bytes * share
    assert planned == [one.package_id for one in packages if one.package_id in planned]
    if packages and packages[0].total_bytes <= int(budget_bytes * share):
        assert planned[0] == packages[0].package_id

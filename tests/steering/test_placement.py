"""Plans: what is chosen, and whom to ask first."""

from media.fills import Pin
from media.fleet import PackageRef
from steering.placement import MAX_PEERS, PlanVersions, Wanting, left_out, peers, plan
from steering.planning import Choice, Item
from steering.roster import Member
from tests.steering_fleet import ATLAS, package

MEMBERS = tuple(
    Member(name, site, f"http://{name}.example:8090")
    for name, site in {"a1": "n1", "a2": "n1", "b": "s1", "c": "w1", "d": "n2"}.items()
)
WANTING = Wanting("a1", "n1")
PACKAGES = [package(number) for number in range(20, 0, -1)]


def chosen(*packages: PackageRef) -> Choice:
    return Choice(tuple(Item(one.package_id, None, one.total_bytes, "why") for one in packages))


def test_a_plan_has_what_is_chosen_in_its_order_if_it_is_there() -> None:
    one, other, purged, gone = (package(number) for number in range(4))
    choice = chosen(other, purged, gone, one)
    pin = Pin(package_id=one.package_id, made_at=one.published_at)
    made = plan(
        WANTING, choice, [one, other, purged], MEMBERS, ATLAS,
        purged={purged.package_id}, pins={pin.package_id: pin},
    )  # fmt: skip
    assert [(item.package_id, item.urgent) for item in made.items] == [
        (other.package_id, False),
        (one.package_id, True),
    ]
    assert made.items[0].inventory_sha256 == other.inventory_sha256
    assert made.items[0].why == "why"
    assert [item.package_id for item in left_out(Choice((), choice.items), [one])] == [
        one.package_id
    ]


def test_peers_are_of_the_site_first_then_by_nearness_and_never_oneself() -> None:
    made = peers(WANTING, MEMBERS, ATLAS)
    assert [peer.appliance_id for peer in made] == ["a2", "b", "d", "c"]
    assert made[0].url == "http://a2.example:8090"


def test_askers_of_one_site_do_not_all_ask_the_same_peer() -> None:
    members = tuple(Member(f"a{n}", "n1", f"http://a{n}:1") for n in range(400))
    lists = [peers(Wanting(f"x{n}", "n1"), members, ATLAS) for n in range(20)]
    assert len({asked[0] for asked in lists}) > 10
    assert {len(asked) for asked in lists} == {MAX_PEERS}


def test_the_version_names_the_content() -> None:
    choice = chosen(*PACKAGES)
    made = plan(WANTING, choice, PACKAGES, MEMBERS, ATLAS)
    again = plan(WANTING, choice, PACKAGES, reversed(MEMBERS), ATLAS)
    assert made == again
    assert len(made.version) == 16
    fewer = plan(WANTING, choice, PACKAGES, MEMBERS[:-1], ATLAS)
    older = plan(WANTING, chosen(*PACKAGES[1:]), PACKAGES, MEMBERS, ATLAS)
    assert len({made.version, fewer.version, older.version}) == 3


def test_a_known_version_needs_the_same_inputs() -> None:
    versions = PlanVersions()
    assert versions.find(WANTING, "r1", MEMBERS) is None
    versions.keep("v1", WANTING, "r1", MEMBERS)
    assert versions.find(WANTING, "r1", MEMBERS) == "v1"
    assert versions.find(WANTING, "r2", MEMBERS) is None
    assert versions.find(WANTING, "r1", MEMBERS[1:]) is None
    assert versions.find(Wanting("a1", "n2"), "r1", MEMBERS) is None

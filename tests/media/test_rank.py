"""Ranking: a table of cases, and what holds for every fleet."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.fleet import RankAnswer
from media.places import Place
from media.rank import Asked, Candidate, Limits, demoted, order, rank, refusal, vanished
from tests.steering_fleet import ATLAS, SITES, Paper, candidate, package_id, session_id

N1 = Place("north", "n1")
LIMITS = Limits()


def ranked(*fleet: Candidate, count: int = 3, place: Place = N1, **asked: Any) -> RankAnswer:
    one = Asked(package_id(), place, count, **asked)
    answer = rank(one, Paper(fleet), ATLAS, thorough=True)
    quick = rank(one, Paper(fleet), ATLAS)  # looks no farther than it must
    assert list(order(one, Paper(fleet), ATLAS.rings(place))) == ids(quick)
    assert quick.pathways == answer.pathways
    assert set(quick.skipped) <= set(answer.skipped)
    return answer


def ids(answer: RankAnswer) -> list[str]:
    return [pathway.appliance_id for pathway in answer.pathways]


def codes(answer: RankAnswer) -> dict[str, str]:
    return {skipped.appliance_id: skipped.code for skipped in answer.skipped}


def test_the_nearest_site_comes_first() -> None:
    answer = ranked(
        candidate("w", "w1"), candidate("n2", "n2"), candidate("s", "s1"), candidate("n", "n1"),
        count=4,
    )  # fmt: skip
    assert ids(answer) == ["n", "s", "n2", "w"]
    assert [pathway.reasons[0] for pathway in answer.pathways] == [
        "same site", "fallback 1 of n1", "same region", "1267 km away",
    ]  # fmt: skip
    scores = [pathway.score for pathway in answer.pathways]
    assert scores == sorted(scores)
    assert (answer.region, answer.site) == ("north", "n1")


def test_nearness_outweighs_content_and_content_decides_within_a_site() -> None:
    answer = ranked(
        candidate("far", "s1", held=1.0), candidate("empty"), candidate("half", held=0.5),
        candidate("whole", held=1.0), count=4,
    )  # fmt: skip
    assert ids(answer) == ["whole", "half", "empty", "far"]
    assert [pathway.reasons[1] for pathway in answer.pathways] == [
        "holds it", "holds 50%", "has to fetch it", "holds it",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"age_s": 15.1}, "H", "silent for 15 s"),
        ({"state": "out", "bottleneck": "disk"}, "H", "out of service: disk"),
        ({"clock_skew_s": 31.0}, "H", "clock is +31 s off"),
        ({"clock_skew_s": -31.0}, "H", "clock is -31 s off"),
        ({"draining": True}, "D", "takes no new viewers"),
        ({"state": "draining"}, "D", "takes no new viewers"),
        ({"load": 0.95}, "L", "load 0.95"),
    ],
)
def test_who_is_passed_over(changes: dict[str, Any], code: str, words: str) -> None:
    answer = ranked(candidate("bad", **changes), candidate("b"), candidate("c", "s1"))
    assert ids(answer) == ["b", "c"]
    (skipped,) = answer.skipped
    assert (skipped.appliance_id, skipped.code, skipped.why) == ("bad", code, words)


def test_the_dead_and_the_draining_are_not_even_a_last_resort() -> None:
    answer = ranked(candidate("dead", age_s=99), candidate("leaving", draining=True))
    assert answer.pathways == ()
    assert codes(answer) == {"dead": "H", "leaving": "D"}


def test_the_full_are_a_last_resort_to_have_two_pathways() -> None:
    fleet = [candidate("full-1", load=0.97), candidate("full-2", "s1", load=2.0)]
    answer = ranked(candidate("free", "w1"), *fleet)
    assert ids(answer) == ["free", "full-1"]
    assert "load 0.97, but nothing is freer" in answer.pathways[1].reasons
    assert codes(answer) == {"full-2": "L"}
    assert ids(ranked(*fleet)) == ["full-1", "full-2"]


def test_one_pathway_is_of_another_site() -> None:
    fleet = [candidate(f"n-{number}", held=1.0) for number in range(4)]
    assert [p.site for p in ranked(*fleet, candidate("s", "s1")).pathways] == ["n1", "n1", "s1"]
    assert [p.site for p in ranked(*fleet, candidate("s", "s1"), count=2).pathways] == ["n1", "s1"]
    assert len(ranked(*fleet, candidate("s", "s1"), count=1).pathways) == 1
    assert {p.site for p in ranked(*fleet).pathways} == {"n1"}  # where there is no other


def test_pathways_are_on_different_hosts_while_there_are_enough() -> None:
    shared = [candidate(f"n-{port}", url=f"http://127.0.1.1:{port}", held=1.0) for port in (1, 2)]
    answer = ranked(*shared, candidate("z", "w1", url="http://127.0.3.1:1"), count=2)
    assert len({p.url.rsplit(":", 1)[0] for p in answer.pathways}) == 2
    assert len(ranked(*shared).pathways) == 2  # one host is better than one pathway


def test_another_site_on_a_host_that_is_taken_is_no_other_way() -> None:
    answer = ranked(
        candidate("a", url="http://h1:1", held=1.0), candidate("b", url="http://h2:1"),
        candidate("s", "s1", url="http://h1:2"), count=2,
    )  # fmt: skip
    assert ids(answer) == ["a", "b"]


def test_content_outweighs_crowding_for_every_title() -> None:
    for number in range(50):
        fleet = [candidate("busy", held=0.5, load=0.9), candidate("idle", load=0.0)]
        answer = rank(Asked(package_id(number), N1), Paper(fleet), ATLAS)
        assert ids(answer) == ["busy", "idle"]


def test_lacking_the_package_explains_who_was_left_out() -> None:
    holders = [candidate(f"h-{number}", held=1.0) for number in range(3)]
    answer = ranked(*holders, candidate("empty"), candidate("far", "w1"))
    assert codes(answer) == {"empty": "C"}  # `far` stands in as the other site
    assert answer.skipped[0].why == "lacks it; 3 as near hold it"
    assert codes(ranked(*holders[:2], candidate("empty"), count=3)) == {}


def test_the_crowded_go_behind_their_siblings() -> None:
    quiet = [candidate("a", load=0.3), candidate("b", load=0.3)]
    first = ids(ranked(*quiet))[0]
    calm = [candidate(c.appliance_id, load=0.5 if c.appliance_id == first else 0.0) for c in quiet]
    assert ids(ranked(*calm))[0] == first
    busy = [candidate(c.appliance_id, load=0.6 if c.appliance_id == first else 0.2) for c in quiet]
    answer = ranked(*busy)
    assert ids(answer)[1] == first
    assert "busier than its site" in answer.pathways[1].reasons
    # He who plays there stays.
    assert ids(ranked(*busy, current=first))[0] == first
    strained = [
        candidate(c.appliance_id, state="strained" if c.appliance_id == first else "serving")
        for c in quiet
    ]
    assert ids(ranked(*strained))[1] == first


def test_the_strained_get_new_viewers_last_in_their_site_and_keep_those_they_have() -> None:
    """By an idle appliance's own word (its disk, its fills): for every title, and by no more than
    crowding: content and nearness still count for more."""
    why = {"state": "strained", "bottleneck": "the store does not answer", "load": 0.0}
    for number in range(50):
        fleet = [candidate("ill", **why), candidate("well", load=0.4), candidate("far", "s1")]

        def first(fleet: list[Candidate], number: int = number, **asked: Any) -> str:
            return ids(rank(Asked(package_id(number), N1, **asked), Paper(fleet), ATLAS))[0]

        assert first(fleet) == "well"
        assert first(fleet, current="ill") == "ill"
        assert first([candidate("ill", held=1.0, **why), *fleet[1:]]) == "ill"
        assert first([candidate("ill", **why), candidate("far", "s1")]) == "ill"
    answer = ranked(candidate("ill", **why), candidate("well"))
    assert answer.pathways[1].reasons[-1] == "strained: the store does not answer"


@pytest.mark.parametrize("state", ["serving", "strained"])
def test_a_full_one_gets_nobody_whatever_it_is_full_of(state: str) -> None:
    """Lag, CPU and shedding count into the load that it reports, as egress does."""
    fleet = [candidate("full", state=state, load=1.2, bottleneck="loop lag at 120%")]
    answer = ranked(*fleet, candidate("b", "s1"), candidate("c", "w1"))
    assert ids(answer) == ["b", "c"] and codes(answer) == {"full": "L"}


def test_of_the_viewers_of_an_overfull_one_as_many_go_as_are_too_many() -> None:
    fleet = [candidate("here", load=1.25), candidate("s", "s1"), candidate("w", "w1")]

    def first(number: int, **asked: Any) -> str:
        return ids(ranked(*fleet, session_id=session_id(number), **asked))[0]

    assert {first(number) for number in range(100)} == {"s"}  # nobody new
    stay = [first(number, current="here") for number in range(500)]
    assert stay.count("here") / 500 == pytest.approx(0.95 / 1.25, abs=0.06)
    assert {first(number, current="here", starving=True) for number in range(100)} == {"s"}
    fleet[0] = fleet[0]._replace(load=0.95)
    assert {first(number, current="here") for number in range(100)} == {"here"}


def test_draining_and_out_move_those_who_play_there_too() -> None:
    for changes, code in (({"state": "draining"}, "D"), ({"state": "out"}, "H")):
        fleet = [candidate("here", held=1.0, **changes), candidate("b"), candidate("c", "s1")]
        answer = ranked(*fleet, current="here")
        assert ids(answer) == ["b", "c"] and codes(answer) == {"here": code}


def test_a_viewer_stays_among_equals_but_not_far_away() -> None:
    fleet = [candidate("a"), candidate("b"), candidate("s", "s1")]
    for current in ("a", "b"):
        assert ids(ranked(*fleet, current=current))[0] == current
    assert ids(ranked(*fleet, current="s"))[0] != "s"


def test_titles_spread_by_capacity_and_stay_when_one_leaves() -> None:
    fleet = [candidate("a"), candidate("b"), candidate("big", capacity_bps=2_000_000_000)]

    def first(number: int, among: list[Candidate]) -> str:
        return ids(rank(Asked(package_id(number), N1), Paper(among), ATLAS))[0]

    before = [first(number, fleet) for number in range(800)]
    shares = {name: before.count(name) / 800 for name in ("a", "b", "big")}
    assert shares == pytest.approx({"a": 0.25, "b": 0.25, "big": 0.5}, abs=0.06)
    after = [first(number, fleet[1:]) for number in range(800)]
    assert all(now == then for now, then in zip(after, before, strict=True) if then != "a")


appliances = st.lists(
    st.builds(
        candidate,
        st.from_regex(r"[a-z]{1,3}", fullmatch=True),
        st.sampled_from([site.id for site in SITES]),
        url=st.sampled_from([f"http://h{number}:1" for number in range(6)]),
        state=st.sampled_from(["serving", "strained", "draining", "out"]),
        age_s=st.floats(0, 20),
        clock_skew_s=st.floats(-40, 40),
        draining=st.booleans(),
        load=st.floats(0, 1.2),
        capacity_bps=st.integers(1, 10**12),
        held=st.sampled_from([0.0, 0.3, 1.0]),
    ),
    max_size=12,
    unique_by=lambda one: one.appliance_id,
)
places = st.sampled_from([N1, Place("north", None), Place("west", "w1"), Place("south", "s1")])


@given(appliances, places, st.integers(1, 6), st.randoms())
def test_every_ranking(fleet: list[Candidate], place: Place, count: int, random: Any) -> None:
    answer = ranked(*fleet, place=place, count=count)
    shuffled = list(fleet)
    random.shuffle(shuffled)
    assert ranked(*shuffled, place=place, count=count) == answer  # order does not matter

    chosen, skipped = ids(answer), codes(answer)
    assert len(chosen) == len(set(chosen)) and len(answer.skipped) == len(skipped)
    assert not set(chosen) & set(skipped)
    assert set(chosen) | set(skipped) <= {one.appliance_id for one in fleet}

    by_id = {one.appliance_id: one for one in fleet}
    blind = {
        site.id: vanished((one.age_s for one in fleet if one.site == site.id), 15.0)
        for site in SITES
    }
    unfit = {i for i, one in by_id.items() if refusal(one, LIMITS, blind=blind[one.site])}
    free = {i for i, one in by_id.items() if i not in unfit and one.load < LIMITS.full_load}
    full = set(by_id) - unfit - free
    assert {i for i, code in skipped.items() if code in "HD"} == unfit
    assert {i for i, code in skipped.items() if code == "L"} == full - set(chosen)
    assert {i for i, code in skipped.items() if code == "C"} <= free
    assert len(chosen) >= min(count, len(free))
    assert len(chosen) >= min(count, 2, len(by_id.keys() - unfit))
    if full & set(chosen):
        assert len(free) < 2

    scores = [pathway.score for pathway in answer.pathways]
    assert scores == sorted(scores)
    assert all(pathway.reasons for pathway in answer.pathways)
    hosts = {by_id[i].url for i in free}
    assert len({by_id[i].url for i in chosen}) >= min(count, len(hosts))


@pytest.mark.parametrize(
    ("ages_s", "blind"),
    [
        ([1, 1, 1, 1], False),
        ([1, 20, 20, 20], True),
        ([1, 1, 20, 20], False),  # half is not more than half
        ([20, 20, 20], False),  # too few to doubt our ears
        ([20, 20, 20, 20], True),
        ([1, 20, 900, 9000], False),  # one after the other
        ([1, 1, 20, 22, 28, 900], True),
        ([], False),
    ],
)
def test_who_falls_silent_together_is_not_heard(ages_s: list[float], blind: bool) -> None:
    assert vanished(ages_s, 15.0) == blind


def test_a_site_that_falls_silent_at_once_keeps_its_viewers() -> None:
    fleet = [candidate(f"n-{number}", age_s=30, load=0.2) for number in range(3)]
    fleet += [candidate("alive", load=0.2), candidate("far", "s1")]
    answer = ranked(*fleet)
    assert ids(answer)[0] == "alive"  # whoever is heard goes first
    assert answer.pathways[1].site == "n1"
    assert "silent for 30 s, as most around it" in answer.pathways[1].reasons
    full = [one._replace(load=1.0) if one.appliance_id == "alive" else one for one in fleet]
    assert ranked(*full).pathways[0].site == "n1"
    # Its own word that it is out, and what players and a probe found, still count.
    out = [one._replace(failing=True) if one.age_s > 15 else one for one in fleet]
    assert ids(ranked(*out)) == ["alive", "far"]


def test_a_blind_steering_takes_silence_for_nothing() -> None:
    fleet = [candidate("n", age_s=99), candidate("s", "s1", age_s=99)]
    blind = Limits(blind=True)
    answer = rank(Asked(package_id(), N1), Paper(fleet, blind), ATLAS)
    assert ids(answer) == ["n", "s"]


def test_players_words_demote() -> None:
    fleet = [candidate("bad", held=1.0, suspected=True), candidate("b", held=1.0)]
    answer = ranked(*fleet, candidate("far", "s1"))
    assert ids(answer) == ["b", "bad", "far"]
    assert "players leave it" in answer.pathways[1].reasons
    answer = ranked(fleet[0]._replace(failing=True), fleet[1], candidate("far", "s1"))
    assert ids(answer) == ["b", "far"] and codes(answer) == {"bad": "H"}


def test_one_that_is_back_takes_its_share_of_viewers_and_nobody_who_starves() -> None:
    fleet = [candidate("back", admits=0.3), candidate("s", "s1"), candidate("w", "w1")]

    def first(number: int, **asked: Any) -> str:
        return ids(ranked(*fleet, session_id=session_id(number), **asked))[0]

    firsts = [first(number) for number in range(500)]
    assert firsts.count("back") / 500 == pytest.approx(0.3, abs=0.06)
    more = [one._replace(admits=min(1.0, one.admits + 0.3)) for one in fleet]
    for number, name in enumerate(firsts[:100]):
        assert first(number, starving=True) == "s"
        assert first(number, current="back") == "back"
        if name == "back":  # who came stays as the share grows
            answer = ranked(*more, session_id=session_id(number))
            assert ids(answer)[0] == "back"
    alone = ranked(candidate("back", admits=0.1), session_id=session_id(1), starving=True)
    assert ids(alone) == ["back"]


def test_of_equally_near_sites_one_that_holds_the_package_comes_first() -> None:
    place = Place("north", None)  # n1 and n2 are as near
    for number in range(20):
        fleet = [candidate("n1-a"), candidate("n2-a", "n2"), candidate("n2-b", "n2", held=1.0)]
        one = Asked(package_id(number), place)
        assert ids(rank(one, Paper(fleet), ATLAS))[:2] == ["n2-b", "n2-a"]
    firsts = {ids(rank(Asked(package_id(n), place), Paper(fleet[:2]), ATLAS))[0] for n in range(20)}
    assert firsts == {"n1-a", "n2-a"}  # without, titles are spread over them


def test_a_site_that_is_slow_for_a_network_goes_behind_the_one_that_is_faster() -> None:
    rings = demoted(ATLAS.rings(N1), {"n1": "n2", "w1": "s1", "gone": "n1"})
    assert [sites for _, sites in rings] == [("s1",), ("n2",), ("n1",), ("w1",)]
    assert rings[2][0].why == "nearer, but n2 is faster from there"
    fleet = Paper([candidate("near"), candidate("fast", "n2"), candidate("far", "w1")])
    answer = rank(Asked(package_id(), N1), fleet, ATLAS, rings=rings)
    assert ids(answer) == ["fast", "near", "far"]
    assert demoted(ATLAS.rings(N1), {}) == ATLAS.rings(N1)

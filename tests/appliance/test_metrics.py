"""The exposition, read by Prometheus' own parser."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from appliance.metrics import PREFIX, TABLE, Figure, exposition, states
from appliance.tally import BOUNDS_S, BUCKETS, TALLY_WORDS, Tally, histogram, note

HOSTILE = 'a"b\\c\nd'


def figures() -> dict[str, Figure]:
    words = [0] * TALLY_WORDS
    for us in (10, 100, 100, 10**8):
        note(words, Tally.HIT, us)
    made: dict[str, Figure] = {}
    for number, row in enumerate(TABLE, 1):
        if row.kind == "histogram":
            made[row.name] = histogram(words, Tally.HIT)
        else:
            made[row.name] = {"x": float(number), HOSTILE: 1.0} if row.label else float(number)
    return made


def test_every_row_is_told_with_help_and_type() -> None:
    text = exposition(figures()).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert len(families) == len(TABLE)
    for number, row in enumerate(TABLE, 1):
        family = families[PREFIX + row.name]
        assert (family.type, family.documentation) == (row.kind, row.told)
        name = family.name + ("_total" if row.kind == "counter" else "")
        if row.kind != "histogram":
            labels = [{row.label: "x"}, {row.label: HOSTILE}] if row.label else [{}]
            assert [sample.labels for sample in family.samples] == labels
            assert family.samples[0].value == number
            assert {sample.name for sample in family.samples} == {name}
            assert f"# TYPE {name} {row.kind}\n" in text
            assert f"# HELP {name} {row.told}\n" in text


def test_a_histogram_counts_up_to_each_bound() -> None:
    text = exposition(figures()).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    samples = families[f"{PREFIX}hit_first_byte_seconds"].samples
    told = [(s.labels["le"], s.value) for s in samples if s.name.endswith("_bucket")]
    assert len(told) == BUCKETS and [float(le) for le, _ in told] == [*BOUNDS_S, float("inf")]
    assert told[0][1] == 1 and dict(told)["0.000128"] == 3 and told[-1][1] == 4
    assert [value for _, value in told] == sorted(value for _, value in told)
    by_name = {sample.name: sample.value for sample in samples}
    assert by_name[f"{PREFIX}hit_first_byte_seconds_count"] == 4
    assert by_name[f"{PREFIX}hit_first_byte_seconds_sum"] == pytest.approx(100.00021)


def test_names_follow_the_rules() -> None:
    """What `promtool check metrics` looks at (naming practices of Prometheus)."""
    assert len({row.name for row in TABLE}) == len(TABLE)
    for row in TABLE:
        assert re.fullmatch(r"[a-z][a-z0-9_]*[a-z]", PREFIX + row.name)
        assert not row.name.endswith(("_total", "_count", "_sum", "_bucket", "_info"))
        assert not re.search(
            r"_(ms|us|milliseconds|kb|mb|bits|percent|gauge|counter)(_|$)", row.name
        )
        assert row.told and row.told[0].isupper() and not row.told.endswith(".")
        assert re.fullmatch(r"[a-z]*", row.label) and row.label != "le"


def test_figures_have_to_be_those_of_the_table() -> None:
    with pytest.raises(ValueError, match="surplus"):
        exposition(figures() | {"surplus": 1})
    fewer = figures()
    del fewer["requests"]
    with pytest.raises(ValueError, match="requests"):
        exposition(fewer)


def test_one_state_is_one() -> None:
    assert states("strained") == {"serving": 0, "strained": 1, "draining": 0, "out": 0}

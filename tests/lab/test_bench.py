"""Pairs, medians, bars and rows."""

import asyncio
from dataclasses import asdict

import pytest

from lab.bench import Bar, Reading, alternate, document, failed, medians, reaches, row_of, skipped


def test_sides_alternate_and_never_run_together() -> None:
    said: list[str] = []

    async def measure(name: str) -> str:
        said.append(f"{name} begins")
        await asyncio.sleep(0)
        said.append(f"{name} ends")
        return name

    pairs = asyncio.run(alternate(2, lambda: measure("a"), lambda: measure("b")))
    assert pairs == [("a", "b"), ("a", "b")]
    assert said == ["a begins", "a ends", "b begins", "b ends"] * 2


def test_the_ratio_is_the_median_of_the_pairs_own_ratios() -> None:
    # The machine was half as fast for the second pair: the ratio of medians would be 1.5.
    row = row_of("64k", "requests/s", [(100, 100), (50, 50), (150, 100)], "nginx", Bar(1.0))
    assert (row.ours, row.peer, row.ratio) == (100, 100, 1.0)
    assert (row.ratio_min, row.ratio_max, row.ok) == (1.0, 1.5, True)


@pytest.mark.parametrize(
    ("figure", "bar", "ok"),
    [
        (1.0, Bar(1.0), True),
        (0.999, Bar(1.0), False),
        (1.05, Bar(1.05, "less"), True),
        (1.06, Bar(1.05, "less"), False),
        (0.1, Bar(None), None),
    ],
)
def test_bars(figure: float, bar: Bar, ok: bool | None) -> None:
    assert reaches(figure, bar) is ok


def test_a_bar_for_our_own_figure_is_not_held_against_the_ratio() -> None:
    row = row_of("idle", "MB", [(90, 10)], "nginx", Bar(100, "less", "ours"))
    assert (row.ratio, row.ok) == (9.0, True)


@pytest.mark.parametrize("bar", [Bar(1.0), Bar(1.0, "less")])
def test_a_peer_without_a_figure_makes_no_ratio_that_passes(bar: Bar) -> None:
    row = row_of("64k-cpu", "CPU s/GB", [(0.1, 0.1), (0.1, 0)], "nginx", bar)
    assert (row.ratio, row.ok) == (None, False)


def test_the_document_is_the_contract() -> None:
    rows = [
        row_of("64k", "requests/s", [(90, 100)], "nginx", Bar(1.0)),
        skipped("tls", "requests/s", "varnish", Bar(1.0), "it speaks no TLS"),
    ]
    said = document("serve", {"cpu": "x"}, rows)
    assert set(said) == {"bench", "machine", "rows"}
    contract = {"case", "unit", "ours", "peer", "peer_name", "ratio", "bar", "ok"}
    assert all(contract <= set(row) for row in said["rows"])
    assert failed(rows) == ["64k"]  # what was skipped has not failed
    assert said["rows"][1]["skipped"] == "it speaks no TLS" and said["rows"][1]["ok"] is None


def test_medians_name_by_name() -> None:
    readings = [Reading(n, 10 * n, 1, 1, 1) for n in (3.0, 1.0, 2.0)]
    assert medians(readings) == asdict(Reading(2.0, 20.0, 1, 1, 1))

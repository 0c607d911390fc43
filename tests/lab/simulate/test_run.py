"""A tiny world: the same each time, nothing lost, and what happens when something happens."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lab.simulate.ledger import Outcome, Tier
from lab.simulate.run import Run, play
from lab.simulate.variants import VARIANTS
from tests.lab.simulate.tiny import tiny

GOLDEN = Path(__file__).parent / "golden.json"
PLAYED = [name for name, variant in VARIANTS.items() if not variant.all_knowing]


def figures(outcome: Outcome) -> dict[str, Any]:
    """All but the time it took."""
    return asdict(outcome) | {"seconds": 0}


def test_the_same_seed_gives_the_same_world_and_another_another() -> None:
    once, again, other = (figures(play(tiny(), seed, VARIANTS["plan"])) for seed in (1, 1, 2))
    assert once == again != other


def test_the_golden_figures() -> None:
    """NEARCAST_GOLDEN=1 renews them."""
    seen = {
        f"{name}, seed {seed}": {
            key: value
            for key, value in figures(play(tiny(), seed, VARIANTS[name])).items()
            if key not in ("variant", "hours", "site_hits") and value is not None
        }
        for name in VARIANTS
        for seed in (1, 2)
    }
    if os.environ.get("NEARCAST_GOLDEN"):
        GOLDEN.write_text(json.dumps(seen, indent=1) + "\n")
    golden = json.loads(GOLDEN.read_text())
    assert seen.keys() == golden.keys()
    for name, row in seen.items():
        assert row == pytest.approx(golden[name], rel=1e-6), name


@pytest.mark.parametrize("name", PLAYED)
def test_nothing_is_lost_and_no_budget_exceeded(name: str) -> None:
    scenario = tiny(clock={"days": 1})
    run = Run(scenario, 3, VARIANTS[name])
    catalog = run.world.catalog
    every = np.unravel_index(np.arange(catalog.items), catalog.numbering)
    sizes = catalog.bytes_of(*every)
    sent = 0.0
    for tick in range(run.ticks):
        run.tick(tick)
        sent += float(run.serving.sent.sum())
        assert run.ledger.sent.sum() == pytest.approx(sent)
        assert (run.ledger.sent >= -1).all()
        for box in run.fleet.boxes:
            box.validate_state(sizes)
        run.fleet.validate_state()
    assert run.ledger.requests.sum() > 0 and not run.ledger.refused.any()


def test_cohorts_change_next_to_nothing() -> None:
    """The same viewers ask one by one, or those who want the same at once together."""
    together = tiny(clock={"part_s": 300}, viewing={"sessions_per_day": 4000})
    clock = together.clock.model_copy(update={"cohorts": False})
    apart = together.model_copy(update={"clock": clock})
    for name in ("plan", "lru"):
        one, other = (play(world, 1, VARIANTS[name]) for world in (together, apart))
        assert one.requests == other.requests
        for key in ("served_bytes", "peak_hit", "peak_any_hit", "hit", "into_sites_bytes"):
            assert getattr(one, key) == pytest.approx(getattr(other, key), rel=0.01), key


def test_viewers_of_a_dark_site_are_served_elsewhere_and_come_back() -> None:
    dark = tiny(
        outages=[{"site": 0, "from_hour": 16, "hours": 3}], net={"appliances": 3, "regions": 1}
    )
    run, same = (Run(one, 1, VARIANTS["plan"]) for one in (dark, tiny(net=dark.net.model_dump())))
    own = []
    for tick in range(run.ticks):
        for one in (run, same):
            one.tick(tick)
        sent = [float(run.serving.sent[box.number]) for box in run.fleet.boxes if box.site == 0]
        own.append(sum(sent))
    hour = run.scenario.clock.warmup_days * 24 + 16
    ticks = run.scenario.clock.ticks_a_day // 24
    away = own[hour * ticks : (hour + 3) * ticks]
    assert away[1:] == [0.0] * (3 * ticks - 1)  # in the first tick nobody has heard of it
    assert min(own[(hour + 3) * ticks + 1 : (hour + 5) * ticks]) > 0
    assert not run.ledger.refused.any()
    assert run.ledger.moves[hour : hour + 4].sum() > same.ledger.moves[hour : hour + 4].sum()
    served, usual = (one.ledger.sent[:, hour + 1 : hour + 3] for one in (run, same))
    assert served.sum() == pytest.approx(usual.sum())
    assert served[Tier.PEER].sum() > usual[Tier.PEER].sum()


def test_a_launch_is_there_before_its_viewers() -> None:
    """The plan has brought it to each site when its first day begins, whether it is night there or
    not."""
    run = Run(
        tiny(films={"launches_per_day": 0}, launches=[{"day": 0, "boost": 5}]),
        1,
        VARIANTS["plan"],
    )
    begins = 2 * run.scenario.clock.ticks_a_day
    for tick in range(begins):
        run.tick(tick)
    assert not run.world.catalog.generation.any()
    run.tick(begins)
    (title,) = np.flatnonzero(run.world.catalog.generation)
    rows = slice(title * run.world.catalog.renditions, (title + 1) * run.world.catalog.renditions)
    assert {box.site for box in run.fleet.boxes if box.pinned[rows].any()} == {0, 1, 2, 3}

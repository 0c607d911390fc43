"""What could have been: each day the best that disks could hold, by who knows the day.

Every night the clairvoyant sees what each site's viewers will take in the day to come, file by
file, and puts onto the site's disks what is worth most to them, with the same disks and the same
bytes a night as a plan has: the free ones, or the scenario's share of the disks. During the day
nothing changes. By `steering.planner.choose`, without a margin: who knows tomorrow needs none.
"""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lab.simulate.catalog import Floats, Ints
from lab.simulate.ledger import Ledger, Outcome, Tier, summed
from lab.simulate.scenario import Scenario
from lab.simulate.variants import Variant
from lab.simulate.world import World
from runtime.errors import Problem
from steering.planner import choose

# Nine bytes each, and twice eight while a day is planned.
_MOST_PLACES = 200_000_000


class _Taken(NamedTuple):
    """What viewers took in a tick: bytes by place (site, then file), and the hour of the day."""

    place: Ints
    sent: Floats
    hour: int


def can_see(scenario: Scenario) -> bool:
    """The world is small enough to be seen file by file."""
    films = scenario.films
    parts = math.ceil(films.minutes[1] * 60 / scenario.clock.part_s)
    renditions = len(films.rung_mbps) + len(films.audio_mbps)
    return scenario.net.sites * films.titles * renditions * parts <= _MOST_PLACES


def play(
    scenario: Scenario,
    seed: int,
    variant: Variant,
    tell: Callable[[float], None] = lambda done: None,
) -> Outcome:
    """The whole time, in the very same world. Raises Problem when it is too large to be seen file
    by file."""
    if not can_see(scenario):
        raise Problem(
            "invalid_field",
            f"{scenario.name} has too many sites and files for the clairvoyant; fewer titles,"
            " fewer sites or longer parts would do.",
        )
    began = time.monotonic()
    world = World(scenario, seed)
    net, catalog = scenario.net, world.catalog
    ledger = Ledger(world.days * 24, net.sites, net.sites)
    budget = net.disk_share * catalog.total_bytes
    nightly = scenario.filling.nightly_share * budget if variant.nights_bounded else budget
    title, rendition, part = np.unravel_index(np.arange(catalog.items), catalog.numbering)
    sizes = catalog.bytes_of(title, rendition, part).astype(np.float64)
    held = np.zeros((net.sites, catalog.items), bool)
    churned = []
    per_title = catalog.renditions * catalog.most_parts
    for day in range(world.days):
        taken = _day(world, day)
        demand = np.zeros(held.size)
        for one in taken:
            demand += np.bincount(one.place, one.sent, held.size)
        brought = 0.0
        for site, wanted in enumerate(demand.reshape(held.shape)):
            free = budget - float(sizes[held[site]].sum())
            chosen = choose(
                sizes,
                np.divide(wanted, sizes, out=np.zeros_like(sizes), where=sizes > 0),
                held[site],
                budget_bytes=budget,
                nightly_bytes=max(free, nightly),
                margin=0.0,
            )
            brought += float(sizes[chosen & ~held[site]].sum())
            # What nobody wants tomorrow stays where there is room, as it does on real disks: else
            # each night the disks would be half empty, and no bound on what comes would hold.
            idle = np.flatnonzero(held[site] & ~chosen)
            room = budget - float(sizes[chosen].sum())
            chosen[idle[np.cumsum(sizes[idle]) <= room]] = True
            held[site] = chosen
        churned.append(brought)
        ledger.filled[Tier.STORE, day * 24] += brought
        for one in taken:
            tiers = np.where(held.reshape(-1)[one.place], Tier.SITE, Tier.STORE)
            ledger.took(day * 24 + one.hour, tiers, one.place // catalog.items, one.sent)
        for arrival in world.next_day(day):
            held[:, arrival.title * per_title : (arrival.title + 1) * per_title] = False
        tell((day + 1) / world.days)
    return summed(
        variant.name,
        seed,
        ledger,
        scenario,
        disk_bytes=budget * net.sites,
        churned_bytes=churned,
        seconds=time.monotonic() - began,
    )


def _day(world: World, day: int) -> list[_Taken]:
    """All that viewers take."""
    scenario, catalog = world.scenario, world.catalog
    clock = scenario.clock
    shift = int(scenario.filling.hour * 3600 / clock.part_s)
    taken = []
    for tick in range(day * clock.ticks_a_day, (day + 1) * clock.ticks_a_day):
        shows = world.viewing.tick(tick + shift)
        hour = tick % clock.ticks_a_day * clock.part_s // 3600
        for rendition in (shows.rung, shows.language + catalog.rungs):
            item = catalog.first_item(shows.title, rendition) + shows.part
            size = catalog.bytes_of(shows.title, rendition, shows.part)
            sent = size * shows.viewers * world.viewing.seen[shows.part]
            taken.append(_Taken(shows.site * catalog.items + item, sent, hour))
    return taken


def static_ceiling(world: World, disk_share: float) -> float:
    """The share of bytes, from the viewer's own site, of the best placement that stays as it is,
    by who knows today's charts exactly; on average over the regions. No plan can have more on a
    stable day, but for what each site's viewers take by chance."""
    catalog, viewing = world.catalog, world.viewing
    title, rendition, part = np.unravel_index(np.arange(catalog.items), catalog.numbering)
    sizes = catalog.bytes_of(title, rendition, part).astype(np.float64)
    rendition_share = np.array([*viewing.rung_share, *viewing.audio_share])
    per_view = sizes * rendition_share[rendition] * (viewing.reached * viewing.seen)[part]
    hits = []
    for shares in world.charts.shares:
        demand = shares[title] * per_view
        order = np.argsort(-demand / np.maximum(sizes, 1), kind="stable")
        fits = np.cumsum(sizes[order]) <= disk_share * sizes.sum()
        hits.append(demand[order][fits].sum() / demand.sum())
    return float(np.mean(hits))

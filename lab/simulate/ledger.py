"""What was sent and brought in a simulated world, by hour. Pure."""

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from lab.simulate.catalog import Floats, Ints
from lab.simulate.scenario import Scenario


class Tier(IntEnum):
    """Where bytes came from."""

    SITE = 0  # the viewer's own site held them
    PEER = 1  # another site
    STORE = 2


class Ledger:
    """Bytes and counts by hour of the world."""

    def __init__(self, hours: int, sites: int, appliances: int) -> None:
        self.sent: Floats = np.zeros((len(Tier), hours))  # to viewers, by where they came from
        self.filled: Floats = np.zeros((len(Tier), hours))  # by plan
        self.requests: Ints = np.zeros(hours, np.int64)  # for segments of video and of audio
        self.moves: Ints = np.zeros(hours, np.int64)  # of showings, to another appliance
        self.refused: Ints = np.zeros(hours, np.int64)  # viewers whom nobody could serve
        self.most_load: Floats = np.zeros(hours)  # of an appliance in one tick
        self.spread: Floats = np.full(hours, math.nan)  # its hour's load against the mean one
        self._days = np.zeros((2, hours // 24, sites))  # all that viewers got, and from their site
        self._bits: Floats = np.zeros(appliances)  # sent since the hour began, for each bit a
        # second that the appliance could send

    def took(self, hour: int, tiers: Ints, sites: Ints, sent: Floats) -> None:
        """Viewers at these sites got so much, by the tiers it came from."""
        for tier in Tier:
            self.sent[tier, hour] += sent[tiers == tier].sum()
        count = self._days.shape[2]
        self._days[0, hour // 24] += np.bincount(sites, sent, count)
        own = tiers == Tier.SITE
        self._days[1, hour // 24] += np.bincount(sites[own], sent[own], count)

    def missed(self, hour: int, site: int, expected: Tier, tier: Tier, amount: float) -> None:
        """So much of what viewers at the site took had to be brought."""
        self.sent[expected, hour] -= amount
        self.sent[tier, hour] += amount
        if expected == Tier.SITE:
            self._days[1, hour // 24, site] -= amount

    def loaded(self, hour: int, load: Floats, *, ends: bool) -> None:
        """The load of each appliance in a tick of the hour, its last one if it `ends`."""
        self.most_load[hour] = max(self.most_load[hour], float(load.max()))
        self._bits += load
        if ends:
            mean = float(self._bits.mean())
            self.spread[hour] = float(self._bits.max()) / mean if mean else math.nan
            self._bits[:] = 0

    def site_hits(self, from_day: int) -> list[float]:
        """The share of its own bytes, by site."""
        served, own = self._days[:, from_day:].sum(axis=1)
        return [float(part / max(whole, 1)) for whole, part in zip(served, own, strict=True)]


@dataclass(frozen=True)
class Outcome:
    """A run after its warm-up. Bytes are of the whole time; the peak is the hour of each day in
    which most was sent. Hits are shares of bytes. None: there is no such thing."""

    variant: str
    seed: int
    served_bytes: float
    peak_hit: float  # in the peak hours, from the viewers' own site
    peak_any_hit: float  # from any appliance
    hit: float  # of all hours, from the viewers' own site
    peak_origin_bytes: float
    origin_bytes: float  # from the store, to viewers and by plan
    peer_bytes: float
    fill_bytes: float  # by plan, from outside the sites
    into_sites_bytes: float  # fills and misses
    churn: float  # of the disks, on a day, by plan: the median of days
    requests: int  # the warm-up's, too
    moves: int | None
    refused: int
    most_load: float | None  # of an appliance in one tick, against what it can send
    load_spread: float | None  # the hottest appliance against the mean, in the median peak hour
    site_hits: list[float]  # by site
    hours: dict[str, list[float]]  # bytes by tier, to viewers and by plan; the warm-up's, too
    seconds: float  # that the run took


def summed(
    variant: str,
    seed: int,
    ledger: Ledger,
    scenario: Scenario,
    *,
    disk_bytes: float,
    churned_bytes: list[float],
    seconds: float,
) -> Outcome:
    """What the ledger says of the time after the warm-up. `churned_bytes` are by day, all days."""
    from_day = scenario.clock.warmup_days
    since = slice(from_day * 24, None)
    sent, filled = ledger.sent[:, since], ledger.filled[:, since]
    days = sent.reshape(len(Tier), -1, 24)
    totals = days.sum(axis=0)
    at = (np.arange(totals.shape[0]), totals.argmax(axis=1))
    peak = days[:, at[0], at[1]].sum(axis=1)
    outside = float(sent[Tier.PEER :].sum())
    filled_bytes = float(filled[Tier.PEER :].sum())
    spread = ledger.spread[since].reshape(-1, 24)[at]
    spread = spread[~np.isnan(spread)]
    knows_load = bool(ledger.most_load.any())
    return Outcome(
        variant=variant,
        seed=seed,
        served_bytes=float(sent.sum()),
        peak_hit=float(peak[Tier.SITE] / max(peak.sum(), 1)),
        peak_any_hit=float(peak[: Tier.STORE].sum() / max(peak.sum(), 1)),
        hit=1 - outside / max(float(sent.sum()), 1),
        peak_origin_bytes=float(peak[Tier.STORE]),
        origin_bytes=float(sent[Tier.STORE].sum() + filled[Tier.STORE].sum()),
        peer_bytes=float(sent[Tier.PEER].sum() + filled[Tier.PEER].sum()),
        fill_bytes=filled_bytes,
        into_sites_bytes=outside + filled_bytes,
        churn=float(np.median(churned_bytes[from_day:]) / disk_bytes),
        requests=int(ledger.requests.sum()),
        moves=int(ledger.moves[since].sum()) if knows_load else None,
        refused=int(ledger.refused[since].sum()),
        most_load=float(ledger.most_load[since].max()) if knows_load else None,
        load_spread=float(np.median(spread)) if len(spread) else None,
        site_hits=ledger.site_hits(from_day),
        hours={
            f"{what}_{tier.name.lower()}_bytes": [float(hour) for hour in amounts[tier]]
            for what, amounts in (("sent", ledger.sent), ("filled", ledger.filled))
            for tier in Tier
        },
        seconds=seconds,
    )

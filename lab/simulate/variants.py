"""What can decide in a simulated world: one table."""

from dataclasses import dataclass

from appliance.evict import Admission, PolicyName
from steering.planner import TIER_WORTH


@dataclass(frozen=True)
class Variant:
    """What decides. A plan may use the share `plan` of the disks; with 0 there is none, and
    appliances hold what was asked of them. With `tiers` who lacks a file asks its home in the
    region before the store, else the home at its own site alone. `all_knowing` is played by
    clairvoyant.py; of it only `nights_bounded` counts: no more comes in a night than plans may
    bring."""

    name: str
    about: str
    policy: PolicyName = "lru"
    admission: Admission = "all"
    plan: float = 0.0
    tiers: bool = False
    tier_worth: float = TIER_WORTH
    unbounded: bool = False
    all_knowing: bool = False
    nights_bounded: bool = True


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant(
            "plan",
            "nightly plans, and pull-through behind them, with homes in the region: what ships",
            plan=0.9,
            tiers=True,
            admission="second_hit",
        ),
        Variant("lru", "pull-through alone, with homes at the site"),
        Variant("lru-tiers", "the same, with homes in the region, too", tiers=True),
        Variant("sieve", "as lru, but SIEVE says what leaves", policy="sieve"),
        Variant("s3fifo", "as lru, but S3-FIFO says what leaves", policy="s3fifo"),
        Variant("second-hit", "as lru, but files stay on their second use", admission="second_hit"),
        Variant("unbounded", "as lru, with disks that take everything", unbounded=True),
        Variant("clairvoyant", "each day the best that the disks could hold", all_knowing=True),
        Variant(
            "clairvoyant-free",
            "the same, and as much comes in a night as it likes",
            all_knowing=True,
            nights_bounded=False,
        ),
    )
}

"""Which appliance brings a file from outside, when several want it at once. Pure.

Each package has a home among the appliances of its site, by the weighted rendezvous hashing of
ranking (`media.rank.spread`): it is where viewers are sent first, so what it brings for the others
it has for its own viewers, and a site stores next to nothing twice. And it has a home among the
sites of its region, its tier: so the store is asked once for all of them, and what each of them is
seldom asked for is kept by one.

Who lacks a file asks the home of its site, that the home of the region, that the store. An asker
waits only for those behind it in this row (`Asker`), so that no two ever wait for each other,
though they may see the fleet differently for a moment.
"""

import re
from collections.abc import Mapping
from enum import IntEnum

from media.homes import home_of, tier_home_of

# Who misses asks so many of the plan's peers, one after the other, before the store: more would
# take longer than the store does.
PEERS_ASKED = 3


# In `Cache-Control` of a request: it comes from another site, whose tier we are.
AS_TIER = b"nearcast-tier"


class Asker(IntEnum):
    """For whom a file is brought: our own viewers, or the plan; others of our site, whose home we
    are; or other sites, whose tier we are."""

    OURS = 0
    SITE = 1
    TIER = 2


def whom_to_ask(
    package_id: str, own: str, site: str, sites: Mapping[str, Mapping[str, int]], asker: Asker
) -> tuple[str, Asker] | None:
    """Who is to bring a file of the package for `own`, an appliance of the `site`, and as what it
    is asked; None: nobody, we bring it ourselves. `sites` are those of the region."""
    if asker < Asker.SITE:
        home = home_of(package_id, sites[site])
        if home != own:
            return home, Asker.SITE
    if asker < Asker.TIER:
        home = tier_home_of(package_id, sites)
        if home not in sites[site]:
            return home, Asker.TIER
    return None


def went_through(cdn_loop: bytes, name: bytes) -> bool:
    """A request with this `CDN-Loop` (RFC 8586: `cdn-id; id=name, …`) was with the appliance of
    this name before."""
    return b"id=" + name in (part.strip() for part in re.split(b"[;,]", cdn_loop))

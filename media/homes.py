"""Where packages are at home. Pure.

At each site a package has a home among the appliances, by the weighted rendezvous hashing of
ranking (`media.rank.spread`): it is where viewers are sent first. Among the sites of a region one
is its home site, its tier, likewise. Appliances bring files by this (appliance/home.py), and plans
are made by it (steering/planning.py), each for itself.
"""

from collections.abc import Mapping

from media.rank import spread


def home_of(package_id: str, members: Mapping[str, int]) -> str:
    """The package's home among the members, of whom there is at least one, by their capacities in
    bits a second; the same for all who know the same members, in whatever order. If one leaves,
    only the packages whose home it was move."""
    return min(members, key=lambda member: (spread(package_id, member, members[member]), member))


def tier_home_of(package_id: str, sites: Mapping[str, Mapping[str, int]]) -> str:
    """The package's home at its home site, of sites that each have members as above. The site is
    found among sites as an appliance among its siblings."""
    sums = {site: sum(members.values()) for site, members in sites.items()}
    return home_of(package_id, sites[home_of(package_id, sums)])

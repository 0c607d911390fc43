"""Regions, sites, and how near a site is to a viewer. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from media.ids import Name
from steering.networks import NetworkMap

_EARTH_KM = 6371.0
# Steps of `Nearness`: fallbacks count from 1, so they end before the region's other sites.
MAX_FALLBACKS = 64
_SAME_REGION = 100
_OTHER_REGION = 200


class Region(BaseModel):
    """A part of the world, with the point that distances are measured from."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: Name = Field(description="Name in settings and on the wire")
    name: str = Field(max_length=80, description="Name for people")
    latitude: float = Field(ge=-90, le=90, description="Degrees, north is positive")
    longitude: float = Field(ge=-180, le=180, description="Degrees, east is positive")


class Site(BaseModel):
    """One or more appliances in one place, which fill from each other."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: Name = Field(description="Name in settings and on the wire")
    region: Name = Field(description="The region it stands in")
    networks: tuple[str, ...] = Field((), description="Client networks (CIDR) that it serves")
    fallbacks: tuple[Name, ...] = Field(
        (), max_length=MAX_FALLBACKS, description="Sites that serve its networks next, in order"
    )


@dataclass(frozen=True)
class Place:
    """Where a viewer is: always in some region, and at a site when that is known."""

    region: str
    site: str | None


@dataclass(frozen=True)
class Nearness:
    """How far a site is from a place. `steps` orders: 0 the viewer's own site, then its fallbacks
    from 1, then the region (100), then other regions (200 and a step for each kilometre)."""

    steps: int
    why: str


class Atlas:
    """All regions and sites. Raises ValueError when they contradict each other."""

    def __init__(
        self, regions: Iterable[Region], sites: Iterable[Site], default_region: str = ""
    ) -> None:
        """`default_region` is that of viewers whose network no site serves; empty: the first."""
        regions, sites = tuple(regions), tuple(sites)
        self.regions = {region.id: region for region in regions}
        self.sites = {site.id: site for site in sites}
        self.default_region = default_region or next(iter(self.regions), "")
        self._check(len(regions), len(sites))
        self._networks = NetworkMap((net, site.id) for site in sites for net in site.networks)
        self._nearness: dict[tuple[Place, str], Nearness] = {}  # as many as places × sites

    def place(self, client: str | None = None, region: str | None = None) -> Place:
        """Where the viewer with this address is, or a simulated one in `region`, which overrules
        the address. The site is the one that serves the address, or else the only site of the
        region. Raises KeyError for an unknown region."""
        site = self._networks.find(client) if client else None
        if region is None:
            region = self.sites[site].region if site else self.default_region
        elif region not in self.regions:
            raise KeyError(region)
        if site is None or self.sites[site].region != region:
            local = [site.id for site in self.sites.values() if site.region == region]
            site = local[0] if len(local) == 1 else None
        return Place(region, site)

    def place_of_site(self, site: str) -> Place:
        """The place of a viewer right at the site."""
        return Place(self.sites[site].region, site)

    def nearness(self, place: Place, site: str) -> Nearness:
        """How near the site is to the place."""
        known = self._nearness.get((place, site))
        if known is None:
            known = self._nearness[place, site] = self._measure(place, site)
        return known

    def _measure(self, place: Place, site: str) -> Nearness:
        if site == place.site:
            return Nearness(0, "same site")
        fallbacks = self.sites[place.site].fallbacks if place.site else ()
        if site in fallbacks:
            number = fallbacks.index(site) + 1
            return Nearness(number, f"fallback {number} of {place.site}")
        region = self.sites[site].region
        if region == place.region:
            return Nearness(_SAME_REGION, "same region")
        km = round(great_circle_km(self.regions[place.region], self.regions[region]))
        return Nearness(_OTHER_REGION + km, f"{km} km away")

    def _check(self, regions: int, sites: int) -> None:
        if len(self.regions) != regions or len(self.sites) != sites:
            raise ValueError("a region or a site comes twice")
        if self.default_region not in self.regions:
            raise ValueError(f"there is no region {self.default_region!r} to be the default")
        for site in self.sites.values():
            if site.region not in self.regions:
                raise ValueError(f"site {site.id}: there is no region {site.region!r}")
            for fallback in site.fallbacks:
                if fallback not in self.sites or fallback == site.id:
                    raise ValueError(f"site {site.id}: {fallback!r} is no fallback for it")


def great_circle_km(a: Region, b: Region) -> float:
    """The distance over the ground in kilometres (haversine formula)."""
    latitude_a, latitude_b = math.radians(a.latitude), math.radians(b.latitude)
    half_latitude = (latitude_b - latitude_a) / 2
    half_longitude = math.radians(b.longitude - a.longitude) / 2
    chord = (
        math.sin(half_latitude) ** 2
        + math.cos(latitude_a) * math.cos(latitude_b) * math.sin(half_longitude) ** 2
    )
    return 2 * _EARTH_KM * math.asin(min(1.0, math.sqrt(chord)))

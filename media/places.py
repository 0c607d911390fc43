"""Regions, sites, and how near a site is to a viewer. Pure."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from media.fill_window import ZoneName
from media.ids import Name
from media.networks import NetworkMap, parse_network, surrounding

_EARTH_KM = 6371.0
# Steps of `Nearness`: these count from 1, and end before the region's other sites.
MAX_OTHERS = 32
MAX_FALLBACKS = 64
_SAME_REGION = 100
_OTHER_REGION = 200
_MOST_KEPT = 10_000


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
    timezone: ZoneName = Field("UTC", description="IANA name of its time zone, for fill_window")


class Route(BaseModel):
    """A network that a site serves, as it hears of it by BGP. Of several sites that hear of the
    same network the one with the shortest path is its own, then that with the smallest MED
    (RFC 4271, 9.1.2.2), then the first named."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    network: str = Field(max_length=64, description="CIDR prefix, IPv4 or IPv6")
    site: Name = Field(description="The site that serves it")
    path_length: int = Field(0, ge=0, le=255, description="Autonomous systems on the way")
    med: int = Field(0, ge=0, lt=2**32, description="Multi-exit discriminator")


class Place(NamedTuple):
    """Where a viewer is: always in some region, and at a site when that is known; `others` serve
    the viewer's network, too, by longer ways."""

    region: str
    site: str | None
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Nearness:
    """How far a site is from a place. `steps` orders: 0 the viewer's own site, then from 1 the
    others of its network and its fallbacks, then the region (100), then other regions (200 and a
    step for each kilometre)."""

    steps: float
    why: str


Ring = tuple[Nearness, tuple[str, ...]]
"""Sites that are equally near."""

Locate = Callable[[str], tuple[float, float] | None]
"""Latitude and longitude of an address, if they are known."""


class Atlas:
    """All regions and sites. Raises ValueError when they contradict each other."""

    def __init__(
        self,
        regions: Iterable[Region],
        sites: Iterable[Site],
        default_region: str = "",
        *,
        routes: Iterable[Route] = (),
        locate: Locate = lambda address: None,
    ) -> None:
        """`default_region` is that of viewers of whom nothing is known; empty: the first. `routes`
        come to the networks of the sites."""
        regions, sites = tuple(regions), tuple(sites)
        self.regions = {region.id: region for region in regions}
        self.sites = {site.id: site for site in sites}
        self.default_region = default_region or next(iter(self.regions), "")
        self._check(len(regions), len(sites))
        self._networks = self._mapped(sites, routes)
        self._locate = locate
        local: dict[str, list[str]] = {region: [] for region in self.regions}
        for site in sites:
            local[site.region].append(site.id)
        self._only_site = {region: ids[0] for region, ids in local.items() if len(ids) == 1}
        self._nearest_region = lru_cache(_MOST_KEPT)(self._region_at)
        # As many places as sites and regions, and the combinations that routes make.
        self.rings = lru_cache(_MOST_KEPT)(self._rings)

    def place(self, client: str | None = None, region: str | None = None) -> Place:
        """Where the viewer with this address is, or a simulated one in `region`, which overrules
        the address. The site is the one that serves the address, or else the only site of the
        region. Raises KeyError for an unknown region."""
        found = self._networks.find(client) if client else None
        if region is not None:
            if region not in self.regions:
                raise KeyError(region)
            if found is None or self.sites[found[0]].region != region:
                return Place(region, self._only_site.get(region))
            return Place(region, found[0], found[1:])
        if found is not None:
            return Place(self.sites[found[0]].region, found[0], found[1:])
        point = self._locate(client) if client else None
        region = self.default_region
        if point is not None:  # to a degree: regions are larger
            region = self._nearest_region(round(point[0]), round(point[1]))
        return Place(region, self._only_site.get(region))

    def network(self, client: str) -> str:
        """The network that this address is counted with: one that a site serves, or else its
        /24 or /48. An empty text for what is no address."""
        return self._networks.prefix(client) or surrounding(client)

    def place_of_site(self, site: str) -> Place:
        """The place of a viewer right at the site."""
        return Place(self.sites[site].region, site)

    def nearness(self, place: Place, site: str) -> Nearness:
        """How near the site is to the place."""
        if site == place.site:
            return Nearness(0, "same site")
        if site in place.others:
            return Nearness(1 + place.others.index(site), "serves the same network")
        fallbacks = self.sites[place.site].fallbacks if place.site else ()
        if site in fallbacks:
            number = fallbacks.index(site) + 1
            return Nearness(len(place.others) + number, f"fallback {number} of {place.site}")
        region = self.sites[site].region
        if region == place.region:
            return Nearness(_SAME_REGION, "same region")
        km = round(great_circle_km(self.regions[place.region], self.regions[region]))
        return Nearness(_OTHER_REGION + km, f"{km} km away")

    def _rings(self, place: Place, sites: tuple[str, ...] | None = None) -> tuple[Ring, ...]:
        """All sites, or these, from the nearest on, those that are equally near together."""
        rings: dict[Nearness, list[str]] = {}
        for site in self.sites if sites is None else sites:
            rings.setdefault(self.nearness(place, site), []).append(site)
        ordered = sorted(rings.items(), key=lambda ring: (ring[0].steps, ring[1]))
        return tuple((nearness, tuple(sites)) for nearness, sites in ordered)

    def _region_at(self, latitude: int, longitude: int) -> str:
        here = Region(id="here", name="", latitude=latitude, longitude=longitude)
        return min(self.regions.values(), key=lambda region: great_circle_km(here, region)).id

    def _mapped(
        self, sites: Iterable[Site], routes: Iterable[Route]
    ) -> NetworkMap[tuple[str, ...]]:
        """The sites of every network, the best first."""
        own = (Route(network=net, site=site.id) for site in sites for net in site.networks)
        heard: dict[tuple[int, int, int], list[Route]] = {}
        for route in (*own, *routes):
            if route.site not in self.sites:
                raise ValueError(f"{route.network}: there is no site {route.site!r}")
            heard.setdefault(parse_network(route.network), []).append(route)
        table: list[tuple[tuple[int, int, int], tuple[str, ...]]] = []
        for network, each in heard.items():
            each.sort(key=lambda route: (route.path_length, route.med))
            ids = tuple(route.site for route in each)
            if len(set(ids)) < len(ids):
                raise ValueError(f"the network {each[0].network} comes twice at one site")
            table.append((network, ids[: 1 + MAX_OTHERS]))
        return NetworkMap(table)

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


class Geography(BaseModel):
    """`GET /v1/geography`: all that an atlas is made of."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    regions: tuple[Region, ...]
    sites: tuple[Site, ...]
    default_region: str = ""
    routes: tuple[Route, ...] = ()
    last_resort_url: str = ""  # behind all sites; not on the map

    def atlas(self, locate: Locate = lambda address: None) -> Atlas:
        """The atlas. Raises ValueError for contradictions."""
        return Atlas(
            self.regions, self.sites, self.default_region, routes=self.routes, locate=locate
        )


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

"""Settings of steering: the table [steering] of nearcast.toml."""

from collections.abc import Iterable
from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from media.fill_window import FillWindow, known_zone
from media.fleet import Url
from media.ids import Name
from media.places import Atlas, Geography, Region, Route, Site
from runtime.settings import Settings

_REGIONS = (
    Region(id="north", name="North", latitude=59.9, longitude=10.7),
    Region(id="south", name="South", latitude=40.4, longitude=-3.7),
    Region(id="west", name="West", latitude=53.3, longitude=-6.3),
)
# Loopback networks for a cluster on one machine; the documentation networks of RFC 5737 and
# RFC 3849 beside them, so that every site can be asked for by an address that belongs to no one.
_SITES = (
    Site(
        id="north",
        region="north",
        networks=("127.0.1.0/24", "192.0.2.0/24", "2001:db8:1::/48"),
        fallbacks=("west", "south"),
    ),
    Site(
        id="south",
        region="south",
        networks=("127.0.2.0/24", "198.51.100.0/24", "2001:db8:2::/48"),
        fallbacks=("west", "north"),
    ),
    Site(
        id="west",
        region="west",
        networks=("127.0.3.0/24", "203.0.113.0/24", "2001:db8:3::/48"),
        fallbacks=("north", "south"),
    ),
)


class SteeringSettings(Settings):
    """What may be set; every default serves one machine."""

    listen: str = Field("127.0.0.1:8081", description="Address and port of the API")
    public_url: str = Field(
        "",
        pattern=r"^(https?://[^\s?#]+)?$",
        description="Where players reach this service; empty: the address it listens on",
    )
    control_plane_url: str = Field(
        "http://127.0.0.1:8080",
        pattern=r"^https?://[^\s?#]+$",
        description="Where the list of published packages comes from",
    )
    catalog_poll_s: float = Field(
        1.0, gt=0, le=3600, description="Seconds between two looks at that list"
    )
    state: str = Field(
        "memory:",
        pattern=r"^(memory:|rediss?://\S+|unix://\S+)$",
        description="Where the roster outlives a restart: memory: (it does not) or redis://…",
    )
    report_interval_s: float = Field(
        5.0,
        gt=0,
        le=60,
        description="Seconds between the reports of an appliance, and roster writes",
    )
    report_timeout_s: float = Field(
        15.0, gt=0, le=600, description="An appliance silent for this long is out: three reports"
    )
    forget_s: float = Field(
        86_400.0, gt=0, description="An appliance silent for this long leaves the roster"
    )
    clock_skew_s: float = Field(
        30.0, gt=0, description="An appliance whose clock is further off gets no viewers"
    )
    full_load: float = Field(
        0.95,
        gt=0,
        le=10,
        description="From this load on (1.0 = its capacity) it gets no more viewers",
    )
    recovery_s: float = Field(
        60.0,
        ge=0,
        le=3600,
        description="Seconds in which one that is back takes more and more viewers",
    )
    session_bps: int = Field(
        5_000_000, ge=0, description="Load that a new session counts for until the next report"
    )
    plan_share: float = Field(
        0.8,
        gt=0,
        le=1,
        description="Share of an appliance's budget that plans use; the rest is cache",
    )
    fill_nightly_share: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Share of a plan that may change in a day; free room is filled at once",
    )
    fill_window: str = Field(
        "",
        pattern=r"^(\d\d:\d\d-\d\d:\d\d)?$",
        description="Local hours in which plans are filled, such as 02:00-06:00; empty: always",
    )
    fill_rate_bps: int = Field(
        0, ge=0, description="Bits per second at which an appliance fills its plan; 0: no limit"
    )
    fill_rates_bps: dict[Name, PositiveInt] = Field(
        {}, max_length=10_000, description="The same of single appliances, by their id"
    )
    live_copies: int = Field(
        2, ge=1, le=1000, description="Whole copies that make a package live; fewer if all stand"
    )
    ttl_s: float = Field(
        15.0, ge=1, le=300, description="Seconds after which players ask again where to play from"
    )
    ttl_jitter: float = Field(
        0.2, ge=0, lt=1, description="How far that time varies, so that players do not ask in step"
    )
    purge_deadline_s: float = Field(
        600.0, gt=0, description="A purge that an appliance has not obeyed by then has failed"
    )
    purge_keep_s: float = Field(
        86_400.0,
        gt=0,
        description="For this long appliances that come back obey a purge, and its job is known",
    )
    cors_origin: str = Field(
        "*",
        max_length=200,
        pattern=r"^[!-~]+$",  # it becomes a header
        description="Pages that may read steering manifests",
    )
    default_region: str = Field(
        "", description="Region of viewers whose network no site serves; empty: the first region"
    )
    decision_log_bytes: int = Field(
        64 * 1024**2,
        ge=0,
        le=2**40,
        description="What the log of decisions may take (`nearcast steer replay`); 0: none",
    )
    dns_listen: str = Field(
        "", description="Address and port of the name server, UDP and TCP; empty: none"
    )
    dns_zone: str = Field(
        "edge.example",
        pattern=r"^([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}$",
        max_length=200,
        description="Every name below it has the addresses of the nearest appliances",
    )
    dns_ttl_s: int = Field(20, ge=1, le=3600, description="How long its answers may be kept")
    routes_files: tuple[str, ...] = Field(
        (), description="Files (CSV or TOML) of more networks: network, site, path_length, med"
    )
    geoip_file: str = Field(
        "", description="MaxMind database that places viewers whose network no site serves"
    )
    last_resort_url: Literal[""] | Url = Field(
        "",
        description="Where players go when every appliance fails: a base address of another CDN, "
        "or of the store with {key} where a package's key belongs; empty: nowhere",
    )
    regions: tuple[Region, ...] = Field(
        _REGIONS, min_length=1, max_length=1000, description="Parts of the world"
    )
    sites: tuple[Site, ...] = Field(
        _SITES, min_length=1, max_length=1000, description="Places with appliances"
    )

    @model_validator(mode="after")
    def _places_agree(self) -> "SteeringSettings":
        self.atlas()
        for site in self.sites:
            known_zone(site.timezone)
            self.window(site.timezone)
        return self

    def window(self, timezone: str) -> FillWindow | None:
        """The hours in which plans are filled at a site in this time zone; None: always."""
        return FillWindow.of(self.fill_window, timezone)

    def rate_bps(self, appliance_id: str) -> int | None:
        """The rate at which this appliance fills its plan; None: no limit."""
        return self.fill_rates_bps.get(appliance_id, self.fill_rate_bps) or None

    def geography(self, routes: Iterable[Route] = ()) -> Geography:
        """The regions and sites, and what else is known of their networks."""
        return Geography(
            regions=self.regions,
            sites=self.sites,
            default_region=self.default_region,
            routes=tuple(routes),
            last_resort_url=self.last_resort_url,
        )

    def atlas(self) -> Atlas:
        """The regions and sites, ready to be asked."""
        return self.geography().atlas()

"""A small fleet on paper: places, candidates, reports and packages for the tests of steering."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from media.fleet import Held, Holdings, PackageRef, Report
from media.ids import id_from
from media.places import Atlas, Region, Site
from media.rank import Candidate, Limits, Standing, host_of, standings

NOW_S = 1_800_000_000.0

REGIONS = (
    Region(id="north", name="North", latitude=59.9, longitude=10.7),
    Region(id="south", name="South", latitude=40.4, longitude=-3.7),
    Region(id="west", name="West", latitude=53.3, longitude=-6.3),
)
SITES = (
    Site(id="n1", region="north", networks=("192.0.2.0/24", "2001:db8:1::/48"), fallbacks=("s1",)),
    Site(id="n2", region="north"),
    Site(id="s1", region="south", networks=("198.51.100.0/24",)),
    Site(id="w1", region="west", networks=("203.0.113.0/24",), fallbacks=("n2", "n1")),
)
ATLAS = Atlas(REGIONS, SITES)
IN_N1 = "192.0.2.7"


def package_id(number: int = 0) -> str:
    """The id of the package with this number; a greater one is newer."""
    return id_from("pkg", 1_700_000_000_000 + number, number)


def session_id(number: int = 0) -> str:
    """The id of the session with this number."""
    return id_from("ses", 1_700_000_000_000, number)


class Holder(Candidate):
    """A candidate that holds a share of every package."""

    held: float = 0.0


def candidate(appliance_id: str, site: str = "n1", *, held: float = 0.0, **changes: Any) -> Holder:
    """A healthy, idle appliance on a host of its own that holds nothing."""
    fields: dict[str, Any] = {
        "url": f"http://{appliance_id}.example:8090",
        "state": "serving",
        "bottleneck": "none",
        "age_s": 1.0,
        "clock_skew_s": 0.0,
        "draining": False,
        "load": 0.1,
        "capacity_bps": 1_000_000_000,
    }
    fields |= changes
    made = Holder(appliance_id=appliance_id, site=site, host=host_of(fields["url"]), **fields)
    made.held = held
    return made


class Paper:
    """Appliances as `rank` asks for them."""

    def __init__(self, fleet: Iterable[Candidate], limits: Limits = Limits()) -> None:
        self._fleet = list(fleet)
        self._limits = limits
        self._held = {one.appliance_id: getattr(one, "held", 0.0) for one in self._fleet}

    def at(self, site: str) -> tuple[Standing, ...]:
        return standings([one for one in self._fleet if one.site == site], self._limits)

    def held(self, appliance_id: str) -> float:
        return self._held[appliance_id]

    def holds(self, site: str) -> bool:
        return any(self._held[one.appliance_id] >= 1 for one in self._fleet if one.site == site)


def report(appliance_id: str = "a1", now_s: float = NOW_S, **changes: Any) -> Report:
    """The first report of a healthy appliance."""
    fields: dict[str, Any] = {
        "site": "n1",
        "url": f"http://{appliance_id}.example:8090",
        "boot_id": "boot-1",
        "sequence": 1,
        "clock": datetime.fromtimestamp(now_s, UTC),
        "state": "serving",
        "load": 0.1,
        "capacity_bps": 1_000_000_000,
        "budget_bytes": 1_000_000,
        "used_bytes": 0,
    }
    return Report.model_validate({"appliance_id": appliance_id} | fields | changes)


def holdings(
    sequence: int, *held: tuple[str, str, float], snapshot: bool = False, boot_id: str = "boot-1"
) -> Holdings:
    """A message with these (package, rendition, fraction)."""
    return Holdings(
        boot_id=boot_id,
        sequence=sequence,
        snapshot=snapshot,
        held=tuple(
            Held(package_id=package, rendition_id=rendition, fraction=fraction)
            for package, rendition, fraction in held
        ),
    )


def package(number: int, total_bytes: int = 100_000) -> PackageRef:
    """A published package; a greater number is newer."""
    return PackageRef(
        title_id=id_from("ttl", 1_700_000_000_000, number),
        package_id=package_id(number),
        inventory_sha256=f"{number:064x}",
        total_bytes=total_bytes,
        published_at=datetime.fromtimestamp(NOW_S + number, UTC),
    )

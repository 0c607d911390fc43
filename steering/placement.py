"""The plan of an appliance: what it is to hold (steering/planning.py), and whom it asks. Pure."""

import hashlib
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass

from media.fill_window import FillWindow
from media.fills import Pin
from media.fleet import PackageRef, Peer, Plan, PlanItem
from media.places import Atlas
from steering.planning import Choice, Item
from steering.roster import MAX_APPLIANCES, Member

MAX_PEERS = 256


@dataclass(frozen=True)
class Wanting:
    """An appliance that asks for its plan."""

    appliance_id: str
    site: str


def plan(
    wanting: Wanting,
    choice: Choice,
    packages: Iterable[PackageRef],
    members: Iterable[Member],
    atlas: Atlas,
    *,
    purged: Collection[str] = (),
    pins: Mapping[str, Pin] = {},
    window: FillWindow | None = None,
    rate_bps: int | None = None,
) -> Plan:
    """The plan by the choice, as far as there are such `packages`. `members` are the appliances
    alive; `pins`, by package, are those that hold here. It is to be filled in the window, at the
    rate. The same input gives the same version, and another content another."""
    alive = {one.package_id: one for one in packages if one.package_id not in purged}
    items = _items(choice.items, alive, pins)
    unversioned = Plan(
        appliance_id=wanting.appliance_id,
        version="",
        items=items,
        peers=peers(wanting, members, atlas),
        window=window,
        rate_bps=rate_bps,
    )
    digest = hashlib.sha256(unversioned.model_dump_json().encode()).hexdigest()
    return unversioned.model_copy(update={"version": digest[:16]})


def left_out(choice: Choice, packages: Iterable[PackageRef]) -> tuple[PlanItem, ...]:
    """What the appliance would hold next."""
    return _items(choice.left_out, {one.package_id: one for one in packages}, {})


def _items(
    items: Iterable[Item], packages: Mapping[str, PackageRef], pins: Mapping[str, Pin]
) -> tuple[PlanItem, ...]:
    """Those whose packages there are."""
    return tuple(
        PlanItem(
            title_id=packages[item.package_id].title_id,
            package_id=item.package_id,
            inventory_sha256=packages[item.package_id].inventory_sha256,
            renditions=item.renditions,
            bytes=item.bytes,
            urgent=item.package_id in pins and pins[item.package_id].urgent,
            why=item.why,
        )
        for item in items
        if item.package_id in packages
    )


def peers(wanting: Wanting, members: Iterable[Member], atlas: Atlas) -> tuple[Peer, ...]:
    """Whom to ask for a file before the store: the site's own appliances, then those of other
    sites by nearness. Equals stand in an order of each asker's own, to spread load."""
    rings = atlas.rings(atlas.place_of_site(wanting.site))
    region = atlas.sites[wanting.site].region
    steps = {site: nearness.steps for nearness, sites in rings for site in sites}

    def order(member: Member) -> tuple[float, bytes]:
        pair = f"{wanting.appliance_id}\0{member.appliance_id}".encode()
        return (
            steps[member.site],
            hashlib.blake2b(pair, digest_size=8).digest(),
        )

    others = [member for member in members if member.appliance_id != wanting.appliance_id]
    return tuple(
        Peer(
            appliance_id=member.appliance_id,
            url=member.url,
            site=member.site,
            capacity_bps=member.capacity_bps,
            tier=atlas.sites[member.site].region == region,
        )
        for member in sorted(others, key=order)[:MAX_PEERS]
    )


class PlanVersions:
    """The version of each appliance's latest plan, so that a poll without news costs a comparison
    instead of a plan. Only a fingerprint of what went in is kept: fleets are large."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, str]] = {}

    def find(self, wanting: Wanting, *inputs: Hashable) -> str | None:
        """The version of the plan made from the same inputs, or None."""
        fingerprint, version = self._known.get(wanting.appliance_id, (None, None))
        return version if fingerprint == hash((wanting, inputs)) else None

    def keep(self, version: str, wanting: Wanting, *inputs: Hashable) -> None:
        """`find` with these inputs gives `version`."""
        if len(self._known) >= MAX_APPLIANCES and wanting.appliance_id not in self._known:
            self._known.clear()
        self._known[wanting.appliance_id] = hash((wanting, inputs)), version

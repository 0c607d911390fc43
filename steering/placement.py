"""The plan of an appliance: what it is to hold, and whom it asks first. Pure.

What it is to hold is the planner's choice (steering/planning.py). Before there is one, it is the
newest packages that fit into the share of its budget that plans use: one that does not fit is left
out and smaller, older ones may still come. Those that are pinned come before all others.
"""

import hashlib
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass

from media.fill_window import FillWindow
from media.fleet import PackageRef, Peer, Pin, Plan, PlanItem
from media.places import Atlas
from steering.planning import Choice, Item
from steering.roster import MAX_APPLIANCES, Member

MAX_PEERS = 256


@dataclass(frozen=True)
class Wanting:
    """An appliance that asks for its plan."""

    appliance_id: str
    site: str
    budget_bytes: int


def plan(
    wanting: Wanting,
    packages: Iterable[PackageRef],
    members: Iterable[Member],
    atlas: Atlas,
    *,
    share: float,
    purged: Collection[str] = (),
    pins: Mapping[str, Pin] = {},
    window: FillWindow | None = None,
    rate_bps: int | None = None,
    choice: Choice | None = None,
) -> Plan:
    """The plan for `packages`, newest first, by the `choice`, if there is one; else by `share`, the
    part of the budget that plans use. `members` are the appliances alive; `pins`, by package, are
    those that hold here. It is to be filled in the window, at the rate. The same input gives the
    same version, and another content another."""
    alive = {one.package_id: one for one in packages if one.package_id not in purged}
    if choice is None:
        choice = _newest(alive.values(), pins, int(wanting.budget_bytes * share))
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


def left_out(choice: Choice | None, packages: Iterable[PackageRef]) -> tuple[PlanItem, ...]:
    """What the appliance would hold next."""
    alive = {one.package_id: one for one in packages}
    return () if choice is None else _items(choice.left_out, alive, {})


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


def _newest(packages: Iterable[PackageRef], pins: Mapping[str, Pin], room_bytes: int) -> Choice:
    """Whole packages that fit into so many bytes."""
    items = []
    for package in sorted(packages, key=lambda one: one.package_id not in pins):
        if package.total_bytes <= room_bytes:
            room_bytes -= package.total_bytes
            why = "pinned" if package.package_id in pins else "new"
            items.append(Item(package.package_id, None, package.total_bytes, why))
    return Choice(tuple(items))


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

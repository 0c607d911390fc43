"""How far the plans are: of each appliance, and of each package. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from media.fill_window import FillWindow
from media.fills import ApplianceFill, PackageFill, Pin
from media.fleet import PackageRef, Plan
from steering.holdings import Shelves
from steering.roster import MAX_APPLIANCES, Record


class Given(NamedTuple):
    """What is remembered of a plan: the renditions of its packages, None for all of them."""

    version: str
    wanted_bytes: int
    items: Mapping[str, tuple[str, ...] | None]
    window: FillWindow | None
    rate_bps: int | None


class Copies(NamedTuple):
    """Plans that want a package, and appliances that hold it: whole, or what their plan wants."""

    wanted_by: int
    held_by: int

    def are_enough(self, copies: int) -> bool:
        """So many stand, or all that are wanted; one at least."""
        return self.held_by >= min(copies, max(1, self.wanted_by))


class FillBook:
    """The plan that was made last for each appliance. `copies` make a package live."""

    def __init__(self, copies: int) -> None:
        self._copies = copies
        self._given: dict[str, Given] = {}

    def planned(self, plan: Plan) -> None:
        """This is the appliance's plan from now on."""
        if len(self._given) >= MAX_APPLIANCES and plan.appliance_id not in self._given:
            self._given.pop(next(iter(self._given)))
        self._given[plan.appliance_id] = Given(
            plan.version,
            sum(item.bytes for item in plan.items),
            {item.package_id: item.renditions for item in plan.items},
            plan.window,
            plan.rate_bps,
        )

    def appliance(self, record: Record, region: str, alive: bool, now_s: float) -> ApplianceFill:
        """How far an appliance is, by its report."""
        report = record.report
        given = self._given.get(report.appliance_id, _NOTHING)
        return ApplianceFill(
            appliance_id=report.appliance_id,
            site=report.site,
            region=region,
            alive=alive,
            state=report.plan_state,
            plan_version=report.plan_version,
            is_current=given.version == report.plan_version,
            items=len(given.items),
            wanted_bytes=given.wanted_bytes,
            missing_bytes=report.plan_missing_bytes,
            missing_files=report.plan_missing_files,
            window=given.window,
            window_open=given.window is None or given.window.is_open(now_s),
            rate_bps=given.rate_bps,
        )

    def packages(
        self,
        packages: Sequence[PackageRef],
        alive: Iterable[str],
        shelves: Shelves,
        pins: Mapping[str, Pin],
    ) -> list[PackageFill]:
        """The copies of these packages on the appliances that are alive."""
        told = []
        for package, copies in self._counted(packages, alive, shelves):
            told.append(
                PackageFill(
                    title_id=package.title_id,
                    package_id=package.package_id,
                    total_bytes=package.total_bytes,
                    wanted_by=copies.wanted_by,
                    held_by=copies.held_by,
                    live=copies.are_enough(self._copies),
                    pin=pins.get(package.package_id),
                )
            )
        return told

    def live(self, packages: Sequence[PackageRef], alive: Iterable[str], shelves: Shelves) -> int:
        """How many of these packages are live."""
        counted = self._counted(packages, alive, shelves)
        return sum(copies.are_enough(self._copies) for _, copies in counted)

    def _counted(
        self, packages: Sequence[PackageRef], alive: Iterable[str], shelves: Shelves
    ) -> list[tuple[PackageRef, Copies]]:
        wanted: Counter[str] = Counter()
        in_part: dict[str, list[str]] = {}  # appliances that hold all the parts they want
        living = set(alive)
        for one in living:
            items = self._given.get(one, _NOTHING).items
            wanted.update(items.keys())
            for package_id, renditions in items.items():
                if renditions is not None and _holds(shelves, one, package_id, renditions):
                    in_part.setdefault(package_id, []).append(one)
        counted = []
        for package in packages:
            shares = shelves.shares(package.package_id)
            holders = {one for one, share in shares.items() if share >= 1}
            holders.update(in_part.get(package.package_id, ()))
            copies = Copies(wanted[package.package_id], len(holders & living))
            counted.append((package, copies))
        return counted


_NOTHING = Given("", 0, {}, None, None)


def _holds(shelves: Shelves, one: str, package_id: str, renditions: Iterable[str]) -> bool:
    shelf = shelves.get(one)
    held = {} if shelf is None else shelf.packages.get(package_id, {})
    return all(held.get(rendition, 0) >= 1 for rendition in renditions)

"""What appliances hold, from their snapshots and deltas. Pure."""

from dataclasses import dataclass, field

from media.fleet import MAX_HELD, MAX_PLAN_ITEMS, Held, Holdings
from runtime.errors import Problem


@dataclass
class Shelf:
    """What one appliance holds: fractions by package and rendition, as of `sequence`."""

    boot_id: str
    sequence: int
    packages: dict[str, dict[str, float]] = field(default_factory=dict)
    size: int = 0  # renditions in all packages

    def put(self, held: Held) -> None:
        """The rendition is held to this fraction; 0 takes it off."""
        renditions = self.packages.setdefault(held.package_id, {})
        self.size -= held.rendition_id in renditions
        if held.fraction > 0:
            renditions[held.rendition_id] = held.fraction
            self.size += 1
        else:
            renditions.pop(held.rendition_id, None)
        if not renditions:
            del self.packages[held.package_id]

    def snapshot(self) -> Holdings:
        """Everything in one message."""
        held = tuple(
            Held(package_id=package_id, rendition_id=rendition_id, fraction=fraction)
            for package_id, renditions in self.packages.items()
            for rendition_id, fraction in renditions.items()
        )
        return Holdings(boot_id=self.boot_id, sequence=self.sequence, snapshot=True, held=held)


class Shelves:
    """The shelves of all appliances.

    How many renditions a package has is not said here, so the widest copy that any appliance has
    shown stands for the whole.
    """

    def __init__(self) -> None:
        self._shelves: dict[str, Shelf] = {}
        self._widest: dict[str, int] = {}

    def take(self, appliance_id: str, message: Holdings) -> bool:
        """The message counts; returns whether it was news, False for one that came too late.

        A delta may come again under its own sequence, with more in it, when its answer was lost:
        fractions are absolute, so it is applied again. Raises Problem `holdings_gap` for a delta
        that does not follow, and `invalid_field` when the shelf would grow beyond MAX_HELD.
        """
        shelf = self._shelves.get(appliance_id)
        same_boot = shelf is not None and shelf.boot_id == message.boot_id
        if shelf is not None and same_boot and message.sequence < shelf.sequence:
            return False
        if message.snapshot:
            shelf = Shelf(message.boot_id, message.sequence)
        elif shelf is None or not same_boot or message.sequence > shelf.sequence + 1:
            raise Problem("holdings_gap")
        elif shelf.size + len(message.held) > MAX_HELD:
            raise Problem(
                "invalid_field", f"held: an appliance holds at most {MAX_HELD} renditions."
            )
        for held in message.held:
            shelf.put(held)
        shelf.sequence = message.sequence
        self._shelves[appliance_id] = shelf
        self._widen(shelf, {held.package_id for held in message.held})
        return True

    def drop(self, appliance_id: str) -> None:
        """Nothing is known of this appliance."""
        self._shelves.pop(appliance_id, None)

    def get(self, appliance_id: str) -> Shelf | None:
        """Its shelf, or None before its first snapshot."""
        return self._shelves.get(appliance_id)

    def share(self, appliance_id: str, package_id: str) -> float:
        """How much of the package the appliance holds, from 0 to 1."""
        shelf = self._shelves.get(appliance_id)
        renditions = shelf.packages.get(package_id) if shelf else None
        if not renditions:
            return 0.0
        return sum(renditions.values()) / max(self._widest.get(package_id, 1), len(renditions))

    def whole_packages(self, appliance_id: str) -> int:
        """How many packages the appliance holds whole."""
        shelf = self._shelves.get(appliance_id)
        packages = shelf.packages if shelf else {}
        return sum(self.share(appliance_id, package_id) >= 1.0 for package_id in packages)

    def _widen(self, shelf: Shelf, package_ids: set[str]) -> None:
        if len(self._widest) > MAX_PLAN_ITEMS:  # forget packages that nobody holds any more
            self._widest.clear()
            for other in self._shelves.values():
                self._note_widths(other, set(other.packages))
        self._note_widths(shelf, package_ids)

    def _note_widths(self, shelf: Shelf, package_ids: set[str]) -> None:
        for package_id in package_ids:
            width = len(shelf.packages.get(package_id, ()))
            if width > self._widest.get(package_id, 0):
                self._widest[package_id] = width

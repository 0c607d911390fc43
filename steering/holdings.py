"""What appliances hold, from their snapshots and deltas. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from media.fleet import MAX_HELD, Held, Holdings
from runtime.errors import Problem

_NOBODY: Mapping[str, float] = {}


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
        self.changes = 0
        self._shelves: dict[str, Shelf] = {}
        self._widest: dict[str, int] = {}  # renditions, by package
        self._shares: dict[str, dict[str, float]] = {}  # by package and appliance

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
        changed = {held.package_id for held in message.held}
        if message.snapshot:
            changed.update(shelf.packages if shelf is not None else ())
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
        self.changes += 1
        self._shelves[appliance_id] = shelf
        for package_id in changed:
            self._share_anew(appliance_id, shelf, package_id)
        return True

    def drop(self, appliance_id: str) -> None:
        """Nothing is known of this appliance."""
        shelf = self._shelves.pop(appliance_id, None)
        self.changes += 1
        for package_id in shelf.packages if shelf is not None else ():
            self._take_off(appliance_id, package_id)

    def get(self, appliance_id: str) -> Shelf | None:
        """Its shelf, or None before its first snapshot."""
        return self._shelves.get(appliance_id)

    def share(self, appliance_id: str, package_id: str) -> float:
        """How much of the package the appliance holds, from 0 to 1."""
        return self.shares(package_id).get(appliance_id, 0.0)

    def shares(self, package_id: str) -> Mapping[str, float]:
        """The same for all who hold something of the package."""
        return self._shares.get(package_id, _NOBODY)

    def whole_packages(self, appliance_id: str) -> int:
        """How many packages the appliance holds whole."""
        shelf = self._shelves.get(appliance_id)
        packages = shelf.packages if shelf else {}
        return sum(self.share(appliance_id, package_id) >= 1.0 for package_id in packages)

    def _share_anew(self, appliance_id: str, shelf: Shelf, package_id: str) -> None:
        """The shelf has changed here."""
        renditions = shelf.packages.get(package_id)
        if not renditions:
            self._take_off(appliance_id, package_id)
            return
        shares = self._shares.setdefault(package_id, {})
        width = self._widest.get(package_id, 0)
        if len(renditions) > width:
            for other, share in shares.items():
                shares[other] = share * width / len(renditions)
            width = self._widest[package_id] = len(renditions)
        shares[appliance_id] = sum(renditions.values()) / width

    def _take_off(self, appliance_id: str, package_id: str) -> None:
        shares = self._shares.get(package_id, {})
        shares.pop(appliance_id, None)
        if not shares:  # nobody holds it any more
            self._shares.pop(package_id, None)
            self._widest.pop(package_id, None)

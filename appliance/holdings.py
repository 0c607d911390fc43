"""What the appliance holds, per rendition, and the changes that steering has not heard of. Pure."""

from collections import Counter

from media.fleet import Held, Holdings
from media.inventory import Inventory, rendition_of


class Ledger:
    """Counts held files against the inventories known; hands out snapshots and deltas."""

    def __init__(self, boot_id: str) -> None:
        self._boot_id = boot_id
        self._sequence = 0
        self._files: dict[tuple[str, str], int] = {}  # files of each rendition, its list included
        self._held: Counter[tuple[str, str]] = Counter()
        self._changed: set[tuple[str, str]] = set()
        self._snapshot_due = True

    def know(self, inventory: Inventory) -> None:
        """The package's renditions can be counted from now on."""
        for rendition in inventory.renditions:
            name = (inventory.package_id, rendition.rendition_id)
            self._files[name] = rendition.file_count + 1
            if self._held[name]:
                self._changed.add(name)

    def change(self, key: str, held: bool) -> None:
        """The file `{package_id}/{path}` came or went: once each, for files are only counted."""
        package_id, _, path = key.partition("/")
        rendition_id = rendition_of(path)
        if rendition_id is None:
            return
        name = (package_id, rendition_id)
        self._held[name] += 1 if held else -1
        if not self._held[name]:
            del self._held[name]
        self._changed.add(name)

    def due(self) -> Holdings | None:
        """The next message to steering, or None when it knows all."""
        names = set(self._held) if self._snapshot_due else self._changed
        names = names & self._files.keys()  # of the others nobody knows how much there is
        if not names and not self._snapshot_due:
            return None
        held = tuple(
            Held(package_id=name[0], rendition_id=name[1], fraction=self._fraction(name))
            for name in sorted(names)
        )
        return Holdings(
            boot_id=self._boot_id,
            sequence=self._sequence,
            snapshot=self._snapshot_due,
            held=held,
        )

    def sent(self, message: Holdings) -> None:
        """Steering has taken the message."""
        told = {(held.package_id, held.rendition_id) for held in message.held}
        still = {
            (held.package_id, held.rendition_id)
            for held in message.held
            if held.fraction != self._fraction((held.package_id, held.rendition_id))
        }
        self._changed = (self._changed - told) | still
        self._snapshot_due = False
        self._sequence += 1

    def heard(self, sequence: int | None) -> None:
        """Steering has the message of this sequence; if that is not the last one sent, it has lost
        the thread."""
        if self._sequence > 0 and sequence != self._sequence - 1:
            self.resend()

    def resend(self) -> None:
        """Steering has lost the thread: the next message is a snapshot."""
        self._snapshot_due = True

    def complete_packages(self) -> tuple[str, ...]:
        """Packages of which every rendition is held whole."""
        partial = {name[0] for name in self._files if self._fraction(name) < 1.0}
        return tuple(sorted({package_id for package_id, _ in self._files} - partial))

    def _fraction(self, name: tuple[str, str]) -> float:
        files = self._files.get(name, 0)
        return min(1.0, self._held[name] / files) if files else 0.0

"""What a cache policy is: it is told of files, and says which one leaves."""

from typing import Protocol


class Policy(Protocol):
    """An order among the files that may leave. Slots are those of an Index; sizes count in bytes.
    Every operation takes the same short time on average."""

    def insert(self, slot: int) -> None:
        """A file has come."""

    def insert_oldest(self, slot: int) -> None:
        """A file was found that has been here for longer than all the others."""

    def touch(self, slot: int) -> None:
        """A file was used."""

    def remove(self, slot: int) -> None:
        """A file leaves for a reason that is not the policy's."""

    def reserve(self, pinned_bytes: int) -> None:
        """So much of the budget is held by files that may not leave, and that it is not told of."""

    def victim(self) -> int:
        """The file to evict, which stands in no queue any more; NIL if there is none."""

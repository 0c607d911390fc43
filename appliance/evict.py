"""Which files leave the cache: least recently used first, pinned ones never. Pure."""

from collections import OrderedDict
from collections.abc import Iterator


class Lru:
    """Files by recency, weighted in bytes. Pinned files are counted, and never chosen."""

    def __init__(self) -> None:
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._pinned: dict[str, int] = {}
        self.used_bytes = 0
        self.pinned_bytes = 0  # of those: what cannot be evicted

    def __contains__(self, key: str) -> bool:
        return key in self._sizes or key in self._pinned

    def __len__(self) -> int:
        return len(self._sizes) + len(self._pinned)

    def __iter__(self) -> Iterator[str]:
        yield from self._sizes
        yield from self._pinned

    def size(self, key: str) -> int:
        """Bytes of a file that is in."""
        return self._pinned[key] if key in self._pinned else self._sizes[key]

    def insert(self, key: str, size_bytes: int, *, pinned: bool = False) -> None:
        """The file is in, as the most recent one."""
        self.remove(key)
        (self._pinned if pinned else self._sizes)[key] = size_bytes
        self.used_bytes += size_bytes
        self.pinned_bytes += size_bytes if pinned else 0

    def remove(self, key: str) -> int:
        """The file is out. Returns its bytes, 0 if it was not in."""
        pinned = self._pinned.pop(key, 0)
        size = pinned or self._sizes.pop(key, 0)
        self.used_bytes -= size
        self.pinned_bytes -= pinned
        return size

    def touch(self, key: str) -> None:
        """The file was used."""
        if key in self._sizes:
            self._sizes.move_to_end(key)

    def pin(self, key: str, pinned: bool) -> None:
        """Whether the plan holds the file. An unpinned one joins as the most recent."""
        if (key in self._pinned) != pinned and key in self:
            self.insert(key, self.size(key), pinned=pinned)

    def victims(self, bytes_to_free: int) -> list[str]:
        """The files to unlink, oldest first, that free so many bytes; they are out afterwards.
        Fewer bytes, when the rest is pinned."""
        chosen: list[str] = []
        while bytes_to_free > 0 and self._sizes:
            key, size = self._sizes.popitem(last=False)
            self.used_bytes -= size
            bytes_to_free -= size
            chosen.append(key)
        return chosen

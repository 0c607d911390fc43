"""The index: which files are held, in few bytes, and the queues they stand in. Pure.

A file is a number, its *slot*. Its key, `{package_id}/{path}`, is looked up in two steps: the
directory, then the name in it. Names such as `12.m4s` are shared by all directories. What is known
of a file stands in columns, and queues are links between slots, so a file costs about 85 bytes
and every operation the same, however many there are (tests/appliance/index_memory.py measures).
"""

from array import array
from collections.abc import Iterator

NIL = 0  # nobody's slot

PINNED = 1  # flags: the plan holds it
FRESH = 2  # … perhaps not yet on the disk, only in the page cache (appliance/shelf.py)


class Directory:
    """The held files of one directory of a package."""

    __slots__ = ("number", "path", "pinned", "slots")

    def __init__(self, path: str, number: int) -> None:
        self.path = path
        self.number = number
        self.slots: dict[str, int] = {}
        self.pinned: bool | None = None  # the plan's verdict on all of them; None: not asked


class Index:
    """Slots by key, and their columns. Who owns a column says what is in it."""

    def __init__(self) -> None:
        self.sizes = array("Q", [0])
        self.flags = array("B", [0])
        self.shelf = array("B", [0])  # on which of the cache's folders it lies
        # Owned by the policies, through `Queue`.
        self.newer = array("I", [NIL])
        self.older = array("I", [NIL])
        self.marks = array("B", [0])
        self._directory = array("I", [0])
        self._name = array("I", [0])
        self._free = NIL  # a chain through `older`
        self._count = 0
        self._directories: dict[str, Directory] = {}
        self._by_number: list[Directory | None] = []
        self._free_numbers: list[int] = []
        self._name_numbers: dict[str, int] = {}
        self._names: list[str] = []
        self._name_uses = array("I")
        self._free_names: list[int] = []

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        """All keys, by directory."""
        for directory in list(self._directories.values()):
            for name in list(directory.slots):
                yield f"{directory.path}/{name}"

    def find(self, key: str) -> int:
        """The slot of a file, NIL if it is not held."""
        path, _, name = key.rpartition("/")
        directory = self._directories.get(path)
        return NIL if directory is None else directory.slots.get(name, NIL)

    def key(self, slot: int) -> str:
        """The key of a held file."""
        directory = self._by_number[self._directory[slot]]
        assert directory is not None
        return f"{directory.path}/{self._names[self._name[slot]]}"

    def add(self, key: str, size_bytes: int, shelf: int) -> int:
        """The file is held. Returns its slot; it stands in no queue. It must not be held yet."""
        path, _, name = key.rpartition("/")
        directory = self._directories.get(path) or self._open(path)
        number = self._name_numbers.get(name)
        if number is None:
            number = self._learn(name)
        self._name_uses[number] += 1
        slot = self._free
        if slot == NIL:
            slot = len(self.sizes)
            self.sizes.append(size_bytes)
            self.shelf.append(shelf)
            self._directory.append(directory.number)
            self._name.append(number)
            for column in (self.flags, self.marks, self.newer, self.older):
                column.append(0)
        else:
            self._free = self.older[slot]
            self.sizes[slot] = size_bytes
            self.shelf[slot] = shelf
            self._directory[slot] = directory.number
            self._name[slot] = number
            self.flags[slot] = self.marks[slot] = 0
            self.older[slot] = NIL
        assert name not in directory.slots
        directory.slots[self._names[number]] = slot
        self._count += 1
        return slot

    def drop(self, slot: int) -> None:
        """The file is not held any more; it must stand in no queue. The slot will be another's."""
        directory = self._by_number[self._directory[slot]]
        assert directory is not None
        number = self._name[slot]
        name = self._names[number]
        del directory.slots[name]
        if not directory.slots:
            self._close(directory)
        self._name_uses[number] -= 1
        if self._name_uses[number] == 0:
            del self._name_numbers[name]
            self._names[number] = ""
            self._free_names.append(number)
        self.flags[slot] = 0
        self.older[slot] = self._free
        self._free = slot
        self._count -= 1

    def directory(self, slot: int) -> Directory:
        """Where a held file belongs."""
        directory = self._by_number[self._directory[slot]]
        assert directory is not None
        return directory

    def directories(self) -> list[Directory]:
        """All that hold a file, as of now."""
        return list(self._directories.values())

    def _open(self, path: str) -> Directory:
        number = self._free_numbers.pop() if self._free_numbers else len(self._by_number)
        directory = self._directories[path] = Directory(path, number)
        if number == len(self._by_number):
            self._by_number.append(directory)
        else:
            self._by_number[number] = directory
        return directory

    def _close(self, directory: Directory) -> None:
        del self._directories[directory.path]
        self._by_number[directory.number] = None
        self._free_numbers.append(directory.number)

    def _learn(self, name: str) -> int:
        if self._free_names:
            number = self._free_names.pop()
            self._names[number] = name
        else:
            number = len(self._names)
            self._names.append(name)
            self._name_uses.append(0)
        self._name_numbers[name] = number
        return number


class Queue:
    """Slots in a row, from the newest to the oldest. A slot stands in one queue at most."""

    __slots__ = ("_index", "bytes", "count", "newest", "oldest")

    def __init__(self, index: Index) -> None:
        self._index = index
        self.newest = self.oldest = NIL
        self.bytes = 0
        self.count = 0

    def __iter__(self) -> Iterator[int]:
        """From the oldest on."""
        slot = self.oldest
        while slot != NIL:
            yield slot
            slot = self._index.newer[slot]

    def push(self, slot: int) -> None:
        """It is the newest."""
        index = self._index
        index.newer[slot], index.older[slot] = NIL, self.newest
        if self.newest == NIL:
            self.oldest = slot
        else:
            index.newer[self.newest] = slot
        self.newest = slot
        self.bytes += index.sizes[slot]
        self.count += 1

    def push_oldest(self, slot: int) -> None:
        """It is the oldest."""
        index = self._index
        index.newer[slot], index.older[slot] = self.oldest, NIL
        if self.oldest == NIL:
            self.newest = slot
        else:
            index.older[self.oldest] = slot
        self.oldest = slot
        self.bytes += index.sizes[slot]
        self.count += 1

    def remove(self, slot: int) -> None:
        """It stands here no longer."""
        index = self._index
        newer, older = index.newer[slot], index.older[slot]
        if newer == NIL:
            self.newest = older
        else:
            index.older[newer] = older
        if older == NIL:
            self.oldest = newer
        else:
            index.newer[older] = newer
        self.bytes -= index.sizes[slot]
        self.count -= 1

    def pop(self) -> int:
        """The oldest, which leaves; NIL if there is none."""
        slot = self.oldest
        if slot != NIL:
            self.remove(slot)
        return slot

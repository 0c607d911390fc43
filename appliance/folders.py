"""In which folder of the cache a file lies. Pure; keeper and workers ask the same question.

    {folder}/{key}                  a file that is whole, and on the disk
    {folder}/.new/{boot_id}/{key}   one that is whole, but perhaps only in the page cache

Each key has an order of folders of its own, by rendezvous hashing weighted with the folders' bytes
(Thaler and Ravishankar, ToN 1998; weights: Schindelhauer and Schomaker, SPAA 2005). A file lies in
the first of them that could take it when it came, so who looks for one tries them in that order.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import Problem

NEW = ".new"
MAX_FOLDERS = 32  # the board has one word for those out of service


@dataclass(frozen=True)
class FolderShare:
    """A folder, and how much of the budget is its."""

    path: Path
    budget_bytes: int


def shares_of(cache_dirs: Sequence[str], budget_bytes: int, default: Path) -> list[FolderShare]:
    """The folders of the setting: `PATH=BYTES`, or `PATH` for an equal part of what the others
    leave of the budget. None means `default`, alone. Raises Problem `bad_settings`."""
    named: dict[Path, int | None] = {}
    for text in cache_dirs or [str(default)]:
        path, equals, size = text.rpartition("=")
        if not (equals and size.isdigit()):
            path, size = text, ""
        if Path(path) in named:
            raise Problem("bad_settings", f"cache_dirs names {path} twice.")
        named[Path(path)] = int(size) if size else None
    given = [size for size in named.values() if size is not None]
    open_ended = len(named) - len(given)
    rest = budget_bytes - sum(given)
    if len(named) > MAX_FOLDERS or rest < 0 or (open_ended and rest < open_ended):
        raise Problem("bad_settings", "cache_dirs asks for more than budget_bytes has.")
    return [
        FolderShare(path, rest // open_ended if size is None else size)
        for path, size in named.items()
    ]


class Folders:
    """The folders by number, and the order in which each key tries them."""

    def __init__(self, shares: Sequence[FolderShare], boot_id: str) -> None:
        """`boot_id`: of the machine, /proc/sys/kernel/random/boot_id."""
        self.shares = tuple(shares)
        self.boot_id = boot_id
        self._finals = [f"{share.path}/" for share in shares]
        self._news = [f"{share.path}/{NEW}/{boot_id}/" for share in shares]
        self._salts = [_salt(share.path) for share in shares]

    def places(self, key: str) -> Sequence[int]:
        """The folders' numbers, the key's first choice first."""
        if len(self.shares) == 1:
            return (0,)
        raw = key.encode()
        scores = []
        for number, share in enumerate(self.shares):
            digest = hashlib.blake2b(raw, digest_size=8, salt=self._salts[number]).digest()
            chance = (int.from_bytes(digest, "big") + 1) / (2**64 + 1)  # in (0, 1)
            scores.append((math.log(chance) / max(1, share.budget_bytes), number))
        return [number for _, number in sorted(scores, reverse=True)]

    def paths(self, key: str, out: int = 0) -> Iterator[str]:
        """Where a reader looks, in turn; `out` has a bit set for each folder out of service
        (Board.folders_out). A file moves from its new place to its final one and never back: so
        who looked into both and then into the final ones again has missed nothing."""
        numbers = [number for number in self.places(key) if not out >> number & 1]
        for number in numbers:
            yield self._finals[number] + key
            yield self._news[number] + key
        for number in numbers:
            yield self._finals[number] + key

    def final(self, number: int, key: str) -> str:
        """The file's place when it is on the disk."""
        return self._finals[number] + key

    def new(self, number: int, key: str) -> str:
        """Its place before that."""
        return self._news[number] + key


def _salt(path: Path) -> bytes:
    return hashlib.blake2b(str(path).encode(), digest_size=16).digest()

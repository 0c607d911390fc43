"""Several files take the places of others, all of them or none."""

import os
import secrets
from pathlib import Path


class Swap:
    """Files that wait beside their places (`stage`, `stage_away`) until `into_place`. When the
    block ends with an exception, everything is as it was; else what was replaced is gone."""

    def __init__(self) -> None:
        self._mark = secrets.token_hex(4)
        self._staged: list[tuple[Path, Path | None]] = []
        self._undo: list[tuple[Path, Path | None]] = []  # places, and where their old files wait

    def __enter__(self) -> "Swap":
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            self._put_back()
        for _, old in self._undo:
            if old is not None:
                old.unlink(missing_ok=True)
        for _, new in self._staged:
            if new is not None:
                new.unlink(missing_ok=True)

    def stage(self, place: Path, data: bytes = b"") -> Path:
        """A private file with these bytes waits for the place; returns where."""
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = place.with_name(f".{place.name}.{self._mark}.new")
        self._staged.append((place, new))
        descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return new

    def stage_away(self, place: Path) -> None:
        """At the place there will be nothing."""
        self._staged.append((place, None))

    def into_place(self) -> None:
        """Every file is in its place. Raises OSError."""
        for place, new in self._staged:
            old = place.with_name(f".{place.name}.{self._mark}.old")
            try:
                place.rename(old)
                self._undo.append((place, old))
            except FileNotFoundError:
                self._undo.append((place, None))
            if new is not None:
                new.rename(place)
        for folder in {place.parent for place, _ in self._staged}:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _put_back(self) -> None:
        while self._undo:
            place, old = self._undo.pop()
            if old is not None:
                old.replace(place)
            else:
                place.unlink(missing_ok=True)

"""Small files that survive a power cut."""

import os
from pathlib import Path


def write_durably(path: Path, data: bytes) -> None:
    """The file holds `data`, in one step: a reader, and a restart after a power cut, find the old
    content or the new. Raises OSError. Blocks for the disk, so call it in a thread."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # the new name, too
    finally:
        os.close(folder)

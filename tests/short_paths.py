"""Folders whose paths are short."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder for Unix sockets, whose paths may have 107 bytes; it goes with the block."""
    with tempfile.TemporaryDirectory(prefix="nc-", dir="/tmp") as name:
        yield Path(name)

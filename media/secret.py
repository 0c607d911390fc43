"""Files that only their owner reads: made once, then read for ever."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path


def read_or_make(path: Path, make: Callable[[], bytes]) -> bytes:
    """The file's bytes. A missing file is made (0600, its folder 0700) with what `make` returns;
    of two processes that try, one makes it and both read the same. After a crash there is the
    whole file or none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)  # whole, and never in place of another's
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
    return path.read_bytes()

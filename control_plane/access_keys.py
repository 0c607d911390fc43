"""The keys that sign access tokens: the newest signs, older ones verify until their last token has
lapsed.

They lie in one private file that replicas share. A replica sees at its next look that another has
rotated them.
"""

import base64
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from control_plane.clock import Clock
from media.secret import read_or_make
from runtime.errors import Problem

# Services' clocks may differ by so much: a key verifies this much longer than its tokens live.
LEEWAY = timedelta(seconds=60)


@dataclass(frozen=True)
class AccessKey:
    """An Ed25519 key. `kid` is what its tokens name it by."""

    kid: str
    made_at: datetime
    seed: bytes = field(repr=False)

    @property
    def private(self) -> Ed25519PrivateKey:
        """What signs."""
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    @property
    def public(self) -> Ed25519PublicKey:
        """What verifies."""
        return self.private.public_key()


def rotated(keys: list[AccessKey], fresh: AccessKey, keep: timedelta) -> list[AccessKey]:
    """The keys with a new one that signs from now on, without those that no live token can need:
    whose successor has signed for longer than `keep`. Newest first; pure."""
    successors = [fresh, *keys]
    needed = [
        key
        for key, successor in zip(keys, successors, strict=False)
        if fresh.made_at - successor.made_at < keep
    ]
    return [fresh, *needed]


class AccessKeys:
    """The keys in the file `path`, made there when it is missing. `life_s` is that of a token.
    Raises Problem `bad_settings` for a file that holds no keys."""

    def __init__(self, path: Path, clock: Clock, *, life_s: int) -> None:
        self._path = path
        self._clock = clock
        self._keep = timedelta(seconds=life_s) + LEEWAY
        self._seen: tuple[int, int] | None = None
        self._keys: list[AccessKey] = []
        self._private: Ed25519PrivateKey
        self._public: dict[str, Ed25519PublicKey] = {}
        read_or_make(path, lambda: _dump([_fresh(clock())]))
        self._look()

    def signer(self) -> tuple[str, Ed25519PrivateKey]:
        """The key that signs now, and its name."""
        self._look()
        return self._keys[0].kid, self._private

    def verifier(self, kid: str) -> Ed25519PublicKey | None:
        """The key of this name; None for one that was never ours, or is no more."""
        self._look()
        return self._public.get(kid)

    def rotate(self, *, forget: bool = False) -> None:
        """A new key signs from now on. With `forget` all others are void at once, and with them
        all access tokens: for when a key may be known to others."""
        with self._alone():
            fresh = _fresh(self._clock())
            kept = [] if forget else _load(self._path)
            self._write(rotated(kept, fresh, self._keep))
        self._look()

    def rotate_older_than(self, age: timedelta) -> None:
        """The key that signs is no older than this. Of two replicas that try one rotates."""
        self._look()
        if self._clock() - self._keys[0].made_at < age:
            return
        with self._alone():
            kept = _load(self._path)
            fresh = _fresh(self._clock())
            if fresh.made_at - kept[0].made_at >= age:
                self._write(rotated(kept, fresh, self._keep))
        self._look()

    def _look(self) -> None:
        """The keys are those in the file."""
        try:
            status = self._path.stat()
        except OSError as error:
            if self._keys:  # what was read last still holds
                return
            raise Problem("bad_settings", f"{self._path}: {error.strerror}.") from None
        seen = status.st_mtime_ns, status.st_ino
        if seen == self._seen:
            return
        self._keys = _load(self._path)
        self._private = self._keys[0].private
        self._public = {key.kid: key.public for key in self._keys}
        self._seen = seen

    def _write(self, keys: list[AccessKey]) -> None:
        temporary = self._path.with_suffix(".tmp")
        descriptor = os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(_dump(keys))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other replica rotates meanwhile."""
        with self._path.with_suffix(".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _fresh(now: datetime) -> AccessKey:
    return AccessKey(secrets.token_hex(8), now, secrets.token_bytes(32))


def _dump(keys: list[AccessKey]) -> bytes:
    entries = [
        {
            "kid": key.kid,
            "made_at": key.made_at.isoformat(),
            "seed": base64.b64encode(key.seed).decode(),
        }
        for key in keys
    ]
    return json.dumps(entries, indent=1).encode()


def _load(path: Path) -> list[AccessKey]:
    try:
        keys = [
            AccessKey(
                entry["kid"],
                datetime.fromisoformat(entry["made_at"]),
                base64.b64decode(entry["seed"], validate=True),
            )
            for entry in json.loads(path.read_bytes())
        ]
        if not keys or any(len(key.seed) != 32 for key in keys):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError):
        raise Problem("bad_settings", f"{path} does not hold signing keys.") from None
    return keys

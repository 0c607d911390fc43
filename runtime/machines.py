"""Who calls: machines, by their signed tokens and the ring of keys on disk."""

from collections.abc import Callable, Mapping
from pathlib import Path

from aiohttp import web

from media.keys import Keyring
from media.token import TokenRefused, verify_machine_token
from runtime.api import Caller
from runtime.errors import Problem
from runtime.log import logger

_NO_KEYS: Mapping[str, str | None] = {}
_HINTS = {
    "token_invalid": "The token is none of a machine that is enrolled here.",
    "token_expired": "The token has expired; clocks may differ.",
}


class MachineGate:
    """Knows machines that speak to `audience`. The ring is read again whenever its file changes, so
    that new machines can join; one that cannot be read leaves the last ring standing. `keys`
    overrule it (`Keyring.overruled`), by what they are at each call."""

    def __init__(
        self,
        ring_path: Path,
        audience: str,
        keys: Callable[[], Mapping[str, str | None]] = lambda: _NO_KEYS,
    ) -> None:
        self._path = ring_path
        self._audience = audience
        self._on_disk = self._ring = Keyring([])
        self._keys = keys
        self._obeyed: Mapping[str, str | None] = _NO_KEYS
        self._seen: tuple[int, int, int] | None = None
        self._unreadable = False

    async def authenticate(self, request: web.Request) -> Caller | None:
        """The machine that calls, None without credentials. Raises Problem for wrong ones."""
        token = bearer_token(request)
        return None if token is None else self.caller(token)

    def caller(self, token: str) -> Caller:
        """The machine that signed the token. Raises Problem `token_invalid` or `token_expired`."""
        self._refresh()
        try:
            machine = verify_machine_token(token, self._ring, self._audience)
        except TokenRefused as refused:
            raise Problem(refused.code, _HINTS[refused.code]) from None
        return Caller(machine.name, machine.role)

    def _refresh(self) -> None:
        on_disk, keys = self._read(), self._keys()
        if on_disk is not self._on_disk or keys is not self._obeyed:
            self._on_disk, self._obeyed = on_disk, keys
            self._ring = on_disk.overruled(keys)

    def _read(self) -> Keyring:
        ring = self._on_disk
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
            if seen != self._seen:
                ring = Keyring.read(self._path)
                self._seen = seen
            self._unreadable = False
        except (OSError, ValueError) as error:
            if not self._unreadable:
                logger().error("ring_unreadable", why=str(error))
            self._unreadable = True
        return ring


def bearer_token(request: web.Request) -> str | None:
    """The token of `Authorization: Bearer` (RFC 6750, 2.1); None when there is none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None

"""Who calls: machines, by their signed tokens and the ring of keys on disk."""

from pathlib import Path

from aiohttp import web

from media.keys import Keyring
from media.token import TokenRefused, verify_machine_token
from runtime.api import Caller
from runtime.errors import Problem
from runtime.log import logger

_HINTS = {
    "token_invalid": "The token is none of a machine that is enrolled here.",
    "token_expired": "The token has expired; clocks may differ.",
}


class MachineGate:
    """Authenticates machines. The ring is read again whenever its file changes, so that new
    appliances can join; a ring that cannot be read leaves the last one standing."""

    def __init__(self, ring_path: Path, audience: str) -> None:
        self._path = ring_path
        self._audience = audience
        self._ring = Keyring([])
        self._seen: tuple[int, int, int] | None = None
        self._unreadable = False

    async def authenticate(self, request: web.Request) -> Caller | None:
        """The machine that calls, None without credentials. Raises Problem for wrong ones."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return None
        self._refresh()
        try:
            machine = verify_machine_token(token.strip(), self._ring, self._audience)
        except TokenRefused as refused:
            raise Problem(refused.code, _HINTS[refused.code]) from None
        return Caller(machine.name, machine.role)

    def _refresh(self) -> None:
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
            if seen != self._seen:
                self._ring = Keyring.read(self._path)
                self._seen = seen
            self._unreadable = False
        except (OSError, ValueError) as error:
            if not self._unreadable:
                logger().error("ring_unreadable", why=str(error))
            self._unreadable = True

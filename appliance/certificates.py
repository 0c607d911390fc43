"""The TLS port's certificate: read anew when its files change, with no connection dropped."""

import ssl
from pathlib import Path

from runtime.errors import Problem
from runtime.log import logger

_STAMP = tuple[tuple[int, int], tuple[int, int]]


class Certificates:
    """The newest sound pair of certificate chain and key. New connections use `context`."""

    def __init__(self, chain: Path, key: Path) -> None:
        """Raises Problem `bad_settings`: without a certificate there is no TLS port."""
        self._chain, self._key = chain, key
        try:
            self._seen = self._stamp()
            self.context = self._read()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise Problem(
                "bad_settings", f"The TLS certificate at {chain} cannot be used: {_why(error)}."
            ) from None

    def look(self) -> None:
        """A pair that was put in place is used from now on; a broken one (half of it is there,
        say) leaves the earlier in force until the files change again."""
        try:
            stamp = self._stamp()
            if stamp == self._seen:
                return
            self._seen = stamp
            self.context = self._read()
            logger().info("certificate_read", path=str(self._chain))
        except (OSError, ValueError) as error:
            logger().error("certificate_unreadable", path=str(self._chain), why=_why(error))

    def _stamp(self) -> _STAMP:
        chain, key = self._chain.stat(), self._key.stat()
        return (chain.st_ino, chain.st_mtime_ns), (key.st_ino, key.st_mtime_ns)

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2  # televisions
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(self._chain, self._key)
        return context


def _why(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return str(reason).replace("_", " ").lower()

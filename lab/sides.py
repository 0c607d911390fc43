"""What is measured: a side is a server with all its processes, and a way to ask it for files."""

from typing import Protocol


class Side(Protocol):
    """Ours or a peer's. `tls_base` is empty where it speaks no TLS."""

    name: str
    base: str
    tls_base: str

    def target(self, path: str, session: int = 0) -> str:
        """Path and query by which a session may have a file of the package; each session has a
        token of its own."""

    def pids(self) -> list[int]:
        """Every process that takes part in serving."""

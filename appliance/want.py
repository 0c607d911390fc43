"""What is wanted of a package: a file, with all that finding and verifying it takes. Pure."""

from typing import NamedTuple

from media.inventory import INVENTORY_NAME, MAX_INVENTORY_BYTES
from media.token import PathClaims


class FileWant(NamedTuple):
    """A file of a package, enough to find, fetch and verify it. `size` is None for an inventory,
    whose length nobody told: it is then at most `max_bytes`."""

    title_id: str
    package_id: str
    inventory_sha256: str
    path: str
    sha256: str
    size: int | None
    max_bytes: int

    @property
    def key(self) -> str:
        """Its place below the cache folder."""
        return f"{self.package_id}/{self.path}"

    @property
    def object_key(self) -> str:
        """Its key in the object store."""
        return f"titles/{self.title_id}/{self.package_id}/{self.path}"


def inventory_want(claims: PathClaims) -> FileWant:
    """The inventory that a token names."""
    return FileWant(
        claims.title_id,
        claims.package_id,
        claims.inventory_sha256,
        INVENTORY_NAME,
        claims.inventory_sha256,
        None,
        MAX_INVENTORY_BYTES,
    )


def listed_want(claims: PathClaims, path: str, sha256: str, size: int) -> FileWant:
    """A file that the inventory, or one of its lists, names."""
    return FileWant(
        claims.title_id, claims.package_id, claims.inventory_sha256, path, sha256, size, size
    )

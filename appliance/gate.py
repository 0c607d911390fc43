"""The gate: what a request may have, decided without I/O.

`decide` walks token, package and path, and answers one of four things; the server is one `match`
over them:

    Serve     the file may be sent, from disk or as a fill brings it
    Learn     a list has to be read first (the inventory, or a rendition's files); then ask again
    Preflight a CORS preflight
    Reject    a code of the error table
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

from media.fleet import Notices
from media.ids import made_ms
from media.inventory import (
    FILE_LIST_NAME,
    INVENTORY_NAME,
    MAX_INVENTORY_BYTES,
    Package,
    rendition_of,
)
from media.keys import Keyring
from media.token import PathClaims, TokenRefused, verify_path_token

MAX_TOKENS = 16_384  # 16 MB or so; the verification of a forgotten one costs 0.1 ms
MAX_LISTED_FILES = 200_000  # over all packages that are remembered, about 120 MB


# What leaves before it is verified: see `releasable`.
VERIFY_FIRST_BYTES = 256 * 1024
WITHHELD_BYTES = 64 * 1024


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


@dataclass(frozen=True, slots=True)
class Serve:
    """The file may be sent. `only_if_held`: a peer asks, and nothing is filled for it."""

    want: FileWant
    claims: PathClaims
    only_if_held: bool


@dataclass(frozen=True, slots=True)
class Learn:
    """`want` has to be read, and given to `learn`, before the question can be answered."""

    want: FileWant
    claims: PathClaims
    only_if_held: bool


@dataclass(frozen=True, slots=True)
class Preflight:
    """OPTIONS: any origin may GET with any header."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Refused, with a code of runtime.errors; `claims` when the token was good."""

    code: str
    claims: PathClaims | None = None


Decision = Serve | Learn | Preflight | Reject


def releasable(size: int, landed: int, held: bool) -> int:
    """How many of a landing file's bytes may leave: small files only once they are verified, of
    large ones all but the last 64 KiB, so that no corrupt file is ever completed to a client."""
    if held:
        return size
    if size <= VERIFY_FIRST_BYTES:
        return 0
    return max(0, min(landed, size - WITHHELD_BYTES))


class Gate:
    """Remembers verified tokens and packages, within bounds."""

    def __init__(self, ring: Keyring) -> None:
        self._ring = ring
        self._tokens: OrderedDict[bytes, PathClaims] = OrderedDict()
        self._packages: OrderedDict[tuple[str, str], Package] = OrderedDict()
        self._listed = 0
        self._purged: frozenset[str] = frozenset()
        self._revoked: frozenset[str] = frozenset()
        self._draining_since_s: float | None = None

    def obey(self, notices: Notices, now_s: float) -> None:
        """From now on these notices hold."""
        self._purged = frozenset(purge.package_id for purge in notices.purges)
        self._revoked = frozenset(notices.revoked_sessions)
        if not notices.draining:
            self._draining_since_s = None
        elif self._draining_since_s is None:
            self._draining_since_s = now_s

    def withdrawn(self, claims: PathClaims) -> str | None:
        """The code by which notices refuse a sound token; None when they do not."""
        if claims.package_id in self._purged:
            return "purged"
        if claims.session_id in self._revoked:
            return "token_invalid"
        since_s = self._draining_since_s
        if (
            since_s is not None
            and claims.scope == "play"
            and made_ms(claims.session_id) > since_s * 1000
        ):
            return "draining"  # a session from before goes on, though we may not have seen it yet
        return None

    def trust(self, ring: Keyring) -> None:
        """From now on this ring holds; tokens are verified anew."""
        self._ring = ring
        self._tokens.clear()

    def decide(self, method: bytes, target: bytes, now_s: float) -> Decision:
        """What to do with a request for `target` at Unix time `now_s`."""
        if method not in (b"GET", b"HEAD"):
            return Preflight() if method == b"OPTIONS" else Reject("method_not_allowed")
        parts = target.partition(b"?")[0].split(b"/", 5)
        if len(parts) != 6 or parts[2] != b"titles":
            return Reject("not_found")
        _, token, _, title_id, package_id, raw_path = parts
        claims = self._claims(token, now_s)
        if isinstance(claims, str):
            return Reject(claims)
        if claims.package_id.encode() != package_id or claims.title_id.encode() != title_id:
            return Reject("token_invalid", claims)
        refused = self.withdrawn(claims)
        if refused is not None:
            return Reject(refused, claims)
        return self._find(raw_path.decode("latin-1"), claims)

    def learn(self, want: FileWant, raw: bytes) -> None:
        """Remembers what a `Learn` asked for. Raises ValueError when the bytes are not it. Many may
        have waited for it: the first one teaches, and what the others bring is known."""
        name = (want.package_id, want.inventory_sha256)
        package = self._packages.get(name)
        if want.path == INVENTORY_NAME:
            if package is not None:
                return
            package = Package.parse(raw, want.sha256)
            inventory = package.inventory
            if (inventory.title_id, inventory.package_id) != (want.title_id, want.package_id):
                raise ValueError("the inventory is that of another package")
            self._listed += len(package)
            self._packages[name] = package
        elif package is not None:  # else it was forgotten meanwhile, and is asked for again
            before = len(package)
            package.add_file_list(want.path.removesuffix(f"/{FILE_LIST_NAME}"), raw)
            self._listed += len(package) - before
        while self._listed > MAX_LISTED_FILES and len(self._packages) > 1:
            _, forgotten = self._packages.popitem(last=False)
            self._listed -= len(forgotten)

    def _claims(self, token: bytes, now_s: float) -> PathClaims | str:
        claims = self._tokens.get(token)
        if claims is not None:
            if now_s <= claims.expires_s:
                return claims
            del self._tokens[token]  # past its time: the leeway is judged below
        try:
            claims = verify_path_token(token.decode("latin-1"), self._ring, now_s)
        except TokenRefused as refused:
            return refused.code
        self._tokens[token] = claims
        if len(self._tokens) > MAX_TOKENS:
            self._tokens.popitem(last=False)
        return claims

    def _find(self, path: str, claims: PathClaims) -> Decision:
        name = (claims.package_id, claims.inventory_sha256)
        from_peer = claims.scope == "fill"
        package = self._packages.get(name)
        if package is None:
            return Learn(inventory_want(claims), claims, from_peer)
        self._packages.move_to_end(name)
        entry = package.lookup(path)
        if entry is None:
            unread = package.missing_list(path)
            if unread is None:
                return Reject("not_in_package", claims)
            return Learn(_want(claims, unread.path, unread.sha256, unread.bytes), claims, from_peer)
        if claims.renditions is not None:
            rendition_id = rendition_of(path)
            if rendition_id is not None and rendition_id not in claims.renditions:
                return Reject("not_allowed", claims)
        return Serve(_want(claims, path, entry.sha256, entry.bytes), claims, from_peer)


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


def _want(claims: PathClaims, path: str, sha256: str, size: int) -> FileWant:
    return FileWant(
        claims.title_id, claims.package_id, claims.inventory_sha256, path, sha256, size, size
    )

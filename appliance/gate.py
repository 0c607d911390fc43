"""The gate: what a request may have, decided without I/O.

`decide` walks token, package and path, and answers one of four things; the server is one `match`
over them:

    Serve     the file may be sent, from disk or as a fill brings it
    Learn     a list has to be read first (the inventory, or a rendition's files); then ask again
    Preflight a CORS preflight
    Reject    a code of the error table

A player asks for hundreds of files with one token, and a film is asked for with thousands of
tokens. So a token that was verified is remembered with what it grants, and a file that was looked
up is remembered with the head of its answer: two look-ups answer nearly every request.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

from appliance.access_log import session_part
from appliance.answers import Listed
from appliance.doubts import DOUBT_S, Doubts
from appliance.http1 import is_target
from appliance.shed import Priority, priority_of
from appliance.want import FileWant, inventory_want, listed_want
from media import cmsd
from media.fleet import Notices
from media.ids import made_ms
from media.inventory import FILE_LIST_NAME, INVENTORY_NAME, FileEntry, Package, rendition_of
from media.keys import Keyring
from media.token import PathClaims, TokenRefused, verify_path_token

MAX_TOKENS = 16_384  # 16 MB or so; the verification of a forgotten one costs 0.1 ms
MAX_LISTED_FILES = 200_000  # over all packages that are remembered, about 120 MB
MAX_PREPARED = 16_384  # of those: files with the head of their answer, 1.5 KB each

# What leaves before it is verified: see `releasable`.
VERIFY_FIRST_BYTES = 256 * 1024
WITHHELD_BYTES = 64 * 1024


_READING = (b"GET", b"HEAD")


class Grant:
    """A verified token. `from_peer`: another appliance asks. `who` stands for it in the log."""

    __slots__ = (
        "as_of", "claims", "expires_s", "from_peer", "listed", "made_s", "renditions", "who",
    )  # fmt: skip

    def __init__(self, claims: PathClaims) -> None:
        self.claims = claims
        self.expires_s = claims.expires_s
        self.from_peer = claims.scope == "fill"
        self.renditions = None if claims.renditions is None else frozenset(claims.renditions)
        self.who = session_part(claims.session_id, claims.scope)
        self.listed: dict[bytes, Listed] = {}  # its package's, once a file of it was found
        self.made_s = made_ms(claims.session_id) / 1000
        self.as_of = -1  # the notices by which it was last judged

    def priority(self, now_s: float) -> Priority:
        """Of who asks with it at Unix time `now_s`."""
        return priority_of(self.claims.scope, now_s - self.made_s)


class Serve(NamedTuple):
    """The file may be sent."""

    listed: Listed
    grant: Grant


@dataclass(frozen=True, slots=True)
class Learn:
    """`want` has to be read, and given to `learn`, before the question can be answered."""

    want: FileWant
    grant: Grant


@dataclass(frozen=True, slots=True)
class Preflight:
    """OPTIONS: any origin may GET with any header."""


class Reject(NamedTuple):
    """Refused, with a code of runtime.errors; `grant` when the token was good; `retry_s` when the
    answer may be another after so many seconds."""

    code: str
    grant: Grant | None = None
    retry_s: int | None = None


Decision = Serve | Learn | Preflight | Reject


def releasable(size: int, landed: int, held: bool) -> int:
    """How many of a landing file's bytes may leave: small files only once they are verified, of
    large ones all but the last 64 KiB, so that no corrupt file is ever completed to a client."""
    if held:
        return size
    if size <= VERIFY_FIRST_BYTES:
        return 0
    return max(0, min(landed, size - WITHHELD_BYTES))


class _Known:
    """A package that is remembered, and the files of it that were asked for, by their path on the
    wire behind the token."""

    __slots__ = ("listed", "package")

    def __init__(self, package: Package) -> None:
        self.package = package
        self.listed: dict[bytes, Listed] = {}


class Gate:
    """Remembers verified tokens and packages, within bounds."""

    def __init__(self, ring: Keyring) -> None:
        self._ring = ring
        self._grants: OrderedDict[bytes, Grant] = OrderedDict()
        self._packages: OrderedDict[tuple[str, str], _Known] = OrderedDict()
        self._listed_files = 0
        self._prepared = 0
        self._doubts = Doubts()
        self._purged: frozenset[str] = frozenset()
        self._revoked: frozenset[str] = frozenset()
        self._draining_since_s: float | None = None
        self._orders = 0

    def obey(self, notices: Notices, now_s: float) -> None:
        """From now on these notices hold."""
        self._orders += 1
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

    def find(self, grant: Grant, path: str, now_s: float) -> FileWant | None:
        """The file at this path of the package, if the session may have it at Unix time `now_s`;
        None also when the list that would name it has not been read."""
        claims = grant.claims
        known = self._packages.get((claims.package_id, claims.inventory_sha256))
        entry = known.package.lookup(path) if known is not None else None
        if (
            entry is None
            or now_s > grant.expires_s
            or not _allowed(grant, rendition_of(path))
            or self.withdrawn(claims) is not None
        ):
            return None
        return listed_want(claims, path, entry.sha256, entry.bytes)

    def trust(self, ring: Keyring) -> None:
        """From now on this ring holds; tokens are verified anew."""
        self._ring = ring
        self._grants.clear()

    def decide(self, method: bytes, target: bytes, address: str, now_s: float) -> Decision:
        """What to do with a request for `target` from `address` at Unix time `now_s`."""
        known = self.known(target, now_s) if method in _READING else None
        return known or self._walk(method, target, address, now_s)

    def known(self, target: bytes, now_s: float) -> Serve | None:
        """The answer to who asks for this target, if token and file were seen before."""
        address_path, _, query = target.partition(b"?")
        recalled = self.recall(address_path, now_s)
        if recalled is None or (query and not is_target(target)):
            return None
        return Serve(*recalled)

    def recall(self, address_path: bytes, now_s: float) -> tuple[Listed, Grant] | None:
        """File and token of a target without a query, if they were seen before and are still
        good."""
        slash = address_path.find(b"/", 1)
        grant = self._grants.get(address_path[1:slash])
        if grant is None or grant.as_of != self._orders or now_s > grant.expires_s:
            return None
        listed = grant.listed.get(address_path[slash:])
        if listed is None or (
            grant.renditions is not None and not _allowed(grant, listed.rendition_id)
        ):
            return None
        return listed, grant

    def _walk(self, method: bytes, target: bytes, address: str, now_s: float) -> Decision:
        """The whole way, step by step."""
        if not is_target(target):
            return Reject("bad_request")
        if method not in _READING:
            return Preflight() if method == b"OPTIONS" else Reject("method_not_allowed")
        address_path = target.partition(b"?")[0]
        parts = address_path.split(b"/", 5)
        if len(parts) != 6 or parts[2] != b"titles":
            return Reject("not_found")
        _, token, _, title_id, package_id, raw_path = parts
        grant = self._grant(token, address, now_s)
        if isinstance(grant, Reject):
            return grant
        claims = grant.claims
        if claims.package_id.encode() != package_id or claims.title_id.encode() != title_id:
            return Reject("token_invalid", grant)
        refused = self.withdrawn(claims)
        if refused is not None:
            grant.as_of = -1
            return Reject(refused, grant)
        grant.as_of = self._orders
        return self._find(grant, raw_path.decode("latin-1"), address_path[len(token) + 1 :])

    def learn(self, want: FileWant, raw: bytes) -> None:
        """Remembers what a `Learn` asked for. Raises ValueError when the bytes are not it. Many may
        have waited for it: the first one teaches, and what the others bring is known."""
        name = (want.package_id, want.inventory_sha256)
        known = self._packages.get(name)
        if want.path == INVENTORY_NAME:
            if known is not None:
                return
            package = Package.parse(raw, want.sha256)
            inventory = package.inventory
            if (inventory.title_id, inventory.package_id) != (want.title_id, want.package_id):
                raise ValueError("the inventory is that of another package")
            self._listed_files += len(package)
            self._packages[name] = _Known(package)
        elif known is not None:  # else it was forgotten meanwhile, and is asked for again
            before = len(known.package)
            known.package.add_file_list(want.path.removesuffix(f"/{FILE_LIST_NAME}"), raw)
            self._listed_files += len(known.package) - before
        while self._listed_files > MAX_LISTED_FILES and len(self._packages) > 1:
            _, forgotten = self._packages.popitem(last=False)
            self._listed_files -= len(forgotten.package)
            self._prepared -= len(forgotten.listed)
            forgotten.listed.clear()  # grants refer to it

    def _grant(self, token: bytes, address: str, now_s: float) -> Grant | Reject:
        grant = self._grants.get(token)
        if grant is not None:
            if now_s <= grant.expires_s:
                return grant
            del self._grants[token]  # past its time: the leeway is judged below
        if not self._doubts.allow(address, now_s):
            return Reject("overloaded", retry_s=DOUBT_S)
        try:
            claims = verify_path_token(token.decode("latin-1"), self._ring, now_s)
        except TokenRefused as refused:
            if refused.code == "token_invalid":
                self._doubts.refused(address)
            return Reject(refused.code)
        grant = Grant(claims)
        self._grants[token] = grant
        if len(self._grants) > MAX_TOKENS:
            self._grants.popitem(last=False)
        return grant

    def _find(self, grant: Grant, path: str, on_the_wire: bytes) -> Decision:
        claims = grant.claims
        name = (claims.package_id, claims.inventory_sha256)
        known = self._packages.get(name)
        if known is None:
            return Learn(inventory_want(claims), grant)
        self._packages.move_to_end(name)
        entry = known.package.lookup(path)
        if entry is None:
            unread = known.package.missing_list(path)
            if unread is None:
                return Reject("not_in_package", grant)
            want = listed_want(claims, unread.path, unread.sha256, unread.bytes)
            return Learn(want, grant)
        listed = known.listed.get(on_the_wire)
        if listed is None:
            listed = self._prepare(known, on_the_wire, claims, entry)
        grant.listed = known.listed
        if not _allowed(grant, listed.rendition_id):
            return Reject("not_allowed", grant)
        return Serve(listed, grant)

    def _prepare(
        self, known: _Known, on_the_wire: bytes, claims: PathClaims, entry: FileEntry
    ) -> Listed:
        if self._prepared >= MAX_PREPARED:
            for each in self._packages.values():
                each.listed.clear()
            self._prepared = 0
        want = listed_want(claims, entry.path, entry.sha256, entry.bytes)
        told = cmsd.static(cmsd.spoken(entry.path, known.package.inventory))
        listed = known.listed[on_the_wire] = Listed(want, rendition_of(entry.path), told)
        self._prepared += 1
        return listed


def _allowed(grant: Grant, rendition_id: str | None) -> bool:
    return grant.renditions is None or rendition_id is None or rendition_id in grant.renditions

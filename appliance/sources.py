"""Where a fill's bytes come from: a peer's data port, or the object store."""

import time
from typing import Literal, Protocol, get_args
from urllib.parse import urlsplit

from appliance.home import AS_TIER, Asker
from appliance.want import FileWant
from media.fleet import Peer
from media.http_get import GetFailed, Getter, Take
from media.ids import new_id
from media.keys import Identity
from media.objects import ObjectStore, StoreUnavailable
from media.token import PathClaims, sign_path_token
from runtime import tracing

FILL_TOKEN_S = 600
_CACHE_CONTROL = {
    Asker.OURS: "only-if-cached",
    Asker.SITE: "",
    Asker.TIER: AS_TIER.decode(),
}
_MAX_TOKENS = 1024


class Missing(Exception):
    """The source answers, and has not got the file."""


class SourceFailed(Exception):
    """The source does not answer, or answers wrongly."""


class WrongLength(SourceFailed):
    """The source answers, with fewer or more bytes than the file has."""


Kind = Literal["peer", "tier", "store"]
"""An appliance of our site, one of another, or the object store."""
KINDS: tuple[Kind, ...] = get_args(Kind)


class Source(Protocol):
    """A place that may have the file."""

    name: str

    @property
    def kind(self) -> Kind:
        """For the counters."""

    async def pour(self, want: FileWant, offset: int, take: Take) -> None:
        """`take` was given what the source has of the file from `offset`. Raises Missing,
        SourceFailed, and what `take` raises."""


class StoreSource:
    """The object store: the last resort, and the only source of a new package."""

    kind: Literal["store"] = "store"

    def __init__(self, store: ObjectStore) -> None:
        self.name = "store"
        self._store = store

    async def pour(self, want: FileWant, offset: int, take: Take) -> None:
        try:
            await self._store.pour(want.object_key, take, offset)
        except FileNotFoundError:
            raise Missing from None
        except (StoreUnavailable, OSError) as error:
            raise SourceFailed(str(error)) from error


class PeerSource:
    """Another appliance, asked for what it holds (`only-if-cached`), with a token of our own; or
    asked to bring the file, too, as its home (appliance/home.py). `CDN-Loop` (RFC 8586) names us.
    """

    def __init__(
        self, peer: Peer, site: str, identity: Identity, getter: Getter, asker: Asker = Asker.OURS
    ) -> None:
        """`getter` leads to the peer's origin, and `site` is ours. `asker` is what we are to a
        home: OURS, none."""
        self.name = peer.appliance_id
        self.kind: Kind = "peer" if peer.site in (site, None) else "tier"
        self._cache_control = _CACHE_CONTROL[asker]
        self._path = urlsplit(peer.url).path.rstrip("/")
        self._identity = identity
        self._getter = getter
        self._tokens: dict[str, tuple[str, float]] = {}

    async def pour(self, want: FileWant, offset: int, take: Take) -> None:
        fields = {"CDN-Loop": f"nearcast; id={self._identity.name}"}
        fields |= tracing.outgoing()
        if self._cache_control:
            fields["Cache-Control"] = self._cache_control
        if offset:
            fields["Range"] = f"bytes={offset}-"
        wanted = 206 if offset else 200
        target = f"{self._path}/{self._token(want)}/{want.object_key}"
        try:
            status, _ = await self._getter.get(target, fields, take, wanted=wanted)
        except GetFailed as error:
            raise SourceFailed(f"{self.name}: {error}") from error
        if status in (404, 410, 503, 504):
            raise Missing
        if status != wanted:
            raise SourceFailed(f"{self.name} answered {status}")

    def _token(self, want: FileWant) -> str:
        """A fill token for the package, signed once and used for half its life."""
        now = time.time()
        token, until = self._tokens.get(want.package_id, ("", 0.0))
        if now > until:
            claims = PathClaims(
                session_id=new_id("ses"),
                title_id=want.title_id,
                package_id=want.package_id,
                inventory_sha256=want.inventory_sha256,
                expires_s=int(now) + FILL_TOKEN_S,
                scope="fill",
            )
            token = sign_path_token(claims, self._identity, int(now))
            if len(self._tokens) >= _MAX_TOKENS:
                self._tokens.clear()
            self._tokens[want.package_id] = token, now + FILL_TOKEN_S / 2
        return token

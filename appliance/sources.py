"""Where a fill's bytes come from: a peer's data port, or the object store."""

import time
from collections.abc import AsyncGenerator
from typing import Literal, Protocol

import aiohttp

from appliance.want import FileWant
from media.fleet import Peer
from media.ids import new_id
from media.keys import Identity
from media.objects import ObjectStore, StoreUnavailable
from media.token import PathClaims, sign_path_token

CHUNK_BYTES = 256 * 1024
FILL_TOKEN_S = 600
_MAX_TOKENS = 1024


class Missing(Exception):
    """The source answers, and has not got the file."""


class SourceFailed(Exception):
    """The source does not answer, or answers wrongly."""


class WrongLength(SourceFailed):
    """The source answers, with fewer or more bytes than the file has."""


class Source(Protocol):
    """A place that may have the file."""

    name: str

    @property
    def kind(self) -> Literal["peer", "store"]:
        """For the counters."""

    def stream(self, want: FileWant, offset: int) -> AsyncGenerator[bytes, None]:
        """The file's bytes from `offset`. Raises Missing or SourceFailed."""


class StoreSource:
    """The object store: the last resort, and the only source of a new package."""

    kind: Literal["store"] = "store"

    def __init__(self, store: ObjectStore) -> None:
        self.name = "store"
        self._store = store

    async def stream(self, want: FileWant, offset: int) -> AsyncGenerator[bytes, None]:
        try:
            async for piece in self._store.stream(want.object_key, offset):
                yield piece
        except FileNotFoundError:
            raise Missing from None
        except (StoreUnavailable, OSError) as error:
            raise SourceFailed(str(error)) from error


class PeerSource:
    """Another appliance, asked for what it holds (`only-if-cached`), with a token of our own; or
    asked to bring the file, too, as its home (appliance/home.py). `CDN-Loop` (RFC 8586) names us.
    """

    kind: Literal["peer"] = "peer"

    def __init__(
        self,
        peer: Peer,
        identity: Identity,
        session: aiohttp.ClientSession,
        *,
        as_home: bool = False,
    ) -> None:
        self.name = peer.appliance_id
        self._as_home = as_home
        self._url = peer.url
        self._identity = identity
        self._session = session
        self._tokens: dict[str, tuple[str, float]] = {}

    async def stream(self, want: FileWant, offset: int) -> AsyncGenerator[bytes, None]:
        headers = {"CDN-Loop": f"nearcast; id={self._identity.name}"}
        if not self._as_home:
            headers["Cache-Control"] = "only-if-cached"
        if offset:
            headers["Range"] = f"bytes={offset}-"
        address = f"{self._url}/{self._token(want)}/{want.object_key}"
        try:
            async with self._session.get(address, headers=headers, allow_redirects=False) as answer:
                if answer.status in (404, 410, 503, 504):
                    raise Missing
                if answer.status != (206 if offset else 200):
                    raise SourceFailed(f"{self.name} answered {answer.status}")
                async for piece in answer.content.iter_chunked(CHUNK_BYTES):
                    yield piece
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise SourceFailed(f"{self.name}: {error}") from error

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

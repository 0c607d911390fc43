"""Addresses of artwork, which pages show without a token: pure.

An `<img>` sends no token, so the address has a key, as those of sessions have: a MAC of what is
shown, and for whom. Viewers get addresses that are good while the title is out; those of who sees
drafts are good for drafts as well. Nobody gets one for what he does not see.
"""

import hashlib
import hmac

from control_plane.tables import PackageRow, TitleRow

MAC_CHARS = 32


class ArtworkKeys:
    """Addresses below `public_url`, keyed with `secret`."""

    def __init__(self, secret: bytes, public_url: str) -> None:
        self._secret = secret
        self._public_url = public_url

    def address(self, row: TitleRow, package: PackageRow | None, *, drafts: bool) -> str | None:
        """Where the title's picture is; None when it has none."""
        sha256 = sha256_of_artwork(row, package)
        if not sha256:
            return None
        key = self._key(row.title_id, sha256, drafts)
        return f"{self._public_url}/v1/titles/{row.title_id}/artwork/{sha256}/{key}"

    def shows_drafts(self, title_id: str, sha256: str, key: str) -> bool | None:
        """Whether the key is one for drafts, too; None when it is none of ours."""
        for drafts in (False, True):
            if hmac.compare_digest(key, self._key(title_id, sha256, drafts)):
                return drafts
        return None

    def _key(self, title_id: str, sha256: str, drafts: bool) -> str:
        # No session's id begins like that: no key of an artwork is one of a session.
        told = f"artwork/{'drafts' if drafts else 'viewers'}/{title_id}/{sha256}"
        return hmac.digest(self._secret, told.encode(), hashlib.sha256).hex()[:MAC_CHARS]


def sha256_of_artwork(row: TitleRow, package: PackageRow | None) -> str:
    """Of the picture that was given, else of the film's own; "" when there is neither."""
    if row.artwork:
        return row.artwork.partition("-")[0]
    return package.poster_sha256 if package else ""

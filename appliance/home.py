"""Which appliance of a site brings a file from outside, when several want it at once. Pure.

Each file has a home among the appliances of its site, by rendezvous hashing (Thaler and
Ravishankar, ToN 1998). The others ask the home first, and it may bring the file for them: so a site
asks the store once, however many of its appliances are asked. What a home brings for another it
never asks another home for, so that no two ever wait for each other, though they may see the site
differently for a moment.
"""

import hashlib
import re
from collections.abc import Iterable


def home_of(key: str, members: Iterable[str]) -> str:
    """The file's home among the members, of whom there is at least one; the same for all who know
    the same members, in whatever order. If one leaves, only the files whose home it was move."""

    def weight(member: str) -> bytes:
        return hashlib.blake2b(f"{member}\0{key}".encode(), digest_size=8).digest()

    return max(members, key=weight)


def went_through(cdn_loop: bytes, name: bytes) -> bool:
    """A request with this `CDN-Loop` (RFC 8586: `cdn-id; id=name, …`) was with the appliance of
    this name before."""
    return b"id=" + name in (part.strip() for part in re.split(b"[;,]", cdn_loop))

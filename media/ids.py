"""Identifiers: a prefix that names the kind, and 26 characters that sort by time.

The 26 characters are Crockford base32 in lower case over 128 bits: 48 bits of Unix
milliseconds, then 80 random bits (the layout of ULID). Names of machines and places
are chosen by people and follow `NAME`.
"""

import re
import secrets
import time
from typing import Annotated

from pydantic import StringConstraints

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUE = {character: value for value, character in enumerate(ALPHABET)}

NAME = r"[a-z0-9-]{1,32}"
ID = r"[0-7][0-9a-hjkmnp-tv-z]{25}"
RENDITION = r"[a-z]-[a-z0-9]+(-[a-z0-9]+){0,4}"
# BCP 47, as far as tracks are told apart by it: language, script, region.
LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,2}")

Name = Annotated[str, StringConstraints(pattern=rf"^{NAME}$")]
TitleId = Annotated[str, StringConstraints(pattern=rf"^ttl_{ID}$")]
PackageId = Annotated[str, StringConstraints(pattern=rf"^pkg_{ID}$")]
SessionId = Annotated[str, StringConstraints(pattern=rf"^ses_{ID}$")]
JobId = Annotated[str, StringConstraints(pattern=rf"^job_{ID}$")]
UserId = Annotated[str, StringConstraints(pattern=rf"^usr_{ID}$")]
DeviceId = Annotated[str, StringConstraints(pattern=rf"^dev_{ID}$")]
ProfileId = Annotated[str, StringConstraints(pattern=rf"^prf_{ID}$")]
ApiKeyId = Annotated[str, StringConstraints(pattern=rf"^key_{ID}$")]
AuditId = Annotated[str, StringConstraints(pattern=rf"^aud_{ID}$")]
UploadId = Annotated[str, StringConstraints(pattern=rf"^upl_{ID}$")]
RenditionId = Annotated[str, StringConstraints(pattern=rf"^{RENDITION}$", max_length=40)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def id_from(prefix: str, now_ms: int, random_80: int) -> str:
    """The identifier of this kind, moment and chance; pure."""
    return f"{prefix}_{encode((now_ms & (1 << 48) - 1) << 80 | random_80 & (1 << 80) - 1)}"


def new_id(prefix: str) -> str:
    """A fresh identifier, stamped with the wall clock."""
    return id_from(prefix, time.time_ns() // 1_000_000, secrets.randbits(80))


def encode(value: int) -> str:
    """128 bits as 26 characters."""
    return "".join(ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))


def decode(text: str) -> int:
    """26 characters as 128 bits. Raises ValueError for anything else."""
    if not re.fullmatch(ID, text):
        raise ValueError("an id has 26 characters of lower-case Crockford base32")
    value = 0
    for character in text:
        value = value << 5 | _VALUE[character]
    return value


def to_bytes(identifier: str) -> bytes:
    """The 16 bytes behind `prefix_…`, for compact tokens. Raises ValueError."""
    return decode(identifier.partition("_")[2]).to_bytes(16, "big")


def made_ms(identifier: str) -> int:
    """When the identifier was made, in Unix milliseconds. Raises ValueError."""
    return decode(identifier.partition("_")[2]) >> 80


def from_bytes(prefix: str, raw: bytes) -> str:
    """The identifier of 16 bytes. Raises ValueError for another length."""
    if len(raw) != 16:
        raise ValueError("an id has 16 bytes")
    return f"{prefix}_{encode(int.from_bytes(raw, 'big'))}"

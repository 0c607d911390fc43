"""Encrypted packages: their keys, and what manifests and licences say of them. Pure.

Samples are encrypted as ISO/IEC 23001-7 has it, pictures with one key and sound with another, so
that one who may hear is not one who may see. Keys are not stored anywhere: each is derived from a
secret and the package's id, and a licence in the format of Clear Key (W3C EME, 9.1) gives it out.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Scheme = Literal["cbcs", "cenc"]
Hex128 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]

CLEAR_KEY = "org.w3.clearkey"
CLEAR_KEY_UUID = "e2719d58-a985-b3c9-781a-b030af78d30e"
# What a media playlist calls them (RFC 8216bis, 4.4.4.4).
METHODS: dict[Scheme, str] = {"cbcs": "SAMPLE-AES", "cenc": "SAMPLE-AES-CTR"}
MAX_KIDS = 16


class ContentKey(BaseModel):
    """A key of AES-128 and its name, in lower-case hex."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    key_id: Hex128
    key: Hex128 = Field(repr=False)


class Protection(BaseModel):
    """How a package is encrypted."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    scheme: Scheme
    video: ContentKey
    audio: ContentKey

    @property
    def keys(self) -> tuple[ContentKey, ContentKey]:
        """All there are."""
        return self.video, self.audio


class Locked(BaseModel):
    """How a rendition is encrypted, for whoever wants to play it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    scheme: Scheme
    key_id: Hex128


class LicenceRequest(BaseModel):
    """What a Clear Key CDM sends: the names of keys, in base64url."""

    model_config = ConfigDict(extra="ignore")
    kids: tuple[Annotated[str, StringConstraints(max_length=24)], ...] = Field(
        min_length=1, max_length=MAX_KIDS
    )


def derived(scheme: Scheme, package_id: str, secret: bytes) -> Protection:
    """The protection of a package; the same ones always give the same."""
    video, audio = keys_of(package_id, secret)
    return Protection(scheme=scheme, video=video, audio=audio)


def keys_of(package_id: str, secret: bytes) -> tuple[ContentKey, ContentKey]:
    """The keys of a package's pictures and sound, whatever the scheme."""

    def made(kind: str) -> ContentKey:
        def value(what: str) -> str:
            told = f"{what} {kind} {package_id}".encode()
            return hmac.new(secret, told, hashlib.sha256).hexdigest()[:32]

        return ContentKey(key_id=value("id"), key=value("key"))

    return made("video"), made("audio")


def licence(keys: Iterable[ContentKey], kids: Iterable[str] | None = None) -> dict[str, Any]:
    """The licence for the keys that were asked for, or for all."""
    wanted = None if kids is None else set(kids)
    return {
        "keys": [
            {"kty": "oct", "kid": kid, "k": _base64url(one.key)}
            for one in keys
            if (kid := _base64url(one.key_id)) and (wanted is None or kid in wanted)
        ],
        "type": "temporary",
    }


def read_licence(raw: bytes) -> tuple[ContentKey, ...]:
    """The keys in a licence. ValueError when it is none."""
    try:
        found = [(one["kid"], one["k"]) for one in json.loads(raw)["keys"]]
        return tuple(ContentKey(key_id=_hex(kid), key=_hex(key)) for kid, key in found)
    except (AttributeError, KeyError, TypeError, UnicodeError) as error:
        raise ValueError(f"this is no Clear Key licence: {error!r}") from None


def key_uri(key_id: str) -> str:
    """The name of a key as an address: whoever has to ask for the key learns what to ask for."""
    return f"data:text/plain;base64,{base64.b64encode(bytes.fromhex(key_id)).decode()}"


def as_uuid(key_id: str) -> str:
    """`default_KID` is written so."""
    parts = (key_id[:8], key_id[8:12], key_id[12:16], key_id[16:20], key_id[20:])
    return "-".join(parts)


def _base64url(value: str) -> str:
    return base64.urlsafe_b64encode(bytes.fromhex(value)).decode().rstrip("=")


def _hex(text: str) -> str:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).hex()

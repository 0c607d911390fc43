"""Who is who: an Ed25519 key for each machine, and the ring of public keys that others trust.

A machine's private key never leaves its `secrets/` folder. The ring is one small public JSON
file, so a stolen appliance can sign in its own name only, and for fills only.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from media.secret import read_or_make

MachineRole = Literal["control", "steering", "encoder", "appliance"]


@dataclass(frozen=True)
class Identity:
    """A machine's own name, role and private key."""

    name: str
    role: MachineRole
    key: Ed25519PrivateKey

    @classmethod
    def open(cls, name: str, role: MachineRole, path: Path) -> "Identity":
        """The identity whose key is in `path`; made there (0600) when the file does not exist."""
        return cls(name, role, _key_in(read_or_make(path, _new_key), path))

    @property
    def public(self) -> "PublicIdentity":
        """What others may know."""
        return PublicIdentity(self.name, self.role, self.key.public_key())


@dataclass(frozen=True)
class PublicIdentity:
    """A machine as others know it; its name is the key id."""

    name: str
    role: MachineRole
    key: Ed25519PublicKey

    @classmethod
    def of(cls, name: str, role: MachineRole, ed25519: str) -> "PublicIdentity":
        """The identity whose key has these 32 bytes, in hex. Raises ValueError."""
        return cls(name, role, Ed25519PublicKey.from_public_bytes(bytes.fromhex(ed25519)))

    @property
    def ed25519(self) -> str:
        """The key's 32 bytes in hex."""
        encoding, form = serialization.Encoding.Raw, serialization.PublicFormat.Raw
        return self.key.public_bytes(encoding, form).hex()


class Keyring:
    """The public identities that a service trusts, by name."""

    def __init__(self, identities: "list[PublicIdentity]") -> None:
        self._by_name = {identity.name: identity for identity in identities}

    def __iter__(self) -> Iterator[PublicIdentity]:
        return iter(self._by_name.values())

    def get(self, name: str) -> PublicIdentity | None:
        """The identity of this name, or None."""
        return self._by_name.get(name)

    def overruled(self, keys: Mapping[str, str | None]) -> "Keyring":
        """The ring with these public keys (hex) of appliances; without those that have None.
        Machines of other roles are never overruled. Raises ValueError for what is no key."""
        by_name = dict(self._by_name)
        for name, key in keys.items():
            known = by_name.get(name)
            if known is not None and known.role != "appliance":
                continue
            by_name.pop(name, None)
            if key is not None:
                by_name[name] = PublicIdentity.of(name, "appliance", key)
        return Keyring(list(by_name.values()))

    @classmethod
    def read(cls, path: Path) -> "Keyring":
        """The ring in a file written by `write`. Raises OSError, or ValueError if malformed."""
        try:
            entries = json.loads(path.read_text())["keys"]
            return cls([_from_json(entry) for entry in entries])
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a key ring: {error}") from error

    def write(self, path: Path) -> None:
        """Replaces the file in one step."""
        text = json.dumps({"keys": [_to_json(i) for i in self._by_name.values()]}, indent=1)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(text)
        temporary.replace(path)


def _new_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _key_in(pem: bytes, path: Path) -> Ed25519PrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path} does not hold an Ed25519 key")
    return key


def _to_json(identity: PublicIdentity) -> dict[str, str]:
    return {"name": identity.name, "role": identity.role, "ed25519": identity.ed25519}


def _from_json(entry: dict[str, str]) -> PublicIdentity:
    if entry["role"] not in get_args(MachineRole):
        raise ValueError(f"a key ring knows no role {entry['role']!r}")
    return PublicIdentity.of(entry["name"], entry["role"], entry["ed25519"])  # type: ignore[arg-type]

"""Packages of random bytes and the keys that open them, for who cares about files and not about
films: the bench and the tests."""

import os
import random
import time
from dataclasses import dataclass
from pathlib import Path

from media.ids import new_id
from media.inventory import (
    FILE_LIST_NAME,
    INVENTORY_NAME,
    FileEntry,
    FileList,
    Inventory,
    Rendition,
    package_prefix,
    sha256_of,
    to_bytes,
)
from media.keys import Identity, Keyring
from media.token import PathClaims, sign_path_token

SIZES = {"init.mp4": 1_000, "1.m4s": 100_000, "2.m4s": 300_000, "3.m4s": 1_500_000}


@dataclass
class MadePackage:
    """A package in a store folder, with all its bytes at hand."""

    title_id: str
    package_id: str
    inventory_sha256: str
    files: dict[str, bytes]
    folder: Path

    @property
    def base(self) -> str:
        """`titles/…/…/`"""
        return package_prefix(self.title_id, self.package_id)

    def claims(self, **changes: object) -> PathClaims:
        """Claims of a fresh session for this package."""
        given: dict[str, object] = {
            "session_id": new_id("ses"),
            "title_id": self.title_id,
            "package_id": self.package_id,
            "inventory_sha256": self.inventory_sha256,
            "expires_s": int(time.time()) + 3600,
        }
        return PathClaims(**{**given, **changes})  # type: ignore[arg-type]

    def token(self, identity: Identity, **changes: object) -> str:
        """A signed token for this package."""
        return sign_path_token(self.claims(**changes), identity, int(time.time()))


def make_package(
    store: Path,
    sizes: dict[str, int] = SIZES,
    renditions: tuple[str, ...] = ("v-avc-720",),
) -> MadePackage:
    """Writes a package below the store's folder; each rendition has files of these sizes."""
    dice = random.Random(new_id("pkg"))
    return write_package(
        store, {r: {name: dice.randbytes(size) for name, size in sizes.items()} for r in renditions}
    )


def write_package(store: Path, renditions: dict[str, dict[str, bytes]]) -> MadePackage:
    """Writes a package of the given files below the store's folder. Names whose value is the same
    object are links to one file: a thousand distinct cold files cost the disk one."""
    title_id, package_id = new_id("ttl"), new_id("pkg")
    files = {"hls/master.m3u8": b"#EXTM3U\n", "dash/manifest.mpd": b"<MPD/>"}
    digests: dict[int, str] = {}
    shared = tuple(_entry(path, data, digests) for path, data in files.items())
    listed = []
    for rendition_id, named in renditions.items():
        own = {f"{rendition_id}/{name}": data for name, data in named.items()}
        entries = tuple(_entry(path, data, digests) for path, data in own.items())
        listing = to_bytes(FileList(files=entries))
        path = f"{rendition_id}/{FILE_LIST_NAME}"
        files |= own | {path: listing}
        listed.append(
            Rendition(
                rendition_id=rendition_id,
                kind="video" if rendition_id.startswith("v") else "audio",
                codecs="avc1.64001f",
                bandwidth=1_000_000,
                average_bandwidth=900_000,
                timescale=12_288,
                duration_s=18.0,
                width=1280,
                height=720,
                frame_rate=24.0,
                frames=432,
                file_list=_entry(path, listing, digests),
                file_count=len(own),
                total_bytes=sum(entry.bytes for entry in entries),
            )
        )
    raw = to_bytes(
        Inventory(
            title_id=title_id,
            package_id=package_id,
            duration_s=18.0,
            renditions=tuple(listed),
            files=shared,
        )
    )
    files[INVENTORY_NAME] = raw
    folder = store / package_prefix(title_id, package_id)
    written: dict[int, Path] = {}
    for name, data in files.items():
        path_on_disk = folder / name
        path_on_disk.parent.mkdir(parents=True, exist_ok=True)
        first = written.setdefault(id(data), path_on_disk)
        if first is path_on_disk:
            path_on_disk.write_bytes(data)
        else:
            os.link(first, path_on_disk)
    return MadePackage(title_id, package_id, sha256_of(raw), files, folder)


def make_keys(data: Path, *appliances: str) -> dict[str, Identity]:
    """Keys of the services and these appliances, and the ring that trusts them."""
    secrets = data / "secrets"
    identities = {
        "control": Identity.open("control", "control", secrets / "control.key"),
        "steering": Identity.open("steering", "steering", secrets / "steering.key"),
        "encoder": Identity.open("encoder", "encoder", secrets / "encoder.key"),
    }
    for name in appliances:
        identities[name] = Identity.open(name, "appliance", secrets / f"{name}.key")
    Keyring([identity.public for identity in identities.values()]).write(secrets / "trust.json")
    return identities


def _entry(path: str, data: bytes, digests: dict[int, str]) -> FileEntry:
    """`digests` remembers by object, which its caller keeps alive."""
    digest = digests.get(id(data)) or digests.setdefault(id(data), sha256_of(data))
    return FileEntry(path=path, bytes=len(data), sha256=digest)

"""Packages of random bytes, for tests that care about files and not about films."""

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
    store: Path, sizes: dict[str, int] = SIZES, renditions: tuple[str, ...] = ("v-avc-720",)
) -> MadePackage:
    """Writes a package below the store's folder."""
    title_id, package_id = new_id("ttl"), new_id("pkg")
    dice = random.Random(package_id)
    files = {"hls/master.m3u8": b"#EXTM3U\n", "dash/manifest.mpd": b"<MPD/>"}
    shared = tuple(_entry(path, data) for path, data in files.items())
    listed = []
    for rendition_id in renditions:
        own = {f"{rendition_id}/{n}": dice.randbytes(size) for n, size in sizes.items()}
        listing = to_bytes(FileList(files=tuple(_entry(p, d) for p, d in own.items())))
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
                file_list=_entry(path, listing),
                file_count=len(own),
                total_bytes=sum(sizes.values()),
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
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return MadePackage(title_id, package_id, sha256_of(raw), files, folder)


def make_keys(data: Path, *appliances: str) -> dict[str, Identity]:
    """Keys of a control plane, steering and appliances, and the ring that trusts them."""
    secrets = data / "secrets"
    identities = {
        "control": Identity.open("control", "control", secrets / "control.key"),
        "steering": Identity.open("steering", "steering", secrets / "steering.key"),
    }
    for name in appliances:
        identities[name] = Identity.open(name, "appliance", secrets / f"{name}.key")
    Keyring([identity.public for identity in identities.values()]).write(secrets / "trust.json")
    return identities


def _entry(path: str, data: bytes) -> FileEntry:
    return FileEntry(path=path, bytes=len(data), sha256=sha256_of(data))

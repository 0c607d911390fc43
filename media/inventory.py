"""The inventory: what a package consists of, file by file, with bytes and SHA-256.

It has two levels so that it stays small for long films. `inventory.json` describes the
renditions, names the few files that belong to the package as a whole (playlists, MPD,
subtitles, pictures), and for each rendition names a *file list*,
`{rendition_id}/files.json`, by its own bytes and SHA-256. Who holds the SHA-256 of
`inventory.json` (a playback token, a plan) can therefore verify every byte of the package.

    titles/{title_id}/{package_id}/inventory.json      Inventory
                                  /v-avc-720/files.json    FileList
                                  /v-avc-720/init.mp4  1.m4s  2.m4s …
                                  /t-vtt-en/files.json    1.vtt 2.vtt …  whole.vtt
                                  /hls/master.m3u8  …  /dash/manifest.mpd
                                  /thumbs/index.vtt  1.jpg 2.jpg …  poster.jpg
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from media.ids import PackageId, RenditionId, Sha256, TitleId
from media.protection import Locked

INVENTORY_NAME = "inventory.json"
FILE_LIST_NAME = "files.json"
POSTER = "thumbs/poster.jpg"  # one picture that says most
WHOLE_TEXT = "whole.vtt"  # all of a track of subtitles, beside its segments

# A ten-hour rendition in 2 s segments lists 18,000 files of about 120 bytes: 2.2 MB.
MAX_INVENTORY_BYTES = 4 * 1024 * 1024
MAX_FILE_LIST_BYTES = 16 * 1024 * 1024
MAX_FILES_PER_LIST = 100_000
MAX_FILE_BYTES = 1 << 40

# Path elements start with a letter, digit or underscore: so "..", hidden and empty ones cannot be.
FilePath = Annotated[
    str,
    StringConstraints(
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*){0,4}$", max_length=200
    ),
]

CONTENT_TYPES = {
    "m3u8": "application/vnd.apple.mpegurl",
    "mpd": "application/dash+xml",
    "m4s": "video/iso.segment",
    "mp4": "video/mp4",
    "vtt": "text/vtt",
    "json": "application/json",
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "svg": "image/svg+xml",
}


class FileEntry(BaseModel):
    """One file of a package; `path` is relative to the package."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    path: FilePath
    bytes: int = Field(ge=0, le=MAX_FILE_BYTES)
    sha256: Sha256


class FileList(BaseModel):
    """Every file of one rendition, in playing order, the initialization segment first."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    files: tuple[FileEntry, ...] = Field(max_length=MAX_FILES_PER_LIST)


class Rendition(BaseModel):
    """One encoded rung, audio or subtitle track, as manifests describe it.

    Bandwidths are in bits per second and measured from the segments' bytes: `bandwidth` is the
    peak, `average_bandwidth` that of the whole, as RFC 8216bis defines them (4.1, 4.4.6.2), and
    `iframe_bandwidth` the peak of the key frames alone, where they have a playlist.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    rendition_id: RenditionId
    kind: Literal["video", "audio", "text"]
    codecs: str = Field(
        max_length=64, pattern=r"^[A-Za-z0-9.]+$"
    )  # RFC 6381: avc1.64001f, mp4a.40.2, wvtt
    bandwidth: int = Field(gt=0)
    average_bandwidth: int = Field(gt=0)
    iframe_bandwidth: int | None = Field(None, gt=0)
    timescale: int = Field(gt=0)
    duration_s: float = Field(gt=0)
    width: int | None = None
    height: int | None = None
    frame_rate: float | None = None
    video_range: Literal["PQ", "HLG"] | None = None  # none: SDR, or no picture
    frames: int | None = None
    language: str | None = Field(None, pattern=r"^[A-Za-z0-9-]{1,35}$")  # BCP 47
    forced: bool | None = None  # subtitles of what nobody is expected to understand
    for_the_deaf: bool | None = None  # … that tell sounds as well
    channels: int | None = None
    sample_rate: int | None = None
    locked: Locked | None = None  # encrypted; text never is
    file_list: FileEntry
    file_count: int = Field(gt=0)
    total_bytes: int = Field(gt=0)


class Inventory(BaseModel):
    """A package, complete. Its canonical bytes are `to_bytes`, and their SHA-256 is its name."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: Literal[1] = 1
    title_id: TitleId
    package_id: PackageId
    duration_s: float = Field(gt=0)
    renditions: tuple[Rendition, ...] = Field(min_length=1, max_length=64)
    files: tuple[FileEntry, ...] = Field(max_length=10_000)

    @model_validator(mode="after")
    def _paths_stay_in_their_place(self) -> "Inventory":
        ids = [rendition.rendition_id for rendition in self.renditions]
        if len(set(ids)) != len(ids):
            raise ValueError("two renditions have one id")
        for rendition in self.renditions:
            if rendition.file_list.path != f"{rendition.rendition_id}/{FILE_LIST_NAME}":
                raise ValueError(f"the file list of {rendition.rendition_id} is not in its folder")
        paths = [entry.path for entry in self.files]
        if len(set(paths)) != len(paths) or INVENTORY_NAME in paths:
            raise ValueError("a path is listed twice")
        if any(path.partition("/")[0] in set(ids) for path in paths):
            raise ValueError("a rendition's file is listed outside its file list")
        return self

    @property
    def total_bytes(self) -> int:
        """Bytes of the whole package without `inventory.json` itself."""
        shared = sum(entry.bytes for entry in self.files)
        return shared + sum(r.total_bytes + r.file_list.bytes for r in self.renditions)


def to_bytes(model: Inventory | FileList) -> bytes:
    """The canonical JSON: what is hashed is what is stored."""
    return model.model_dump_json(exclude_none=True).encode()


def sha256_of(data: bytes) -> str:
    """Lower-case hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path) -> str:
    """The same of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_list_of(rendition_id: str, named: FileEntry, raw: bytes) -> FileList:
    """The rendition's file list of these bytes. ValueError if it is not the one that is named."""
    if len(raw) != named.bytes or sha256_of(raw) != named.sha256:
        raise ValueError(f"the file list of {rendition_id} does not match the inventory")
    listed = FileList.model_validate_json(raw)
    if any(not entry.path.startswith(f"{rendition_id}/") for entry in listed.files):
        raise ValueError(f"the file list of {rendition_id} names files elsewhere")
    return listed


def package_prefix(title_id: str, package_id: str) -> str:
    """The key prefix of a package in the object store, with its last slash."""
    return f"titles/{title_id}/{package_id}/"


def rendition_of(path: str) -> str | None:
    """The rendition whose file list would name this path, or None for a shared file."""
    folder = path.partition("/")[0]
    return folder if "/" in path and re.fullmatch(r"[avt]-[a-z0-9-]+", folder) else None


def segment_after(path: str) -> str | None:
    """Where the segment after this one is, if there is one; None if this is no segment. (After an
    initialization segment comes whichever the player begins with.)"""
    folder, _, name = path.rpartition("/")
    number, _, ending = name.partition(".")
    if (
        rendition_of(path) is None
        or ending not in ("m4s", "vtt")
        or not re.fullmatch(r"[1-9][0-9]{0,8}", number)
    ):
        return None
    return f"{folder}/{int(number) + 1}.{ending}"


def content_type(path: str) -> str:
    """The media type by the path's ending; audio renditions say audio."""
    kind = CONTENT_TYPES.get(path.rpartition(".")[2], "application/octet-stream")
    return kind.replace("video/", "audio/", 1) if path.startswith("a-") else kind


class Package:
    """An inventory with the file lists read so far: answers what a path is.

    `lookup` is the gate of DESIGN.md: a path that the inventory does not list is unknown
    without asking anyone.
    """

    def __init__(self, inventory: Inventory, inventory_entry: FileEntry) -> None:
        self.inventory = inventory
        self._entries = {entry.path: entry for entry in inventory.files}
        self._entries[INVENTORY_NAME] = inventory_entry
        for rendition in inventory.renditions:
            self._entries[rendition.file_list.path] = rendition.file_list
        self._unread = {r.rendition_id: r.file_list for r in inventory.renditions}

    @classmethod
    def parse(cls, raw: bytes, sha256: str) -> "Package":
        """The package whose inventory has these bytes. Raises ValueError if the digest differs."""
        if sha256_of(raw) != sha256:
            raise ValueError("the inventory does not match its digest")
        entry = FileEntry(path=INVENTORY_NAME, bytes=len(raw), sha256=sha256)
        return cls(Inventory.model_validate_json(raw), entry)

    def add_file_list(self, rendition_id: str, raw: bytes) -> None:
        """Reads a rendition's file list. ValueError if it is not the one the inventory names."""
        named = self._unread.get(rendition_id)
        if named is None:
            return
        listed = file_list_of(rendition_id, named, raw)
        self._entries.update((entry.path, entry) for entry in listed.files)
        del self._unread[rendition_id]

    def __len__(self) -> int:
        return len(self._entries)

    def lookup(self, path: str) -> FileEntry | None:
        """The entry of a path; None when it is not listed, or its list has not been read."""
        return self._entries.get(path)

    def missing_list(self, path: str) -> FileEntry | None:
        """The file list that has to be read before `lookup(path)` can be trusted, or None."""
        rendition_id = rendition_of(path)
        return self._unread.get(rendition_id) if rendition_id else None

    def entries(self) -> Iterator[FileEntry]:
        """Every entry known so far, the inventory itself and the file lists included."""
        return iter(self._entries.values())

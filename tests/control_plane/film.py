"""Small packages for tests, put into a store as an encoder would."""

from collections.abc import Mapping

from media.dash import mpd
from media.dash_reader import Timeline
from media.inventory import (
    FileEntry,
    FileList,
    Inventory,
    Rendition,
    package_prefix,
    sha256_of,
    to_bytes,
)
from media.objects import ObjectStore
from media.protection import Locked, Protection

CODECS = {
    "avc": "avc1.64001f",
    "hevc": "hvc1.1.6.L93.B0",
    "av1": "av01.0.04M.08",
    "aac": "mp4a.40.2",
}


def film_of(*rendition_ids: str) -> dict[str, bytes]:
    """The files of these renditions, a few bytes each; their names say what they are."""
    return {
        f"{rendition_id}/{name}": name.encode() * 50
        for rendition_id in rendition_ids
        for name in ("init.mp4", "1.m4s", "2.m4s")
    }


async def put_package(
    store: ObjectStore,
    title_id: str,
    package_id: str,
    *,
    film: Mapping[str, bytes] | None = None,
    protection: Protection | None = None,
) -> str:
    """A package in the store; the SHA-256 of its inventory. It has a video and an audio rendition
    of a few bytes each, or the `film`: files of renditions, playlists and pictures."""
    film = film or film_of("v-avc-360", "a-aac-en")
    folders = sorted({path.split("/")[0] for path in film} - {"hls", "thumbs"}, reverse=True)
    files = dict(film)
    renditions = tuple(_rendition(files, folder, protection) for folder in folders)
    timelines = {r.rendition_id: Timeline(1000, (6000, 6000)) for r in renditions}
    files["dash/manifest.mpd"] = mpd(renditions, timelines, 12.0).encode()
    shared = tuple(_entry(p, data) for p, data in files.items() if p.split("/")[0] not in folders)
    inventory = to_bytes(
        Inventory(
            title_id=title_id,
            package_id=package_id,
            duration_s=12.0,
            renditions=renditions,
            files=shared,
        )
    )
    files["inventory.json"] = inventory
    for path, data in files.items():
        await store.put_bytes(package_prefix(title_id, package_id) + path, data)
    return sha256_of(inventory)


def _rendition(
    files: dict[str, bytes], rendition_id: str, protection: Protection | None
) -> Rendition:
    """The rendition whose files these are; its file list is added to them."""
    kind, codec, grade = rendition_id.split("-")
    video = kind == "v"
    height = int(grade) if video else None
    own = {path: data for path, data in files.items() if path.startswith(f"{rendition_id}/")}
    listed = to_bytes(FileList(files=tuple(_entry(path, data) for path, data in own.items())))
    path = f"{rendition_id}/files.json"
    files[path] = listed
    return Rendition(
        rendition_id=rendition_id,
        kind="video" if video else "audio",
        codecs=CODECS[codec],
        locked=_locked(protection, video),
        bandwidth=500_000 if video else 128_000,
        average_bandwidth=400_000 if video else 120_000,
        timescale=1000,
        duration_s=12.0,
        width=None if height is None else height * 16 // 9,
        height=height,
        frame_rate=24.0 if video else None,
        language=None if video else grade,
        channels=None if video else 2,
        sample_rate=None if video else 48_000,
        file_list=_entry(path, listed),
        file_count=len(own),
        total_bytes=sum(len(data) for data in own.values()),
    )


def _entry(path: str, data: bytes) -> FileEntry:
    return FileEntry(path=path, bytes=len(data), sha256=sha256_of(data))


def _locked(protection: Protection | None, video: bool) -> Locked | None:
    """It says that it is encrypted; its bytes are what they are."""
    if protection is None:
        return None
    key = protection.video if video else protection.audio
    return Locked(scheme=protection.scheme, key_id=key.key_id)

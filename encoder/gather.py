"""Reading a package into `Evidence`: manifests first, then rendition by rendition.

Every file is read once: its digest, its boxes and its place in the film that a decoder then
plays are taken in one go. Numbers and sizes are bounded, whoever wrote the manifests.
"""

import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

from encoder.evidence import Decoded, Evidence, Ledger, Stream, Texts
from encoder.places import Folder, Place, open_web
from encoder.settings import MAX_PIXELS
from media.dash import MPD_PATH, Mpd, read_mpd
from media.hls import (
    MULTIVARIANT_PATH,
    IFrames,
    MediaPlaylist,
    Multivariant,
    read_media,
    read_multivariant,
)
from media.inventory import (
    INVENTORY_NAME,
    MAX_FILE_LIST_BYTES,
    FileEntry,
    Package,
    Rendition,
    sha256_of,
)
from media.mp4 import (
    MAX_INIT_BYTES,
    MAX_SEGMENT_BYTES,
    Fragment,
    Track,
    presentation,
    read_segment,
    read_track,
)
from media.protection import ContentKey
from media.webvtt import MAX_BYTES as MAX_TEXT_BYTES
from media.webvtt import TextSegment
from media.webvtt import read_segment as read_text
from runtime.child import ChildFailed, Limits, run_child
from runtime.errors import Problem
from runtime.programs import ffmpeg

T = TypeVar("T")

MAX_MANIFEST_BYTES = 8 * 1024 * 1024
MAX_STREAMS = 128
MAX_TOTAL_BYTES = 1 << 41
MAX_DEFECTS = 20  # of one stream; a few tell the story
_DECODE = Limits(timeout_s=6 * 3600.0)


@dataclass(frozen=True)
class _Address:
    """Where the manifests are. In a whole package all of them have to be there."""

    whole: bool = False
    inventory: str | None = None
    hls: str | None = None
    mpd: str | None = None


async def gather(source: str, *, decode: bool = True, keys: Sequence[ContentKey] = ()) -> Evidence:
    """The evidence at `source`: a folder, or the URL of a package, a multivariant playlist or an
    MPD. What is encrypted is decoded with these keys, or not. Raises Problem when there is nothing
    to look at."""
    async with _open(source) as (place, address):
        known = {one.key_id: one.key for one in keys}
        return await _Gathering(source, place, decode, known).gather(address)


@asynccontextmanager
async def _open(source: str) -> AsyncIterator[tuple[Place, _Address]]:
    if source.startswith(("http://", "https://")):
        async with open_web() as web:
            try:
                address = _web_address(source)
            except ValueError as error:
                raise Problem("bad_request", f"{source} is not an address: {error}.") from None
            yield web, address
    elif Path(source).is_dir():
        yield Folder(Path(source)), _package(Folder.base_url)
    else:
        raise Problem("not_found", f"{source} is neither a folder nor an http address.")


def _web_address(url: str) -> _Address:
    path = urlsplit(url).path
    if path.endswith((f"/{MULTIVARIANT_PATH}", f"/{MPD_PATH}")):
        # Named as ours are: perhaps the other manifests of a package are there as well.
        return replace(_package(urljoin(url, "../")), whole=False)
    if path.endswith(".m3u8"):
        return _Address(hls=url)
    if path.endswith(".mpd"):
        return _Address(mpd=url)
    return _package(url if url.endswith("/") else f"{url}/")


def _package(base: str) -> _Address:
    return _Address(True, base + INVENTORY_NAME, base + MULTIVARIANT_PATH, base + MPD_PATH)


class _Gathering:
    """One look at one package, and what it has read so far."""

    def __init__(self, source: str, place: Place, decode: bool, keys: Mapping[str, str]) -> None:
        self._keys = keys
        self._source = source
        self._place = place
        self._decode = decode
        self._left_bytes = MAX_TOTAL_BYTES
        self._seen: dict[str, tuple[int, str]] = {}  # URL: bytes, SHA-256
        self._unreadable: list[str] = []

    async def gather(self, address: _Address) -> Evidence:
        hls = await self._manifest(address.hls, _first_pathway, address.whole)
        mpd = await self._manifest(address.mpd, read_mpd, address.whole)
        if hls is None and mpd is None:
            why = "; ".join(self._unreadable) or "nothing is there"
            raise Problem("not_found", f"{self._source} has no manifest to check: {why}.")
        streams = await self._streams(hls, mpd)
        iframes = await self._iframes(hls)
        texts = await self._texts(hls)
        return Evidence(
            source=self._source,
            hls=hls,
            mpd=mpd,
            ledger=await self._ledger(address),
            streams=tuple(streams),
            unreadable=tuple(self._unreadable),
            iframes=tuple(iframes),
            texts=tuple(texts),
        )

    async def _manifest(
        self, url: str | None, parse: Callable[[str, str], T], needed: bool = True
    ) -> T | None:
        """The manifest, if there is one that can be read; otherwise a sentence, if it is needed."""
        if url is None:
            return None
        try:
            return parse((await self._read(url, MAX_MANIFEST_BYTES)).decode(), url)
        except FileNotFoundError as error:
            if needed:
                self._unreadable.append(_defect(url, error))
        except (OSError, ValueError) as error:
            self._unreadable.append(_defect(url, error))
        return None

    async def _streams(self, hls: Multivariant | None, mpd: Mpd | None) -> list[Stream]:
        """Every rendition once, though both manifests name it."""
        streams = []
        playlists = _playlists(hls) if hls is not None else {}
        if len(playlists) > MAX_STREAMS:
            raise Problem("bad_request", f"{self._source} has too many renditions.")
        for url, name in playlists.items():
            playlist = await self._manifest(url, read_media)
            if playlist is not None:
                urls = [segment.uri for segment in playlist.segments]
                stream = await self._stream(name, playlist.init_uri, urls)
                streams.append(replace(stream, playlist_url=url, playlist=playlist))
        known = {stream.init_url for stream in streams}
        for item in mpd.representations if mpd is not None else ():
            if item.init_url not in known:
                streams.append(await self._stream(item.id, item.init_url, item.segment_urls))
        return streams

    async def _iframes(self, hls: Multivariant | None) -> list[tuple[IFrames, MediaPlaylist]]:
        """The playlists of key frames; their bytes are those of the segments."""
        found = []
        for told in (hls.iframes if hls is not None else ())[:MAX_STREAMS]:
            playlist = await self._manifest(told.uri, read_media)
            if playlist is not None:
                found.append((told, playlist))
        return found

    async def _texts(self, hls: Multivariant | None) -> list[Texts]:
        """The subtitles that variants name."""
        found = []
        groups = {variant.subtitles for variant in hls.variants} if hls is not None else set()
        for told in (hls.media if hls is not None else ())[:MAX_STREAMS]:
            if told.type != "SUBTITLES" or told.group_id not in groups or not told.uri:
                continue
            playlist = await self._manifest(told.uri, read_media)
            if playlist is not None:
                found.append(await self._text(told.stable_id or told.name, playlist))
        return found

    async def _text(self, name: str, playlist: MediaPlaylist) -> Texts:
        parts: list[TextSegment] = []
        defects: list[str] = []
        for segment in playlist.segments:
            try:
                raw = await self._read(segment.uri, MAX_TEXT_BYTES)
                parts.append(read_text(raw))
            except (OSError, ValueError) as error:
                defects.append(_defect(segment.uri, error))
                if len(defects) == MAX_DEFECTS:
                    break
        return Texts(name, playlist, tuple(parts), tuple(defects))

    async def _stream(self, name: str, init_url: str | None, urls: Sequence[str]) -> Stream:
        """The rendition, measured, and decoded when all of it is there."""
        try:
            with tempfile.TemporaryDirectory(prefix="nearcast-check-") as folder:
                film = Path(folder) / "film.mp4"
                stream = await self._measure(name, init_url, urls, film)
                locked = None if stream.track is None else stream.track.encryption
                key = None if locked is None else self._keys.get(locked.key_id)
                if stream.sound and self._decode and (locked is None or key is not None):
                    return replace(stream, decoded=await _decode(film, key))
                return stream
        except OSError as error:  # what is read has its own errors caught
            raise Problem("disk_full", f"A copy of {name} cannot be made: {error}.") from None

    async def _measure(
        self, name: str, init_url: str | None, urls: Sequence[str], film: Path
    ) -> Stream:
        """The stream as its files describe it; `film` is all of them in a row."""
        stream = Stream(name, None, None, init_url, None, (), (), ())
        fragments: list[Fragment] = []
        sizes: list[int] = []
        with film.open("wb") as out:
            try:
                if init_url is None:
                    raise ValueError("it has no initialization segment")
                init = await self._read(init_url, MAX_INIT_BYTES)
                track = read_track(init)
            except (OSError, ValueError) as error:
                return replace(stream, defects=(_defect(init_url or name, error),))
            out.write(init)
            defects: list[str] = []
            for url in urls:
                try:
                    data = await self._read(url, MAX_SEGMENT_BYTES)
                    fragments.append(read_segment(data, track.defaults))
                except (OSError, ValueError) as error:
                    defects.append(_defect(url, error))
                    if len(defects) == MAX_DEFECTS:
                        break
                else:
                    sizes.append(len(data))
                    out.write(data)
        if not defects and not _lasts(track, fragments):
            defects.append("its segments do not follow each other in time")
        return replace(
            stream,
            track=track,
            fragments=tuple(fragments),
            sizes=tuple(sizes),
            defects=tuple(defects),
        )

    async def _ledger(self, address: _Address) -> Ledger | None:
        """The inventory beside the files; digests of what was read before are at hand."""
        package = await self._manifest(address.inventory, _inventory, address.whole)
        if package is None or address.inventory is None:
            return None
        base = address.inventory.removesuffix(INVENTORY_NAME)
        wrong: list[str] = []
        for rendition in package.inventory.renditions:
            wrong += await self._read_list(package, rendition, base)
        entries = list(package.entries())
        for entry in entries:
            wrong += await self._compare(entry, base)
        there = self._place.paths()
        return Ledger(
            inventory=package.inventory,
            files=len(entries),
            wrong=tuple(dict.fromkeys(wrong)),
            unlisted=None if there is None else tuple(sorted(there - {e.path for e in entries})),
        )

    async def _read_list(self, package: Package, rendition: Rendition, base: str) -> list[str]:
        """A rendition's file list is in the package. Sentences on what is wrong with it."""
        path = rendition.file_list.path
        try:
            raw = await self._read(base + path, MAX_FILE_LIST_BYTES)
            package.add_file_list(rendition.rendition_id, raw)
        except (OSError, ValueError) as error:
            return [_defect(path, error)]
        folder = f"{rendition.rendition_id}/"
        own = [e for e in package.entries() if e.path.startswith(folder) and e.path != path]
        total = sum(entry.bytes for entry in own)
        if (len(own), total) == (rendition.file_count, rendition.total_bytes):
            return []
        return [
            f"{path} lists {len(own)} files of {total} bytes, the inventory says "
            f"{rendition.file_count} of {rendition.total_bytes}"
        ]

    async def _compare(self, entry: FileEntry, base: str) -> list[str]:
        url = base + entry.path
        try:
            if url not in self._seen:
                await self._read(url, MAX_SEGMENT_BYTES)
        except (OSError, ValueError) as error:
            return [_defect(url, error)]
        size, sha256 = self._seen[url]
        if size != entry.bytes:
            return [f"{entry.path} has {size} bytes instead of {entry.bytes}"]
        return [] if sha256 == entry.sha256 else [f"{entry.path} has another SHA-256"]

    async def _read(self, url: str, max_bytes: int) -> bytes:
        data = await self._place.read(url, max_bytes)
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            raise Problem("bad_request", f"{self._source} is too large to check.")
        self._seen[url] = (len(data), sha256_of(data))
        return data


def _first_pathway(text: str, url: str) -> Multivariant:
    """The multivariant playlist with the variants of the pathway that players start on."""
    read = read_multivariant(text, url)
    first = read.first_pathway or read.variants[0].pathway_id
    kept = tuple(v for v in read.variants if v.pathway_id == first)
    keys = tuple(i for i in read.iframes if i.pathway_id == first)
    return replace(read, variants=kept or read.variants, iframes=keys or read.iframes)


def _inventory(text: str, _url: str) -> Package:
    """The package of an inventory that nobody vouches for: its own digest is taken."""
    raw = text.encode()
    return Package.parse(raw, sha256_of(raw))


def _playlists(hls: Multivariant) -> dict[str, str]:
    """Address and name of every media playlist that the variants play."""
    groups = {variant.audio for variant in hls.variants}
    named = [(variant.uri, variant.stable_id) for variant in hls.variants]
    named += [(m.uri, m.stable_id) for m in hls.media if m.uri and m.group_id in groups]
    found: dict[str, str] = {}
    for url, name in named:
        found.setdefault(url, name or _short(url))
    return found


async def _decode(film: Path, key: str | None) -> Decoded:
    """What ffmpeg says of the film, from its first sample to its last, at the first error."""
    frames: int | None = None

    def progress(line: str) -> None:
        nonlocal frames
        key, _, value = line.partition("=")
        if key == "frame" and value.strip().isdecimal():
            frames = int(value)

    argv = [ffmpeg(), "-nostdin", "-hide_banner", "-nostats", "-v", "error"]
    argv += ["-xerror", "-err_detect", "explode"]  # else a broken picture is concealed
    argv += ["-protocol_whitelist", "file", "-format_whitelist", "mov"]  # the bytes are untrusted
    argv += ["-max_pixels", str(MAX_PIXELS)]
    argv += [] if key is None else ["-decryption_key", key]
    argv += ["-i", f"file:{film}", "-map", "0"]
    argv += ["-fps_mode", "passthrough"]  # count what is there, neither doubled nor dropped
    argv += ["-progress", "pipe:1", "-f", "null", "-"]
    try:
        await run_child(argv, limits=_DECODE, on_line=progress)
    except ChildFailed as failed:
        first = failed.stderr.strip().partition("\n")[0]
        return Decoded(frames, first.replace(str(film), "the film") or str(failed))
    return Decoded(frames)


def _lasts(track: Track, fragments: Sequence[Fragment]) -> bool:
    """There are segments, each at its time or later, and together they last."""
    ticks = presentation(track, fragments)[1] if fragments else ()
    return min(ticks, default=0) >= 0 and sum(ticks) > 0


def _defect(url: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{_short(url)} is missing"
    return f"{_short(url)}: {error}"


def _short(url: str) -> str:
    """The last two elements of the path: what a person recognises."""
    return "/".join(urlsplit(url).path.strip("/").split("/")[-2:])

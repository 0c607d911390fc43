"""Plays a session the hard way: walks its playlists, fetches every segment, checks every byte.

Files come from the first pathway; when a request fails the next one is asked, as a player would.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import imageio_ffmpeg

from media.api import Session
from media.hls import read_media, read_multivariant
from media.inventory import FILE_LIST_NAME, INVENTORY_NAME, Package, sha256_of
from runtime.errors import Problem

_PACKAGE = "http://package/"  # stands for whichever pathway serves
_STALL = aiohttp.ClientTimeout(total=60, connect=2.0, sock_read=2.5)


@dataclass
class Walk:
    """What was played, and how it went."""

    session: Session
    folder: Path
    bytes: int = 0
    segments: int = 0
    first_segment_ms: float | None = None
    served_by: dict[str, int] = field(default_factory=dict)  # segments per appliance
    failovers: int = 0


class Walker:
    """Walks one session. `folder` receives the files, in the package's own layout."""

    def __init__(self, session: Session, folder: Path, opened_at: float) -> None:
        """`opened_at`: monotonic seconds at which the session was asked for."""
        self.walk = Walk(session, folder)
        self._opened_at = opened_at
        self._pathways = list(session.pathways)
        self._package: Package | None = None

    async def play(self, on_segment: Callable[[int], Awaitable[None]] | None = None) -> Walk:
        """Every file of the session is in the folder and equals the inventory. `on_segment` is
        called after each segment with their count. Raises Problem."""
        async with aiohttp.ClientSession(timeout=_STALL) as http:
            await self._learn(http)
            for uri in await self._media_playlists(http):
                for path in await self._paths_of(http, uri):
                    await self._fetch(http, path)
                    if path.endswith(".m4s"):
                        self._count_segment()
                        if on_segment is not None:
                            await on_segment(self.walk.segments)
        return self.walk

    async def _learn(self, http: aiohttp.ClientSession) -> None:
        """Reads the inventory and its file lists, each checked by its digest."""
        raw = await self._get(http, INVENTORY_NAME)
        package = Package.parse(raw, self.walk.session.inventory_sha256)
        for rendition in package.inventory.renditions:
            path = f"{rendition.rendition_id}/{FILE_LIST_NAME}"
            package.add_file_list(rendition.rendition_id, await self._get(http, path))
        self._package = package

    async def _media_playlists(self, http: aiohttp.ClientSession) -> list[str]:
        """The first pathway's media playlists, as paths of the package."""
        text = await _text(http, self.walk.session.hls_url)
        first = self._pathways[0].base_of(self.walk.session.base_path)
        listed = read_multivariant(text, self.walk.session.hls_url)
        uris = [variant.uri for variant in listed.variants]
        uris += [audio.uri for audio in listed.media if audio.uri]
        own = dict.fromkeys(uri.removeprefix(first) for uri in uris if uri.startswith(first))
        if not own:
            raise Problem("internal", "The session's playlist does not name its first pathway.")
        return list(own)

    async def _paths_of(self, http: aiohttp.ClientSession, playlist: str) -> list[str]:
        """The files of a media playlist, in playing order."""
        text = (await self._fetch(http, playlist)).decode()
        listed = read_media(text, _PACKAGE + playlist)
        uris = [listed.init_uri, *(segment.uri for segment in listed.segments)]
        return [uri.removeprefix(_PACKAGE) for uri in uris if uri]

    async def _fetch(self, http: aiohttp.ClientSession, path: str) -> bytes:
        """The file, checked, and written to the folder."""
        assert self._package is not None
        entry = self._package.lookup(path)
        if entry is None:
            raise Problem("not_in_package", f"{path} is played and not in the inventory.")
        data = await self._get(http, path)
        if len(data) != entry.bytes or sha256_of(data) != entry.sha256:
            raise Problem("fill_failed", f"{path} differs from the inventory.")
        target = self.walk.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        self.walk.bytes += len(data)
        return data

    async def _get(self, http: aiohttp.ClientSession, path: str) -> bytes:
        """The bytes, from the first pathway that gives them; one that fails is left for good."""
        why = ""
        while self._pathways:
            pathway = self._pathways[0]
            try:
                async with http.get(pathway.base_of(self.walk.session.base_path) + path) as answer:
                    answer.raise_for_status()
                    data = await answer.content.read(-1)
                if path.endswith(".m4s"):
                    served = self.walk.served_by
                    served[pathway.appliance_id] = served.get(pathway.appliance_id, 0) + 1
                return data
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                why = f"{pathway.appliance_id}: {error or 'time-out'}"
                self.walk.failovers += 1
                del self._pathways[0]
        raise Problem("no_appliance", f"No pathway gave {path} ({why}).")

    def _count_segment(self) -> None:
        self.walk.segments += 1
        if self.walk.first_segment_ms is None:
            self.walk.first_segment_ms = round((time.monotonic() - self._opened_at) * 1000, 1)


async def decode_errors(folder: Path) -> list[str]:
    """What ffmpeg complains about when it decodes every media playlist in a walked folder."""
    errors: list[str] = []
    for playlist in sorted((folder / "hls").glob("*.m3u8")):
        argv = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostdin", "-v", "warning"]
        argv += ["-protocol_whitelist", "file", "-allowed_extensions", "m3u8,mp4,m4s"]
        argv += ["-i", str(playlist), "-f", "null", "-"]
        errors += [f"{playlist.stem}: {line}" for line in await _complaints(argv)]
    return errors


async def _complaints(argv: list[str]) -> list[str]:
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, complaints = await process.communicate()
    lines = complaints.decode("utf-8", "replace").strip().splitlines()
    if process.returncode and not lines:
        lines = [f"ffmpeg ended with {process.returncode}"]
    return lines


async def _text(http: aiohttp.ClientSession, url: str) -> str:
    async with http.get(url) as answer:
        answer.raise_for_status()
        return (await answer.content.read(-1)).decode()

"""A virtual player: plays a session as hls.js would, without a picture, and keeps book of stalls,
of what it got from where, and of bytes that were not the package's.

It buffers so many seconds ahead, takes the rung that BOLA takes (`lab.abr`), asks steering when its
time has come, and leaves an appliance whose first byte takes too long, that stalls, or that sends
something wrong, for as long as hls.js does.

Its clock may run faster than ours: then it plays, asks and loses patience so many times as fast,
but a connection has as long as ever to answer. All its times but that are by its own clock.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from lab.abr import Bola
from lab.playhead import Playhead
from media.api import Session
from media.fleet import SteeringManifest
from media.hls import MediaPlaylist, Multivariant, Variant, read_media, read_multivariant
from media.inventory import FILE_LIST_NAME, INVENTORY_NAME, Package, sha256_of
from runtime.errors import Problem

_PACKAGE = "http://package/"  # stands for whichever pathway serves
_PENALTY_S = 300.0
_NEWEST = 0.3  # the weight of a new reading of its throughput, in what it tells steering
_LONGEST_WAIT_S = 60.0  # without a pathway that answers, or for steering

Open = Callable[[], Awaitable[Session]]


@dataclass
class Played:
    """How it went. Times are in seconds since the first request, by the player's clock."""

    region: str
    session_id: str = ""
    startup_s: float = 0.0
    position_s: float = 0.0
    stalls_s: list[float] = field(default_factory=list)
    bytes: int = 0
    requests: int = 0
    bytes_from: Counter[str] = field(default_factory=Counter)  # by appliance
    rungs_s: dict[int, float] = field(default_factory=dict)  # of video, by bits a second
    top_bps: int = 0  # the highest rung that it was offered
    segments: Counter[str] = field(default_factory=Counter)  # by appliance
    path: list[tuple[float, str]] = field(default_factory=list)  # who served from when on
    failed_requests: int = 0
    wrong_bytes: int = 0
    unsteered: int = 0  # questions to steering without an answer
    error: str = ""


class VirtualPlayer:
    """One viewer."""

    def __init__(
        self,
        region: str,
        open_session: Open,
        *,
        buffer_s: float = 10.0,
        speed: float = 1.0,
        packages: dict[str, Package] | None = None,
    ) -> None:
        """`buffer_s` is how far ahead it loads, and `speed` how many times as fast as ours its
        clock runs. Players that share `packages` read an inventory once."""
        self.played = Played(region)
        self._speed = speed
        self._packages = {} if packages is None else packages
        self._open_session = open_session
        self._buffer_s = buffer_s
        self._began_s = time.monotonic()
        self._bases: dict[str, str] = {}
        self._order: list[str] = []
        self._left_until_s: dict[str, float] = {}
        self._throughput_bps = self._latest_bps = self._video_bps = 0.0
        self._bola: Bola | None = None
        self._package: Package | None = None
        self._playlists: dict[str, MediaPlaylist] = {}

    async def play(self) -> Played:
        """To the end of the film. What stops it is in `error`."""
        timeout = aiohttp.ClientTimeout(total=10.0, sock_connect=2.5, sock_read=2.5)
        self._began_s = time.monotonic()
        try:
            async with aiohttp.ClientSession(timeout=timeout) as http:
                await self._play(http)
        except (Problem, ValueError, OSError, TimeoutError, aiohttp.ClientError) as error:
            self.played.error = f"{type(error).__name__}: {error}"
        return self.played

    async def _play(self, http: aiohttp.ClientSession) -> None:
        session = await self._open_session()
        self.played.session_id = session.session_id
        self._bases = {p.appliance_id: p.base_of(session.base_path) for p in session.pathways}
        self._order = list(self._bases)
        self.played.requests += 2
        async with http.get(session.hls_url) as answer:
            answer.raise_for_status()
            listed = read_multivariant(await answer.text(), session.hls_url)
        sha256 = session.inventory_sha256
        if sha256 not in self._packages:
            raw = await self._get(http, INVENTORY_NAME, sha256=sha256)
            self._packages[sha256] = Package.parse(raw, sha256)
        self._package = self._packages[sha256]
        steering = asyncio.create_task(self._follow(http, listed), name="steering")
        try:
            await self._watch(http, listed)
        finally:
            steering.cancel()
            await asyncio.gather(steering, return_exceptions=True)

    async def _watch(self, http: aiohttp.ClientSession, listed: Multivariant) -> None:
        rungs = self._rungs(listed)
        self.played.top_bps = _rate(rungs[-1])
        tracks = {"video": 0.0}
        if audio := self._audio(listed, rungs[0]):
            tracks["audio"] = 0.0
        numbers = dict.fromkeys(tracks, 0)
        head = Playhead(0.0)
        while head.state != "ended":
            track = min(tracks, key=tracks.__getitem__)
            head.advance(self._now_s())
            await self._sleep(head.buffer_s - self._buffer_s)
            head.advance(self._now_s())
            rung = rungs[self._choose(head.buffer_s) if track == "video" else 0]
            path = audio if track == "audio" else self._path(rung.uri)
            playlist = await self._playlist(http, path)
            duration_s = sum(segment.duration_s for segment in playlist.segments)
            head.duration_s = min(head.duration_s or duration_s, duration_s)
            if numbers[track] == len(playlist.segments):
                tracks[track] = float("inf")
                if min(tracks.values()) == float("inf"):
                    await self._sleep(head.buffer_s)
                    head.advance(self._now_s())
                continue
            segment = playlist.segments[numbers[track]]
            await self._get(http, segment.uri.removeprefix(_PACKAGE), segment=True)
            if track == "video":
                self._video_bps = self._latest_bps
                seconds = self.played.rungs_s.get(_rate(rung), 0.0)
                self.played.rungs_s[_rate(rung)] = seconds + segment.duration_s
                if self._bola is None:
                    rates = [_rate(one) for one in rungs]
                    self._bola = Bola(rates, segment.duration_s, self._buffer_s)
            numbers[track] += 1
            tracks[track] += segment.duration_s
            if head.state == "starting" and min(tracks.values()) > 0:
                self.played.startup_s = self._now_s()
            head.load(min(*tracks.values(), head.duration_s), self._now_s())
            self.played.position_s, self.played.stalls_s = head.position_s, head.stalls_s
        head.end(self._now_s())
        self.played.position_s = head.position_s

    def _rungs(self, listed: Multivariant) -> list[Variant]:
        base = self._bases[self._order[0]]
        rungs = [one for one in listed.variants if one.uri.startswith(base)]
        if not rungs:
            raise ValueError("the session's playlist does not name its first pathway")
        return sorted(rungs, key=lambda one: one.bandwidth)

    def _audio(self, listed: Multivariant, rung: Variant) -> str:
        for one in listed.media:
            if one.type == "AUDIO" and one.group_id == rung.audio and one.uri is not None:
                return self._path(one.uri)
        return ""

    def _choose(self, buffer_s: float) -> int:
        return 0 if self._bola is None else self._bola.choose(buffer_s, self._video_bps)

    def _path(self, uri: str) -> str:
        """The file of the package at this address, whichever pathway it is of."""
        return next(uri[len(base) :] for base in self._bases.values() if uri.startswith(base))

    async def _playlist(self, http: aiohttp.ClientSession, path: str) -> MediaPlaylist:
        known = self._playlists.get(path)
        if known is None:
            text = (await self._get(http, path)).decode()
            known = self._playlists[path] = read_media(text, _PACKAGE + path)
        return known

    # Files.

    async def _get(
        self, http: aiohttp.ClientSession, path: str, *, sha256: str = "", segment: bool = False
    ) -> bytes:
        """The file, with the bytes that the inventory says, from the first pathway that gives
        them."""
        sha256 = sha256 or await self._digest(http, path)
        began_s = self._now_s()
        while self._now_s() - began_s < _LONGEST_WAIT_S:
            here = self._pathway()
            if here is None:
                await self._sleep(0.1)
                continue
            asked_s = self._now_s()
            self.played.requests += 1
            try:
                async with http.get(self._bases[here] + path) as answer:
                    answer.raise_for_status()
                    data = await answer.read()
            except (aiohttp.ClientError, TimeoutError, OSError):
                self.played.failed_requests += 1
                self._leave(here)
                continue
            if sha256_of(data) != sha256:
                self.played.wrong_bytes += len(data)
                self._leave(here)
                continue
            if segment:
                self._count(here, len(data), self._now_s() - asked_s)
            return data
        raise TimeoutError(f"no pathway gave {path}")

    async def _digest(self, http: aiohttp.ClientSession, path: str) -> str:
        assert self._package is not None
        listing = self._package.missing_list(path)
        if listing is not None:
            rendition_id = listing.path.removesuffix(f"/{FILE_LIST_NAME}")
            raw = await self._get(http, listing.path, sha256=listing.sha256)
            self._package.add_file_list(rendition_id, raw)
        entry = self._package.lookup(path)
        if entry is None:
            raise ValueError(f"{path} is played and not in the inventory")
        return entry.sha256

    def _count(self, here: str, size: int, took_s: float) -> None:
        played = self.played
        played.bytes += size
        played.bytes_from[here] += size
        played.segments[here] += 1
        if not played.path or played.path[-1][1] != here:
            played.path.append((round(self._now_s(), 2), here))
        reading = self._latest_bps = 8 * size / max(took_s, 1e-3)
        mean = self._throughput_bps or reading
        self._throughput_bps = mean + _NEWEST * (reading - mean)

    def _pathway(self) -> str | None:
        now_s = self._now_s()
        free = (one for one in self._order if self._left_until_s.get(one, 0.0) <= now_s)
        return next(free, None)

    def _leave(self, appliance_id: str) -> None:
        """It has failed. When all have, all get another chance, in a while."""
        self._left_until_s[appliance_id] = self._now_s() + _PENALTY_S
        if self._pathway() is None:
            again_s = self._now_s() + 0.5
            self._left_until_s = dict.fromkeys(self._order, again_s)

    # Steering.

    async def _follow(self, http: aiohttp.ClientSession, listed: Multivariant) -> None:
        url = listed.steering_url
        while url is not None:
            here = self._pathway() or self._order[0]
            query = f"_HLS_pathway=%22{here}%22"
            if self._throughput_bps:
                query += f"&_HLS_throughput={round(self._throughput_bps)}"
            wait_s = _LONGEST_WAIT_S
            self.played.requests += 1
            try:
                async with http.get(f"{url}{'&' if '?' in url else '?'}{query}") as answer:
                    answer.raise_for_status()
                    said = SteeringManifest.model_validate_json(await answer.read())
                self._order = [one for one in said.pathway_priority if one in self._bases]
                url, wait_s = said.reload_uri, float(said.ttl)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
                self.played.unsteered += 1
                wait_s = 2.0
            await self._sleep(wait_s)

    async def _sleep(self, seconds: float) -> None:
        """By its own clock."""
        if seconds > 0:
            await asyncio.sleep(seconds / self._speed)

    def _now_s(self) -> float:
        return (time.monotonic() - self._began_s) * self._speed


def _rate(rung: Variant) -> int:
    return rung.average_bandwidth or rung.bandwidth


def summary(played: Played) -> dict[str, Any]:
    """As JSON has it."""
    return {
        "region": played.region,
        "session_id": played.session_id,
        "startup_s": round(played.startup_s, 2),
        "position_s": round(played.position_s, 2),
        "stalls_s": [round(one, 2) for one in played.stalls_s],
        "segments": dict(played.segments),
        "path": [list(one) for one in played.path],
        "bytes": played.bytes,
        "wrong_bytes": played.wrong_bytes,
        "failed_requests": played.failed_requests,
        "unsteered": played.unsteered,
        "error": played.error,
    }

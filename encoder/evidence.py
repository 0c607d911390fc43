"""What was found at a package: what its manifests say, and what its bytes are. Pure.

`gather` collects an `Evidence`; the rules in `conformance` look at nothing else.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise

from encoder import rates
from media.dash import Mpd, Representation
from media.hls import IFrames, MediaPlaylist, Multivariant, Variant
from media.inventory import Inventory
from media.mp4 import Fragment, Track, presentation
from media.webvtt import TextSegment


@dataclass(frozen=True)
class Decoded:
    """What a decoder said of a whole rendition: its frames (of video), or its first error."""

    frames: int | None = None
    error: str | None = None


@dataclass(frozen=True)
class Stream:
    """One rendition: its playlist if it has one, and its segments as they were read.

    `defects` are sentences about files that are missing or damaged; what else was measured then
    says nothing, so rules ask `sound` first.
    """

    name: str
    playlist_url: str | None
    playlist: MediaPlaylist | None
    init_url: str | None
    track: Track | None
    fragments: tuple[Fragment, ...]
    sizes: tuple[int, ...]
    defects: tuple[str, ...]
    decoded: Decoded | None = None

    @property
    def sound(self) -> bool:
        """Every file was there and could be read, and all of them last some time together."""
        return not self.defects and self.track is not None

    @property
    def is_video(self) -> bool:
        """It is known to be video."""
        return self.track is not None and self.track.kind == "video"

    @cached_property
    def edges_s(self) -> tuple[Fraction, ...]:
        """When each segment starts to be shown, and when the last one ends; exact seconds."""
        assert self.track is not None
        at, ticks = presentation(self.track, self.fragments)
        edges = [at]
        for duration in ticks:
            edges.append(edges[-1] + duration)
        return tuple(Fraction(edge, self.track.timescale) for edge in edges)

    @property
    def durations_s(self) -> list[Fraction]:
        """Seconds for which each segment is shown."""
        edges = self.edges_s
        return [end - start for start, end in pairwise(edges)]

    @property
    def duration_s(self) -> Fraction:
        """Seconds from the first sample to the end of the last."""
        return self.edges_s[-1] - self.edges_s[0]

    @cached_property
    def keys_s(self) -> dict[tuple[str, int, int], Fraction]:
        """Key frames that can be decoded by themselves: the URI, offset and length of each, and the
        exact seconds until the next one is shown, or the end."""
        if self.track is None or self.playlist is None:
            return {}
        places = [
            (segment.uri, key)
            for segment, fragment in zip(self.playlist.segments, self.fragments, strict=True)
            for key in fragment.keys
        ]
        offset, scale = self.track.edit_offset, self.track.timescale
        shown = [Fraction(key.time - offset, scale) for _, key in places] + [self.edges_s[-1]]
        return {
            (uri, key.offset, key.length): after - at
            for (uri, key), at, after in zip(places, shown, shown[1:], strict=False)
        }

    @property
    def samples(self) -> int:
        """Frames of video, or coded frames of audio."""
        return sum(fragment.samples for fragment in self.fragments)

    @property
    def frame_s(self) -> Fraction:
        """Seconds of an average frame."""
        assert self.track is not None
        ticks = sum(fragment.duration for fragment in self.fragments)
        return Fraction(ticks, self.samples * self.track.timescale)

    @property
    def average_bps(self) -> float:
        """Bits per second of all segments together."""
        return float(rates.average_bps(self.sizes, self.durations_s))

    @property
    def segment_peak_bps(self) -> float:
        """Bits per second of the segment that has most."""
        rates = [
            8 * size / float(duration)
            for size, duration in zip(self.sizes, self.durations_s, strict=True)
            if duration > 0
        ]
        return max(rates)

    @cached_property
    def peak_bps(self) -> float:
        """The peak segment bit rate of RFC 8216bis, 4.4.6.2."""
        target_s = self.playlist.target_duration_s if self.playlist else max(self.durations_s)
        return float(rates.peak_bps(self.sizes, self.durations_s, target_s))


@dataclass(frozen=True)
class Texts:
    """Subtitles: their playlist, and its segments as far as they could be read."""

    name: str
    playlist: MediaPlaylist
    segments: tuple[TextSegment, ...]
    defects: tuple[str, ...]


@dataclass(frozen=True)
class Ledger:
    """The inventory beside the files: sentences on listed ones that are not as listed, and paths
    of unlisted ones (None where a place cannot be asked what it has)."""

    inventory: Inventory
    files: int
    wrong: tuple[str, ...]
    unlisted: tuple[str, ...] | None


@dataclass(frozen=True)
class Evidence:
    """Everything that the rules look at. `unreadable` has a sentence for each manifest that should
    be there and is not, or cannot be read. Variants are those of the first pathway."""

    source: str
    hls: Multivariant | None
    mpd: Mpd | None
    ledger: Ledger | None
    streams: tuple[Stream, ...]
    unreadable: tuple[str, ...]
    iframes: tuple[tuple[IFrames, MediaPlaylist], ...] = ()
    texts: tuple[Texts, ...] = ()

    @cached_property
    def sound(self) -> list[Stream]:
        """Streams that could be read to the end."""
        return [stream for stream in self.streams if stream.sound]

    @property
    def videos(self) -> list[Stream]:
        """Sound streams of video."""
        return [stream for stream in self.sound if stream.is_video]

    @property
    def audios(self) -> list[Stream]:
        """Sound streams of audio."""
        return [stream for stream in self.sound if not stream.is_video]

    @property
    def playlists(self) -> list[tuple[Stream, MediaPlaylist]]:
        """Streams that have a media playlist, sound or not."""
        return [(s, s.playlist) for s in self.streams if s.playlist is not None]

    @cached_property
    def variants(self) -> list[tuple[Variant, Stream, list[Stream]]]:
        """Variants whose stream and whole audio group are sound: with those."""
        if self.hls is None:
            return []
        by_url = {stream.playlist_url: stream for stream in self.sound}
        found = []
        for variant in self.hls.variants:
            uris = [
                media.uri or variant.uri
                for media in self.hls.media
                if variant.audio is not None and media.group_id == variant.audio
            ]
            main, group = by_url.get(variant.uri), [by_url.get(uri) for uri in uris]
            if main is not None and all(group):
                found.append((variant, main, [s for s in group if s is not None]))
        return found

    @cached_property
    def key_frames(self) -> list[tuple[IFrames, MediaPlaylist, Stream]]:
        """I-frame playlists whose stream is sound, with it."""
        by_init = {s.init_url: s for s in self.videos if s.playlist is not None}
        return [
            (told, playlist, by_init[playlist.init_uri])
            for told, playlist in self.iframes
            if playlist.init_uri in by_init
        ]

    @cached_property
    def representations(self) -> list[tuple[Representation, Stream]]:
        """The MPD's representations whose stream is sound, with it."""
        if self.mpd is None:
            return []
        by_init = {stream.init_url: stream for stream in self.sound}
        return [
            (representation, by_init[representation.init_url])
            for representation in self.mpd.representations
            if representation.init_url in by_init
        ]

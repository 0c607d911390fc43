"""Reading of fragmented MP4 (ISO/IEC 14496-12, CMAF): what a track is, and what a segment holds.

Pure: bytes in, small values out. It reads what a CMAF packager writes, one track per file, and
refuses the rest:

    init.mp4    ftyp moov( trak( edts( elst ) mdia( mdhd hdlr minf( stbl( stsd )))) mvex( trex ))
    1.m4s       styp sidx moof( traf( tfhd tfdt trun… )) mdat  moof( … ) mdat …

The input is hostile until it has been read: a length is believed only as far as the bytes reach,
loops are bounded by the bytes at hand, and every defect is a ValueError.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, NamedTuple

MAX_INIT_BYTES = 1024 * 1024
# Ten seconds at 200 Mbit/s.
MAX_SEGMENT_BYTES = 256 * 1024 * 1024
# A segment of ten seconds in one-frame fragments at 120 fps has 1200 moofs; each takes 4 boxes.
MAX_BOXES = 20_000

# Encrypted sample entries, and where the boxes in them begin.
_PROTECTED = {b"encv": 78, b"enca": 28}
_SCHEMES = {b"cenc", b"cens", b"cbc1", b"cbcs"}  # ISO/IEC 23001-7, 10

_NON_SYNC = 0x0001_0000  # sample_is_non_sync_sample, 8.8.3.1


class Defaults(NamedTuple):
    """What `trex` says of samples that say nothing themselves: ticks, bytes, flags (8.8.3)."""

    duration: int = 0
    size: int = 0
    flags: int = 0


NO_DEFAULTS = Defaults()


@dataclass(frozen=True)
class Encryption:
    """How a track's samples are encrypted (ISO/IEC 23001-7, 4 and 8.2).

    `key_id` is the default KID in lower-case hex. `pattern` counts the encrypted and the clear
    blocks of 16 bytes that take turns; (0, 0) without a pattern.
    """

    scheme: str
    key_id: str
    pattern: tuple[int, int]


@dataclass(frozen=True)
class Track:
    """The one track of an initialization segment.

    `codecs` is its RFC 6381 name, from the sample entry. `edit_offset` is the media time, in
    ticks, at which the presentation starts (8.6.6): an AAC encoder's priming lies before it.
    """

    kind: Literal["video", "audio"]
    timescale: int
    codecs: str
    width: int | None = None
    height: int | None = None
    video_range: Literal["PQ", "HLG"] | None = None  # none: SDR, or no picture
    channels: int | None = None
    sample_rate: int | None = None
    edit_offset: int = 0
    defaults: Defaults = NO_DEFAULTS
    encryption: Encryption | None = None  # of an encrypted track, which is else as in the clear


class Key(NamedTuple):
    """A key frame that can be decoded by the bytes of the segment from `offset` on, `length` of
    them: the `moof` in front of it and its sample. Shown at `time`, in ticks, before the track's
    edit list."""

    offset: int
    length: int
    time: int


@dataclass(frozen=True)
class Fragment:
    """A whole media segment, all its moofs added up; times in ticks of the track.

    `decode_time` is its first `tfdt`, `presentation_time` the earliest composition time of any
    of its samples, both before the track's edit list. `keys` are those at the head of a `moof`.
    """

    decode_time: int
    duration: int
    samples: int
    starts_with_sync: bool
    presentation_time: int = 0
    keys: tuple[Key, ...] = ()


class _Box(NamedTuple):
    kind: bytes
    body: memoryview


class _Run(NamedTuple):
    """One `trun`: ticks, count, whether its first sample is sync, the lowest composition time
    relative to the run's start; and of its first sample its bytes, where they begin, seen from the
    `moof`, and its composition offset."""

    duration: int
    samples: int
    sync: bool
    earliest: int
    first_bytes: int = 0
    first_at: int = 0
    first_offset: int = 0


def read_track(init: bytes) -> Track:
    """The track that an initialization segment describes. ValueError when it is not one."""
    if len(init) > MAX_INIT_BYTES:
        raise ValueError(f"an initialization segment has at most {MAX_INIT_BYTES} bytes")
    try:
        return _track(memoryview(init))
    except (struct.error, IndexError):
        raise ValueError("the initialization segment is cut off or damaged") from None


def read_segment(data: bytes, init_defaults: Defaults = NO_DEFAULTS) -> Fragment:
    """What a media segment holds. `init_defaults` are those of its track.

    ValueError when it is cut off or damaged, when it has samples of two tracks, and when one of
    its fragments does not start where the one before ended.
    """
    if len(data) > MAX_SEGMENT_BYTES:
        raise ValueError(f"a segment has at most {MAX_SEGMENT_BYTES} bytes")
    try:
        return _segment(memoryview(data), init_defaults)
    except (struct.error, IndexError):
        raise ValueError("the segment is cut off or damaged") from None


def presentation(track: Track, fragments: Sequence[Fragment]) -> tuple[int, tuple[int, ...]]:
    """When a track's consecutive segments are shown: the start of the first and the duration of
    each, in ticks, edit list applied. What lies before zero is never shown and not counted.

    Each lasts until the next one starts, so durations always add up to the whole.
    """
    if not fragments:
        raise ValueError("a track has at least one segment")
    last = fragments[-1]
    edges = [fragment.presentation_time for fragment in fragments]
    edges.append(last.presentation_time + last.duration)
    shown = [max(0, edge - track.edit_offset) for edge in edges]
    return shown[0], tuple(after - before for before, after in pairwise(shown))


# The initialization segment


def _track(data: memoryview) -> Track:
    moov = _child(data, b"moov")
    traks = [box.body for box in _boxes(moov) if box.kind == b"trak"]
    if len(traks) != 1:
        raise ValueError(f"the initialization segment has {len(traks)} tracks instead of one")
    mdia = _child(traks[0], b"mdia")
    handler = bytes(_child(mdia, b"hdlr")[8:12])
    stbl = _child(_child(mdia, b"minf"), b"stbl")
    entries = list(_boxes(_child(stbl, b"stsd")[8:]))
    if len(entries) != 1:
        raise ValueError(f"the track has {len(entries)} sample descriptions instead of one")
    timing = (_timescale(_child(mdia, b"mdhd")), _edit_offset(traks[0]), _defaults(moov))
    entry, encryption = _in_the_clear(entries[0])
    read = _ENTRIES.get((handler, entry.kind))
    if read is None:
        shown = entry.kind.decode("ascii", "replace")
        raise ValueError(f"the sample description {shown!r} is not one that is read here")
    track = read(entry, *timing)
    return track if encryption is None else replace(track, encryption=encryption)


def _in_the_clear(entry: _Box) -> tuple[_Box, Encryption | None]:
    """The entry under its original format, and how it is encrypted (14496-12, 8.12)."""
    if entry.kind not in _PROTECTED:
        return entry, None
    sinf = _child(entry.body[_PROTECTED[entry.kind] :], b"sinf")
    original = bytes(_child(sinf, b"frma")[:4])
    scheme = bytes(_child(sinf, b"schm")[4:8])
    tenc = _child(_child(sinf, b"schi"), b"tenc")
    version, blocks, protected = struct.unpack_from(">B4xBB", tenc)
    key_id = bytes(tenc[8:24])
    if scheme not in _SCHEMES or protected != 1 or len(key_id) != 16:
        raise ValueError("the track's encryption is damaged, or not one that is read here")
    pattern = (blocks >> 4, blocks & 15) if version else (0, 0)
    return _Box(original, entry.body), Encryption(scheme.decode(), key_id.hex(), pattern)


def _video(entry: _Box, timescale: int, edit_offset: int, defaults: Defaults) -> Track:
    """VisualSampleEntry (12.1.3), and the codec's own box in it."""
    width, height = struct.unpack_from(">HH", entry.body, 24)
    boxes = entry.body[78:]
    box, name = _CODEC_BOXES[entry.kind]
    codecs = name(entry.kind.decode(), _child(boxes, box))
    if not width or not height:
        raise ValueError("the picture has no size")
    return Track(
        kind="video",
        timescale=timescale,
        codecs=codecs,
        width=width,
        height=height,
        video_range=_video_range(boxes),
        edit_offset=edit_offset,
        defaults=defaults,
    )


def _avc(kind: str, config: memoryview) -> str:
    """`avc1.64001f`: profile, constraints, level (14496-15, 5.3.3)."""
    version, profile, constraints, level = config[:4]
    if version != 1:
        raise ValueError("the AVC sample description is damaged")
    return f"{kind}.{profile:02x}{constraints:02x}{level:02x}"


def _hevc(kind: str, config: memoryview) -> str:
    """`hvc1.2.4.L93.90`: profile, its compatibilities in reverse order, tier and level, and the
    constraints up to the last that is set (14496-15, 8.3.3 and E.3)."""
    version, general, compatible = struct.unpack_from(">BBI", config)
    constraints, level = bytes(config[6:12]).rstrip(b"\0"), config[12]
    if version != 1:
        raise ValueError("the HEVC sample description is damaged")
    space = ("", "A", "B", "C")[general >> 6]
    reverse = int(f"{compatible:032b}"[::-1], 2)
    tier = "H" if general & 0x20 else "L"
    parts = [kind, f"{space}{general & 0x1F}", f"{reverse:X}", f"{tier}{level}"]
    return ".".join(parts + [f"{byte:X}" for byte in constraints])


def _av1(kind: str, config: memoryview) -> str:
    """`av01.0.04M.10`: profile, level and tier, bits (AV1 in ISO base media files, 2.3.3 and 5)."""
    marker, first, second = config[:3]
    if marker != 0x81:
        raise ValueError("the AV1 sample description is damaged")
    bits = 8 if not second & 0x40 else 12 if second & 0x20 else 10
    return f"{kind}.{first >> 5}.{first & 0x1F:02}{'H' if second & 0x80 else 'M'}.{bits:02}"


_CODEC_BOXES: dict[bytes, tuple[bytes, Callable[[str, memoryview], str]]] = {
    b"avc1": (b"avcC", _avc),
    b"avc3": (b"avcC", _avc),
    b"hvc1": (b"hvcC", _hevc),
    b"hev1": (b"hvcC", _hevc),
    b"av01": (b"av1C", _av1),
}
_RANGES: dict[int, Literal["PQ", "HLG"]] = {16: "PQ", 18: "HLG"}  # transfer (23091-2, 8.2)


def _video_range(boxes: memoryview) -> Literal["PQ", "HLG"] | None:
    """What `colr` says of the transfer characteristics (12.1.5); None: standard dynamic range."""
    colour = _find(boxes, b"colr")
    if colour is None or bytes(colour[:4]) != b"nclx":
        return None
    return _RANGES.get(struct.unpack_from(">H", colour, 6)[0])


def _opus(entry: _Box, timescale: int, edit_offset: int, defaults: Defaults) -> Track:
    """AudioSampleEntry with `dOps` (Opus in ISO base media files, 4.3)."""
    _, channels, _, rate = struct.unpack_from(">BBHI", _child(entry.body[28:], b"dOps"))
    return Track(
        kind="audio",
        timescale=timescale,
        codecs="opus",
        channels=channels,
        sample_rate=rate,
        edit_offset=edit_offset,
        defaults=defaults,
    )


def _mp4a(entry: _Box, timescale: int, edit_offset: int, defaults: Defaults) -> Track:
    """AudioSampleEntry (12.2.3), then `esds` (14496-14, 5.6) for the kind of object."""
    (channels,) = struct.unpack_from(">H", entry.body, 16)
    (rate,) = struct.unpack_from(">I", entry.body, 24)
    return Track(
        kind="audio",
        timescale=timescale,
        codecs=_mpeg4_object(_child(entry.body[28:], b"esds")[4:]),
        channels=channels,
        sample_rate=rate >> 16,
        edit_offset=edit_offset,
        defaults=defaults,
    )


_Entry = Callable[[_Box, int, int, Defaults], Track]
_ENTRIES: dict[tuple[bytes, bytes], _Entry] = {
    **{(b"vide", kind): _video for kind in _CODEC_BOXES},
    (b"soun", b"mp4a"): _mp4a,
    (b"soun", b"Opus"): _opus,
}


def _mpeg4_object(descriptors: memoryview) -> str:
    """`mp4a.40.2`: the ES descriptor's object type and the AudioSpecificConfig's (14496-3, 1.6)."""
    stream = _descriptor(descriptors, 3)
    flags = stream[2]
    at = 3 + (2 if flags & 0x80 else 0)
    if flags & 0x40:  # a URL, preceded by its length
        at += 1 + stream[at]
    at += 2 if flags & 0x20 else 0
    config = _descriptor(stream[at:], 4)
    object_type = config[0]
    if object_type != 0x40:
        return f"mp4a.{object_type:02x}"
    audio = _descriptor(config[13:], 5)
    audio_type = audio[0] >> 3
    if audio_type == 31:  # an escape: six more bits
        audio_type = 32 + ((audio[0] & 7) << 3 | audio[1] >> 5)
    return f"mp4a.40.{audio_type}"


def _descriptor(data: memoryview, tag: int) -> memoryview:
    """The body of the first descriptor, which has this tag (14496-1, 8.3.3: 7 bits a byte)."""
    if data[0] != tag:
        raise ValueError("the elementary stream descriptor is damaged")
    length = 0
    for at in range(1, 5):
        length = length << 7 | data[at] & 0x7F
        if not data[at] & 0x80:
            return data[at + 1 : at + 1 + length]
    raise ValueError("a descriptor's length takes more than four bytes")


def _timescale(mdhd: memoryview) -> int:
    (timescale,) = struct.unpack_from(">I", mdhd, 20 if mdhd[0] == 1 else 12)
    if timescale == 0:
        raise ValueError("the track's timescale is zero")
    return int(timescale)


def _edit_offset(trak: memoryview) -> int:
    """`media_time` of the first edit that shows media (8.6.6); 0 without an edit list."""
    edts = _find(trak, b"edts")
    elst = _find(edts, b"elst") if edts is not None else None
    if elst is None:
        return 0
    layout = struct.Struct(">Qqi" if elst[0] == 1 else ">Iii")
    (count,) = struct.unpack_from(">I", elst, 4)
    for number in range(min(count, 8)):
        _, media_time, _ = layout.unpack_from(elst, 8 + number * layout.size)
        if media_time >= 0:
            return int(media_time)
    return 0


def _defaults(moov: memoryview) -> Defaults:
    mvex = _find(moov, b"mvex")
    trex = _find(mvex, b"trex") if mvex is not None else None
    return Defaults(*struct.unpack_from(">3I", trex, 12)) if trex is not None else NO_DEFAULTS


# The media segment


def _segment(data: memoryview, trex: Defaults) -> Fragment:
    runs: list[tuple[int, _Run]] = []  # each with the decode time of its first sample
    keys: list[Key] = []
    boxes = []
    for start, box in _placed(data):
        boxes.append(box)
        if box.kind == b"moof":
            found = [(at, run) for at, run in _moof(box.body, trex) if run.samples]
            runs += found
            at, run = found[0] if found else (0, None)
            if run is not None and run.sync and run.first_at > 0 and run.first_bytes:
                keys.append(Key(start, run.first_at + run.first_bytes, at + run.first_offset))
    if not runs:
        raise ValueError("the segment has no samples")
    if not any(box.kind == b"mdat" for box in boxes):
        raise ValueError("the segment has no media data")
    start, first = runs[0]
    end = start
    for at, run in runs:
        if at != end:
            raise ValueError(f"a fragment starts at {at} where the one before ended at {end}")
        end += run.duration
    return Fragment(
        decode_time=start,
        duration=end - start,
        samples=sum(run.samples for _, run in runs),
        starts_with_sync=first.sync,
        presentation_time=min(at + run.earliest for at, run in runs),
        keys=tuple(key for key in keys if key.offset + key.length <= len(data)),
    )


def _moof(moof: memoryview, trex: Defaults) -> Iterator[tuple[int, _Run]]:
    trafs = [box.body for box in _boxes(moof) if box.kind == b"traf"]
    if len(trafs) != 1:
        raise ValueError(f"a fragment has {len(trafs)} tracks instead of one")
    defaults = _tfhd(_child(trafs[0], b"tfhd"), trex)
    tfdt = _child(trafs[0], b"tfdt")
    (at,) = struct.unpack_from(">Q" if tfdt[0] == 1 else ">I", tfdt, 4)
    for box in _boxes(trafs[0]):
        if box.kind == b"trun":
            run = _trun(box.body, defaults)
            yield at, run
            at += run.duration


def _tfhd(tfhd: memoryview, trex: Defaults) -> Defaults:
    """The fragment's own defaults over those of the track (8.8.7): fields in the order of bits."""
    flags = _flags(tfhd)
    at = 8 + (8 if flags & 0x1 else 0) + (4 if flags & 0x2 else 0)
    values = list(trex)
    for number, bit in enumerate((0x8, 0x10, 0x20)):
        if flags & bit:
            (values[number],) = struct.unpack_from(">I", tfhd, at)
            at += 4
    return Defaults(*values)


def _trun(trun: memoryview, defaults: Defaults) -> _Run:
    """Track run (8.8.8). Per-sample fields are walked only when their bytes are there."""
    flags = _flags(trun)
    (count,) = struct.unpack_from(">I", trun, 4)
    at, data_at = 8, 0
    if flags & 0x1:
        (data_at,) = struct.unpack_from(">i", trun, at)
        at += 4
    first_flags = None
    if flags & 0x4:
        (first_flags,) = struct.unpack_from(">I", trun, at)
        at += 4
    fields = [bit for bit in (0x100, 0x200, 0x400, 0x800) if flags & bit]
    samples = trun[at:]
    if len(samples) < count * 4 * len(fields):
        raise ValueError("a track run announces more samples than it describes")
    if not fields:
        flag = defaults.flags if first_flags is None else first_flags
        sync = not flag & _NON_SYNC
        return _Run(count * defaults.duration, count, sync, 0, defaults.size, data_at)
    # Composition offsets are signed in version 1; in version 0 no real one reaches the sign bit.
    layout = struct.Struct(">" + "".join("i" if bit == 0x800 else "I" for bit in fields))
    place = {bit: number for number, bit in enumerate(fields)}
    time, earliest = 0, None
    first_bytes, first_offset = defaults.size, 0
    for row in layout.iter_unpack(samples[: count * layout.size]):
        if first_flags is None:
            first_flags = row[place[0x400]] if 0x400 in place else defaults.flags
        shown = time + (row[place[0x800]] if 0x800 in place else 0)
        if earliest is None:
            first_offset = shown
            first_bytes = row[place[0x200]] if 0x200 in place else defaults.size
        earliest = shown if earliest is None else min(earliest, shown)
        time += row[place[0x100]] if 0x100 in place else defaults.duration
    sync = not (first_flags or 0) & _NON_SYNC
    return _Run(time, count, sync, earliest or 0, first_bytes, data_at, first_offset)


# Boxes


def _boxes(data: memoryview) -> Iterator[_Box]:
    """The boxes that lie side by side in `data` (4.2). ValueError when one reaches beyond it."""
    return (box for _, box in _placed(data))


def _placed(data: memoryview) -> Iterator[tuple[int, _Box]]:
    """The same, each with where it begins."""
    at = 0
    for _ in range(MAX_BOXES):
        if at == len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, at)
        header = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
            header = 16
        elif size == 0:  # to the end
            size = len(data) - at
        if size < header or at + size > len(data):
            raise ValueError(f"the box {kind!r} does not fit where it stands")
        yield at, _Box(kind, data[at + header : at + size])
        at += size
    raise ValueError(f"more than {MAX_BOXES} boxes lie side by side")


def _find(data: memoryview, kind: bytes) -> memoryview | None:
    return next((box.body for box in _boxes(data) if box.kind == kind), None)


def _child(data: memoryview, kind: bytes) -> memoryview:
    body = _find(data, kind)
    if body is None:
        raise ValueError(f"the box {kind.decode()!r} is missing")
    return body


def _flags(full_box: memoryview) -> int:
    (word,) = struct.unpack_from(">I", full_box)
    return int(word) & 0x00FF_FFFF

"""How far a file should reach, by its container's own sizes: what a cut-off copy betrays.

Reads headers only. A container that declares no size declares nothing here either; of a transport
stream only the last packet can be missed.
"""

import struct
from typing import BinaryIO

# A ten-hour film in fragments of one second has 72,000 boxes at its top.
_MAX_BOXES = 500_000
# Plain, with a time stamp in front (Blu-ray), with parity behind; five sync bytes are no accident.
_TS_PACKETS = ((188, 0), (192, 4), (204, 0))
_TS_RUN = 5
_HEAD_BYTES = 204 * _TS_RUN
_SEGMENT_ID = b"\x18\x53\x80\x67"


def missing_bytes(file: BinaryIO, file_bytes: int) -> int:
    """How many bytes the container declares beyond the end of the file; 0 when it is all there."""
    head = _at(file, 0, _HEAD_BYTES)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        end = _iso_end(file, file_bytes)
    elif head[:4] == b"\x1a\x45\xdf\xa3":
        end = _matroska_end(head)
    elif head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        end = _riff_end(head)
    else:
        packet = ts_packet_bytes(head)
        end = -(-file_bytes // packet) * packet if packet else 0
    return max(0, end - file_bytes)


def ts_packet_bytes(head: bytes) -> int:
    """The packet size of a transport stream (ISO/IEC 13818-1, 2.4.3); 0 for what is none."""
    for size, at in _TS_PACKETS:
        marks = head[at : at + size * _TS_RUN : size]
        if marks == b"\x47" * _TS_RUN:
            return size
    return 0


def _iso_end(file: BinaryIO, file_bytes: int) -> int:
    """Where the last of the boxes that lie side by side ends (ISO/IEC 14496-12, 4.2)."""
    at = 0
    for _ in range(_MAX_BOXES):
        header = _at(file, at, 16)
        if len(header) < 8 or not header[4:8].isascii() or not header[4:8].strip(b"\0"):
            return at  # what follows is no box: padding, or somebody's appendix
        size = int.from_bytes(header[:4], "big")
        if size == 1:
            size = int.from_bytes(header[8:16], "big")
        if size < 8:  # 0: the box reaches to the end, wherever that is
            return file_bytes
        at += size
        if at >= file_bytes:
            break
    return at


def _matroska_end(head: bytes) -> int:
    """The end of the Segment, which follows the EBML header (RFC 8794, 4; RFC 9559, 5.1)."""
    _, header_bytes, at = _element(head, 0)
    element_id, segment_bytes, at = _element(head, at + header_bytes)
    if element_id != _SEGMENT_ID or segment_bytes < 0:
        return 0
    return at + segment_bytes


def _riff_end(head: bytes) -> int:
    (size,) = struct.unpack_from("<I", head, 4)
    # Writers that never came back to fill it in leave one of these.
    return 0 if size in (0, 0xFFFFFFFF, 0x7FFFFFFF) else size + 8


def _element(data: bytes, at: int) -> tuple[bytes, int, int]:
    """An EBML element's id, its size (-1: unknown), and where its body starts."""
    id_bytes = _width(data, at)
    size_at = at + id_bytes
    size_bytes = _width(data, size_at)
    raw = data[size_at : size_at + size_bytes]
    if not id_bytes or not size_bytes or len(raw) < size_bytes:
        return b"", -1, at
    value_bits = 7 * size_bytes
    size = int.from_bytes(raw, "big") & ((1 << value_bits) - 1)
    unknown = size == (1 << value_bits) - 1
    return data[at:size_at], -1 if unknown else size, size_at + size_bytes


def _width(data: bytes, at: int) -> int:
    """The length of a variable-size integer: the place of its first 1 bit; 0 when it has none."""
    return 9 - data[at].bit_length() if at < len(data) and data[at] else 0


def _at(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)

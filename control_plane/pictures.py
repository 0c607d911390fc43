"""What a picture is, by its own bytes: pure, and nothing of it is decoded.

JPEG (ITU-T T.81, annex B), PNG (W3C, 5 and 11.2.2) and WebP (RFC 9649) are taken, still ones that
are whole, and no larger than a browser decodes without trouble. What a client says that it sends
does not count, so nothing that a browser would run is ever kept.
"""

from dataclasses import dataclass

from runtime.errors import Problem

MAX_BYTES = 4 * 1024 * 1024
MAX_SIDE = 4096  # pixels: decoded, 64 MiB at most
MIN_SIDE = 16

_PNG = b"\x89PNG\r\n\x1a\n"
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA  # JPEG's markers SOI, EOI, SOS
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})  # SOF of what browsers show: baseline to progressive
_ANIMATED = 0x02  # a flag of VP8X
_REFUSAL = "bad_artwork"


@dataclass(frozen=True)
class Picture:
    """A still picture: `kind` is its ending in `media.inventory.CONTENT_TYPES`; pixels."""

    kind: str
    width: int
    height: int


def picture_of(raw: bytes) -> Picture:
    """The picture that these bytes are. Raises Problem `body_too_large`, and `bad_artwork` for
    what is none, is cut off, moves, or has a side outside MIN_SIDE to MAX_SIDE."""
    if len(raw) > MAX_BYTES:
        raise Problem("body_too_large", f"At most {MAX_BYTES} bytes are taken here.")
    try:
        picture = _read(raw)
    except (IndexError, EOFError):
        raise Problem(_REFUSAL, "The picture is cut off or damaged.") from None
    if min(picture.width, picture.height) < MIN_SIDE:
        raise Problem(_REFUSAL, f"A side of the picture is under {MIN_SIDE} pixels.")
    if max(picture.width, picture.height) > MAX_SIDE:
        raise Problem(_REFUSAL, f"A side of the picture is over {MAX_SIDE} pixels.")
    return picture


def _read(raw: bytes) -> Picture:
    if raw.startswith(bytes((0xFF, _START))):
        return Picture("jpg", *_jpeg(raw))
    if raw.startswith(_PNG):
        return Picture("png", *_png(raw))
    if raw.startswith(b"RIFF") and raw[8:12] == b"WEBP":
        return Picture("webp", *_webp(raw))
    raise Problem(_REFUSAL, "This is no JPEG, PNG or WebP picture.")


def _jpeg(raw: bytes) -> tuple[int, int]:
    """Goes from segment to segment to the first scan; behind that there has to be an end."""
    size, at = None, 2
    while True:
        if raw[at] != 0xFF:
            raise EOFError
        while raw[at] == 0xFF:  # any number of fill bytes
            at += 1
        marker = raw[at]
        length = int.from_bytes(_part(raw, at + 1, 2), "big")
        body = _part(raw, at + 3, length - 2)
        if marker in _FRAMES:
            size = (int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big"))
        elif marker == _SCAN:
            if size is None or raw.find(bytes((0xFF, _END)), at) < 0:
                raise EOFError
            return size
        at += 1 + length


def _png(raw: bytes) -> tuple[int, int]:
    """Goes from chunk to chunk to the last."""
    at, seen, header = len(_PNG), set(), b""
    while b"IEND" not in seen:
        length = int.from_bytes(_part(raw, at, 4), "big")
        name, body = _part(raw, at + 4, 4), _part(raw, at + 8, length)
        if name == b"acTL":
            raise Problem(_REFUSAL, "The picture moves: a still one is wanted.")
        header = header or body
        seen.add(name)
        at += 12 + length  # a checksum comes last
    if not seen >= {b"IHDR", b"IDAT"} or len(header) != 13:
        raise EOFError
    return int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")


def _webp(raw: bytes) -> tuple[int, int]:
    """The canvas, if there is one, and the picture have to be of one size."""
    whole = _part(raw, 0, 8 + int.from_bytes(raw[4:8], "little"))
    sizes, pictures, at = set(), 0, 12
    while at < len(whole):
        name, length = _part(whole, at, 4), int.from_bytes(_part(whole, at + 4, 4), "little")
        body = _part(whole, at + 8, length)
        if name == b"VP8X":
            if body[0] & _ANIMATED:
                raise Problem(_REFUSAL, "The picture moves: a still one is wanted.")
            sizes.add((_little(body, 4, 3) + 1, _little(body, 7, 3) + 1))
        elif name == b"VP8 ":
            if body[0] & 1 or _part(body, 3, 3) != b"\x9d\x01\x2a":  # no key frame (RFC 6386, 9.1)
                raise EOFError
            sizes.add((_little(body, 6, 2) & 0x3FFF, _little(body, 8, 2) & 0x3FFF))
            pictures += 1
        elif name == b"VP8L":
            bits = _little(body, 1, 4)
            if body[0] != 0x2F:
                raise EOFError
            sizes.add(((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1))
            pictures += 1
        at += 8 + length + (length & 1)
    if pictures != 1 or len(sizes) != 1:
        raise EOFError
    width, height = sizes.pop()
    return width, height


def _little(raw: bytes, at: int, length: int) -> int:
    return int.from_bytes(_part(raw, at, length), "little")


def _part(raw: bytes, at: int, length: int) -> bytes:
    """So many bytes from there. Raises EOFError when there are fewer."""
    found = raw[at : at + length] if length >= 0 else b""
    if length < 0 or len(found) != length:
        raise EOFError
    return found

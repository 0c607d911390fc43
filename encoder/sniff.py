"""The first bytes of a file: what it is, as far as its refusal needs to say.

Protection lies elsewhere (the demuxers that `probe` allows); this gives the plain sentence.
"""

import re

from encoder.extent import ts_packet_bytes
from runtime.errors import Problem

HEAD_BYTES = 4096

_XML = r"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<([\w-]+:)?"
# Texts that name other files or addresses, which a decoder would go and read.
_POINTERS = (
    (r"#EXTM3U", "an HLS playlist"),
    (r"ffconcat\s", "an ffconcat script"),
    (_XML + r"MPD[\s>]", "a DASH manifest"),
    (_XML + r"(smil|asx|SmoothStreamingMedia|CompositionPlaylist)[\s>]", "a playlist"),
    (r"v=0\r?\n[os]=", "a session description (SDP)"),
    (r"\[(playlist|reference)\]", "a playlist"),
    (r"(rtsptext|(https?|rtsps?|rtmps?|file|mms|udp|rtp)://)", "a list of addresses"),
)
_POINTER = [(re.compile(pattern, re.I | re.S), named) for pattern, named in _POINTERS]

# How films start. A file that starts so and still cannot be read is damaged.
_FILMS: tuple[tuple[int, bytes], ...] = (
    (4, b"ftyp"),  # MP4, QuickTime
    (4, b"moov"),
    (4, b"mdat"),
    (4, b"wide"),
    (0, b"\x1a\x45\xdf\xa3"),  # Matroska, WebM
    (8, b"AVI "),
    (0, b"FLV\x01"),
    (0, b"OggS"),
    (0, b"\x00\x00\x01\xba"),  # MPEG program stream
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),  # ASF
    (0, b"\x06\x0e\x2b\x34\x02\x05\x01\x01"),  # MXF
    (0, b"DKIF"),
    (0, b"YUV4MPEG2 "),
)


def refuse_head(head: bytes) -> None:
    """Nothing, for a file that may be a film. Raises Problem `empty_file` or `forbidden_format`."""
    if not head:
        raise Problem("empty_file")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().decode("latin-1")
    for pattern, named in _POINTER:
        if pattern.match(text):
            raise Problem(
                "forbidden_format",
                f"This is {named}, not a film. Files that point elsewhere are not taken.",
            )


def starts_like_a_film(head: bytes) -> bool:
    """Whether the first bytes are those of a container that is taken."""
    if any(head[at : at + len(magic)] == magic for at, magic in _FILMS):
        return True
    return ts_packet_bytes(head) > 0

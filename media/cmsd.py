"""What a server says beside its bytes: Common Media Server Data (CTA-5006).

`CMSD-Static` is a dictionary about the object, true on its whole way; `CMSD-Dynamic` is a list to
which each server on the way adds an item, its own name, with parameters about this one answer
(structured fields, RFC 8941 3.1 and 3.2). `du` is duress, a parameter of the dynamic field;
an object's duration is `d`.
"""

import re
from typing import Literal, NamedTuple

from media.inventory import Inventory, rendition_of

ObjectType = Literal["m", "a", "v", "i", "c", "o"]
_TYPES: dict[str, ObjectType] = {"m3u8": "m", "mpd": "m", "vtt": "c"}
_PRINTABLE = re.compile(r"[\x20-\x7e]*")

# What an appliance may claim at most: RFC 8941's integers have 15 digits, players fewer.
_MOST = 10**9


class Spoken(NamedTuple):
    """What is known of a file: its type, and for a segment its duration and average bit rate."""

    object_type: ObjectType
    duration_ms: int | None = None
    bitrate_kbps: int | None = None


def spoken(path: str, inventory: Inventory) -> Spoken:
    """What the inventory knows of one of its files. A segment's duration is the rendition's over
    its segments, an approximation that the standard allows: only the last one is shorter."""
    ending = path.rpartition(".")[2]
    rendition_id = rendition_of(path)
    if rendition_id is None or ending not in ("m4s", "mp4"):
        return Spoken(_TYPES.get(ending, "o"))
    if ending == "mp4":
        return Spoken("i")
    rendition = next((r for r in inventory.renditions if r.rendition_id == rendition_id), None)
    if rendition is None:
        return Spoken("a" if rendition_id.startswith("a-") else "v")
    segments = max(1, rendition.file_count - 1)  # the initialization segment is none
    return Spoken(
        "a" if rendition.kind == "audio" else "v",
        round(rendition.duration_s * 1000 / segments),
        round(rendition.average_bandwidth / 1000),
    )


def static(known: Spoken) -> bytes:
    """The value of `CMSD-Static`; always of a film on demand (`st=v`)."""
    members = [f"ot={known.object_type}"]
    if known.duration_ms is not None:
        members.append(f"d={_bounded(known.duration_ms)}")
    if known.bitrate_kbps is not None:
        members.append(f"br={_bounded(known.bitrate_kbps)}")
    return ",".join((*members, "st=v")).encode()


def quoted(name: str) -> bytes:
    """A server's name as a string item (RFC 8941 4.1.6), to be made once. Raises ValueError for
    other characters than printable ASCII."""
    if not _PRINTABLE.fullmatch(name):
        raise ValueError("a structured field's string is printable ASCII")
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'.encode()


def dynamic(
    name: bytes,
    *,
    throughput_kbps: int | None = None,
    rtt_ms: int | None = None,
    most_kbps: int | None = None,
    delay_ms: int | None = None,
    duress: bool = False,
) -> bytes:
    """The value of `CMSD-Dynamic`, `name` as `quoted` gives it: the throughput that the connection
    would give now, its round-trip time, the highest bit rate that the server suggests, how long the
    first byte took to be at hand, and whether the server is under duress."""
    value = name
    if throughput_kbps is not None:
        value += b";etp=%d" % _bounded(throughput_kbps)
    if rtt_ms is not None:
        value += b";rtt=%d" % _bounded(rtt_ms)
    if most_kbps is not None:
        value += b";mb=%d" % _bounded(most_kbps)
    if delay_ms is not None:
        value += b";rd=%d" % _bounded(delay_ms)
    return value + b";du" if duress else value


def _bounded(number: int) -> int:
    return max(0, min(number, _MOST))

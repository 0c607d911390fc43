"""What is taken for a picture: by its own bytes, and nothing that is cut off, moves or is huge."""

import random
import struct

import pytest

from control_plane.pictures import MAX_BYTES, MAX_SIDE, Picture, picture_of
from runtime.errors import Problem
from tests.control_plane.stills import still

WHOLE = ("jpg", "png", "webp", "lossless.webp")


def refusal(raw: bytes) -> str:
    """The code; "" for what is taken."""
    try:
        picture_of(raw)
    except Problem as problem:
        return problem.code
    return ""


@pytest.mark.parametrize("kind", WHOLE)
def test_kind_and_size_are_read(kind: str):
    assert picture_of(still(kind)) == Picture(kind.rsplit(".", maxsplit=1)[-1], 64, 36)


@pytest.mark.parametrize("kind", WHOLE)
def test_what_is_cut_off_anywhere_is_refused(kind: str):
    raw = still(kind)
    rng = random.Random(1)
    cuts = [*range(32), *(rng.randrange(len(raw) - 2) for _ in range(200))]
    assert {refusal(raw[:cut]) for cut in cuts} == {"bad_artwork"}


@pytest.mark.parametrize("kind", WHOLE)
def test_damage_is_refused_or_harmless_and_never_a_bug(kind: str):
    raw = still(kind)
    rng = random.Random(2)
    for _ in range(300):
        damaged = bytearray(raw)
        for _ in range(rng.randint(1, 8)):
            damaged[rng.randrange(min(len(raw), 64))] = rng.randrange(256)
        assert refusal(bytes(damaged)) in ("", "bad_artwork")


@pytest.mark.parametrize("kind", ["apng", "moving.webp", "gif"])
def test_what_moves_is_refused(kind: str):
    assert refusal(still(kind)) == "bad_artwork"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"film",
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        b"<!doctype html><script>alert(1)</script>",
        b"\xff\xd8\xff" + b"<script>alert(1)</script>" * 9,
        b"\xff\xd8" + b"\xff" * 1000,
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", 2**31, b"IHDR"),
        b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        b"RIFF\x04\x00\x00\x00WEBP",
    ],
)
def test_what_is_no_picture_is_refused(raw: bytes):
    assert refusal(raw) == "bad_artwork"


def test_size_is_bounded_in_bytes_and_in_pixels():
    assert refusal(bytes(MAX_BYTES + 1)) == "body_too_large"
    assert refusal(still("png", "8x36")) == "bad_artwork"
    png = still("png")
    for side, code in ((MAX_SIDE, ""), (MAX_SIDE + 1, "bad_artwork"), (2**31, "bad_artwork")):
        assert refusal(png[:16] + struct.pack(">I", side) + png[20:]) == code
    # A canvas that says less than its picture is.
    webp = still("webp")
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\x20\x00\x00" + b"\x20\x00\x00"
    whole = b"RIFF" + struct.pack("<I", len(webp) - 8 + len(canvas)) + b"WEBP" + canvas + webp[12:]
    assert refusal(whole) == "bad_artwork"

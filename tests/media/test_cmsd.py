"""CMSD: golden values, and what the inventory knows."""

import re

import pytest

from media.cmsd import Spoken, dynamic, quoted, spoken, static
from media.inventory import FileEntry, Inventory, Rendition

FILE = FileEntry(path="hls/master.m3u8", bytes=1, sha256="0" * 64)


def rendition(rendition_id: str, kind: str, average_bandwidth: int) -> Rendition:
    listing = FileEntry(path=f"{rendition_id}/files.json", bytes=1, sha256="0" * 64)
    return Rendition(
        rendition_id=rendition_id, kind=kind, codecs="x", bandwidth=average_bandwidth * 2,
        average_bandwidth=average_bandwidth, timescale=1, duration_s=60.0, file_list=listing,
        file_count=11, total_bytes=1,
    )  # fmt: skip


INVENTORY = Inventory(
    title_id="ttl_01jd0000000000000000000000",
    package_id="pkg_01jd0000000000000000000000",
    duration_s=60.0,
    renditions=(
        rendition("v-avc-720", "video", 2_499_600),
        rendition("a-aac-en", "audio", 128_000),
    ),
    files=(FILE,),
)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("v-avc-720/3.m4s", b"ot=v,d=6000,br=2500,st=v"),
        ("a-aac-en/1.m4s", b"ot=a,d=6000,br=128,st=v"),
        ("v-avc-720/init.mp4", b"ot=i,st=v"),
        ("v-hevc-720/1.m4s", b"ot=v,st=v"),  # another inventory's
        ("hls/master.m3u8", b"ot=m,st=v"),
        ("dash/manifest.mpd", b"ot=m,st=v"),
        ("subs/en.vtt", b"ot=c,st=v"),
        ("thumbs/1.jpg", b"ot=o,st=v"),
        ("v-avc-720/files.json", b"ot=o,st=v"),
    ],
)
def test_static(path: str, value: bytes) -> None:
    assert static(spoken(path, INVENTORY)) == value


def test_dynamic() -> None:
    name = quoted("north-1")
    assert dynamic(name) == b'"north-1"'
    assert dynamic(name, throughput_kbps=96, rtt_ms=8) == b'"north-1";etp=96;rtt=8'
    assert (
        dynamic(name, throughput_kbps=0, rtt_ms=0, most_kbps=3000, delay_ms=250, duress=True)
        == b'"north-1";etp=0;rtt=0;mb=3000;rd=250;du'
    )
    assert dynamic(name, throughput_kbps=10**20, rtt_ms=-4) == b'"north-1";etp=1000000000;rtt=0'


def test_names_are_strings_of_structured_fields() -> None:
    assert quoted('a"b\\c') == b'"a\\"b\\\\c"'
    for name in ("a\r\nSet-Cookie: x", "\x7f", "é"):
        with pytest.raises(ValueError, match="printable"):
            quoted(name)


# RFC 8941: sf-dictionary and sf-list, as far as integers, tokens, strings and true go.
_VALUE = r'(?:=(?:-?[0-9]{1,15}|[a-zA-Z*][\w:/!#$%&\'*+.^`|~-]*|"(?:[ !#-\[\]-~]|\\["\\])*"))?'
_DICTIONARY = re.compile(rf"[a-z*][a-z0-9_.*-]*{_VALUE}(,[a-z*][a-z0-9_.*-]*{_VALUE})*")
_LIST = re.compile(rf'"(?:[ !#-\[\]-~]|\\["\\])*"(;[a-z*][a-z0-9_.*-]*{_VALUE})*')


def test_the_syntax_is_that_of_structured_fields() -> None:
    for known in (Spoken("v", 1, 2), Spoken("m"), Spoken("a", -5, 10**30)):
        assert _DICTIONARY.fullmatch(static(known).decode())
    for duress in (False, True):
        value = dynamic(quoted('x"y'), throughput_kbps=1, delay_ms=2, duress=duress)
        assert _LIST.fullmatch(value.decode())

"""CMCD: what players send, what nobody should, and what comes next."""

import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.cmcd import MAX_BYTES, MAX_NEXT, MAX_TEXT, Cmcd, raw, read, resolve


def said(text: str) -> Cmcd | None:
    """What a query argument with this text says."""
    return read(raw(b"CMCD=" + quote(text, safe="").encode(), {}))


def test_a_query_as_hls_js_sends_it() -> None:
    query = (
        b"a=1&CMCD=bl%3D21300%2Cbr%3D3200%2Cbs%2Ccid%3D%22faec5fc2%22%2Cd%3D4004%2Cdl%3D18500"
        b"%2Cmtp%3D48100%2Cnor%3D%224.m4s%22%2Cnrr%3D%2212323-48763%22%2Cot%3Dv%2Cpr%3D1.08"
        b"%2Crtp%3D12000%2Csf%3Dh%2Csid%3D%226e2fb550-c457-11e9-bb97-0800200c9a66%22%2Cst%3Dv"
        b"%2Csu%2Ctb%3D6000%2Ccom.example-mine%3D%22a%2Cb%3D1%22&z=2"
    )
    assert read(raw(query, {})) == Cmcd(
        object_type="v",
        bitrate_kbps=3200,
        top_bitrate_kbps=6000,
        buffer_ms=21300,
        starved=True,
        deadline_ms=18500,
        duration_ms=4004,
        throughput_kbps=48100,
        wanted_kbps=12000,
        startup=True,
        rate=1.08,
        session_id="6e2fb550-c457-11e9-bb97-0800200c9a66",
        content_id="faec5fc2",
        streaming_format="h",
        stream_type="v",
        next_paths=("4.m4s",),
        next_range=(12323, 48763),
    )


def test_headers_are_one_dictionary() -> None:
    headers = {
        b"host": b"x",
        b"cmcd-object": b"br=3200,d=4004,ot=v",
        b"cmcd-request": b'bl=100,nor="..%2Fa-aac-en%2F4.m4s"',
        b"cmcd-status": b"bs",
        b"cmcd-session": b'sid="s",v=1',
    }
    told = read(raw(b"", headers))
    assert told == Cmcd(
        object_type="v", bitrate_kbps=3200, duration_ms=4004, buffer_ms=100, starved=True,
        session_id="s", next_paths=("../a-aac-en/4.m4s",),
    )  # fmt: skip
    assert read(raw(b"CMCD=br%3D1", headers)) == Cmcd(bitrate_kbps=1)  # the query comes first
    assert read(raw(b"x=1", headers)) == told
    # What is percent-encoded in a header is so by the player's wish, and stays.
    assert read(raw(b"", {b"cmcd-session": b'cid="50%25"'})) == Cmcd(content_id="50%25")


def test_version_2_gives_numbers_by_track() -> None:
    told = said(
        'br=(5000;v 128;a),bl=(9000;v 4000;a),mtp=(21000),tb=(8000;v 192;a),bs=(?0;v ?1;a),'
        'bsd=(300;v),msd=840,v=2,sta=p,ltc=1200,nor=("5.m4s" "..%2Finit.mp4";r="0-99"),ts=170'
    )  # fmt: skip
    assert told == Cmcd(
        bitrate_kbps=5000, buffer_ms=4000, throughput_kbps=21000, top_bitrate_kbps=8000,
        starved=True, starved_ms=300, startup_ms=840, version=2,
        next_paths=("5.m4s", "../init.mp4"),
    )  # fmt: skip


@pytest.mark.parametrize(
    "query",
    [b"", b"a=1", b"xCMCD=br%3D1", b"cmcd=br%3D1", b"CMCD", b"CMCD=", b"CMCD=%2C%2C", b"CMCD=foo"],
)
def test_no_cmcd(query: bytes) -> None:
    assert read(raw(query, {b"host": b"x"})) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("bs=?0,br=1", Cmcd(bitrate_kbps=1)),
        ("bs=?1", Cmcd(starved=True)),
        ("br=-5,bl=7", Cmcd(buffer_ms=7)),
        ("br=99999999999,bl=7", Cmcd(buffer_ms=7)),
        ("br=1e9,bl=7", Cmcd(buffer_ms=7)),
        ("br=12.5", Cmcd(bitrate_kbps=12)),
        ("br=\u0663,bl=7", Cmcd(buffer_ms=7)),
        ("br = 4,bl=7", Cmcd(buffer_ms=7)),
        (" br=4 , bl=7", Cmcd(bitrate_kbps=4, buffer_ms=7)),
        ("br=4;x=2,bl=7", Cmcd(bitrate_kbps=4, buffer_ms=7)),
        ("br=1,br=2", Cmcd(bitrate_kbps=2)),  # RFC 8941 3.2: the last one
        ('cid="a\\"b,c",bl=7', Cmcd(content_id='a"b,c', buffer_ms=7)),
        ('cid="open,bl=7', Cmcd(buffer_ms=7)),
        ("br=(1 2,bl=7", Cmcd(buffer_ms=7)),
        ("ot=<script>,bl=7", Cmcd(buffer_ms=7)),
        ('ot="v"', Cmcd(object_type="v")),
        ("nrr=9-1,bl=7", Cmcd(buffer_ms=7)),
        ('nrr="100-"', Cmcd(next_range=(100, None))),
        ("=,=5,,(),bl=7", Cmcd(buffer_ms=7)),
        ("bl", None),
        ("nor", None),
        ("nor=()", None),
    ],
)
def test_what_makes_no_sense_is_left_out(text: str, told: Cmcd | None) -> None:
    assert said(text) == told


def test_digits_are_those_of_ascii() -> None:
    assert read(b"br%3D%B2,mtp%3D%B9,tb%3D\xb3,bl=7") == Cmcd(buffer_ms=7)  # superscripts


def test_bounds() -> None:
    assert said("," * 63 + "br=1") == Cmcd(bitrate_kbps=1)
    assert said(",".join(["x=1"] * 63) + ",br=1") == Cmcd(bitrate_kbps=1)
    assert said(",".join(["x=1"] * 64) + ",br=1") is None
    assert said(f"x={'y' * (MAX_BYTES - 7)},br=1,bl=2") == Cmcd(bitrate_kbps=1)
    told = said(f'cid="{"c" * 500}",nor=({" ".join(["1.m4s"] * 50)})')
    assert told is not None
    assert len(told.content_id) == MAX_TEXT and len(told.next_paths) == MAX_NEXT
    assert len(raw(b"CMCD=" + b"%41" * 10_000, {})) == 3 * MAX_BYTES
    assert len(raw(b"", {b"cmcd-object": b"a" * 9_000})) == MAX_BYTES


members = st.text(string.ascii_letters + string.digits + '",()=;?%\\./- \x00\n', max_size=300)


@given(st.one_of(st.binary(max_size=3000), members.map(lambda text: quote(text).encode())))
def test_nothing_raises(argument: bytes) -> None:
    for taken in (raw(b"CMCD=" + argument, {}), raw(b"", {b"cmcd-status": argument})):
        told = read(taken)
        if told is not None:
            for path in told.next_paths:
                resolve("v-avc-720/3.m4s", path)


@pytest.mark.timeout(5)
def test_no_text_takes_long() -> None:
    for piece in ('"', '"\\', "(", '("', "a=(", 'a="', "a=1;", "a,", '(" ', ";a", 'nor=("a";'):
        read(quote((piece * MAX_BYTES)[:MAX_BYTES]).encode())
        read(quote(("br=" + piece * MAX_BYTES)[:MAX_BYTES]).encode())


@pytest.mark.parametrize(
    ("following", "path"),
    [
        ("4.m4s", "v-avc-720/4.m4s"),
        ("./4.m4s", "v-avc-720/4.m4s"),
        ("../v-avc-360/4.m4s", "v-avc-360/4.m4s"),
        ("../hls/master.m3u8", "hls/master.m3u8"),
        ("x/../4.m4s", "v-avc-720/4.m4s"),
        ("../../pkg/v-avc-720/4.m4s", None),
        ("../../../../etc/passwd", None),
        ("/etc/passwd", None),
        ("//host/4.m4s", None),
        ("http://host/4.m4s", None),
        ("..", None),
        (".", "v-avc-720"),  # no file of any package: the inventory says so
        ("", None),
        (".hidden", None),
        ("..%2f4.m4s", None),
        ("..\\4.m4s", None),
        ("4.m4s?x=1", None),
        ("4.m4s#x", None),
        ("4.m4s\n", None),
        ("4.m4s\x00", None),
        ("a/" * 120 + "b", None),
        ("a/b/c/d/e/f", None),
    ],
)
def test_what_comes_next_stays_in_the_package(following: str, path: str | None) -> None:
    assert resolve("v-avc-720/3.m4s", following) == path


@given(st.text("./ab\\%:", max_size=40), st.sampled_from(["v-avc-720/3.m4s", "inventory.json"]))
def test_no_path_leaves_the_package(following: str, path: str) -> None:
    found = resolve(path, following)
    if found is not None:
        assert not {"", ".", ".."} & set(found.split("/"))

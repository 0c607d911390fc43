"""Traces in files, ours and libCacheSim's: what is written is read; what is none is refused."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.admit import fingerprint
from lab.trace import Request, format_of, read, write

NUMBERED = st.lists(
    st.builds(
        Request,
        st.integers(0, 2**32 - 1).map(float),
        st.integers(0, 2**64 - 1).map(str),
        st.integers(0, 2**32 - 1),
    ),
    max_size=30,
)


@given(requests=NUMBERED)
@pytest.mark.parametrize("name", ["a.csv", "a.bin"])
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, name: str, requests: list[Request]
) -> None:
    path = tmp_path_factory.mktemp("trace") / name
    assert write(path, format_of(path), iter(requests)) == len(requests)
    assert list(read(path, format_of(path))) == requests


def test_keys_of_ours_are_any_text(tmp_path: Path) -> None:
    requests = [Request(0.25, 'pkg_1/v-avc-720/1.m4s, "quoted"', 7), Request(1.5, "ü", 0)]
    write(tmp_path / "a.csv", "csv", requests)
    assert list(read(tmp_path / "a.csv", "csv")) == requests
    write(tmp_path / "a.bin", "oracle", requests)
    names = [str(fingerprint(one.key)) for one in requests]
    assert [one.key for one in read(tmp_path / "a.bin", "oracle")] == names


def test_a_record_knows_who_wants_the_same_next(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write(path, "oracle", [Request(at, key, 5) for at, key in enumerate("1212341")])
    records = list(struct.iter_unpack("<IQIq", path.read_bytes()))
    assert [record[3] for record in records] == [3, 4, 7, -1, -1, -1, -1]


@pytest.mark.parametrize(
    "text",
    [
        "0,a,10\n1.5,b,20\n",
        "time_s,key,bytes\n0,a,10\n\n1.5,b,20\n",
        "# timestamp, obj_size, op, obj_id\n0,10,get,a\n1.5,20,get,b\n",
    ],
)
def test_columns_are_found_by_their_names(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    assert list(read(tmp_path / "a.csv", "csv")) == [Request(0, "a", 10), Request(1.5, "b", 20)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"0,a,10\n1,b\n", "line 2 is no request"),
        (b"0,a,-1\n", "line 1"),
        (b"nan,a,1\n", "line 1"),
        (b"0,,1\n", "line 1"),
        (b"0,a," + b"9" * 5000, "line 1 is longer"),
        (b"0,a,1\n" + b"0," + b"a" * 2000 + b",1\n", "line 2 is no"),
        (b"time,key,weight\n", "no column is called bytes"),
        (b"\xff\xfe", "decode"),
        (b'0,"a\n' + b'a",1\n' * 3, "line 3 is no"),
    ],
)
def test_what_is_no_csv_of_requests(tmp_path: Path, text: bytes, why: str) -> None:
    (tmp_path / "a.csv").write_bytes(text)
    with pytest.raises(ValueError, match=why):
        list(read(tmp_path / "a.csv", "csv"))


def test_records_that_are_cut_off_and_what_they_cannot_hold(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(25))
    with pytest.raises(ValueError, match="cut off"):
        list(read(tmp_path / "a.bin", "oracle"))
    for one in (Request(2.0**32, "1", 1), Request(0, "1", 2**32)):
        with pytest.raises(ValueError, match="request 1: its time or its bytes"):
            write(tmp_path / "a.bin", "oracle", [one])
    with pytest.raises(ValueError, match="a key has"):
        write(tmp_path / "a.csv", "csv", [Request(0, "a" * 1025, 1)])

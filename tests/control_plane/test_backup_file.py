"""The file of a backup: it is read whole or not at all, and nothing in it is trusted."""

import gzip
import io
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from control_plane.backup_file import (
    FORMAT,
    MANIFEST,
    MAX_MEMBER_BYTES,
    BackupWriter,
    Manifest,
    Member,
    Table,
    read_members,
    verified,
)
from runtime.errors import Problem

ROWS, SECRET = b'["usr_1",true]', b"\0\1\2"


def written(**change: object) -> bytes:
    """A backup of one row and one secret; `change` is what its manifest says otherwise."""
    file = io.BytesIO()
    writer = BackupWriter(file)
    writer.add("database/users.000001.jsonl", ROWS)
    writer.add("secrets/content.secret", SECRET)
    said = {
        "format": FORMAT,
        "nearcast": "1.0",
        "created_at": datetime(2026, 5, 1, tzinfo=UTC),
        "revision": "0009",
        "tables": {"users": Table(columns=("user_id", "disabled"), rows=1)},
        "members": tuple(writer.members),
    }
    writer.finish(Manifest.model_validate(said | change))
    return file.getvalue()


def code(raw: bytes) -> str:
    with pytest.raises(Problem) as caught:
        verified(io.BytesIO(raw))
    assert "\n" not in caught.value.detail
    return caught.value.code


def test_what_was_written_is_read():
    raw = written()
    manifest = verified(io.BytesIO(raw))
    assert manifest.tables["users"].rows == 1 and manifest.secrets() == ["content.secret"]
    found = {member.name: data for member, data in read_members(io.BytesIO(raw))}
    assert found["database/users.000001.jsonl"] == ROWS
    assert found["secrets/content.secret"] == SECRET
    assert list(found)[-1] == MANIFEST
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:  # and by everybody's tools
        assert tar.getnames() == list(found)


def test_one_that_was_cut_off_or_changed_is_none():
    raw = written()
    for end in range(0, len(raw) - 30, 7):  # the last bytes are padding, and gzip's own sum
        assert code(raw[:end]) == "bad_backup"
    plain = gzip.decompress(raw)
    for at in range(0, 3 * 512, 5):  # the first member, and the second one's head
        if plain[at] and not 148 <= at % 512 < 156:  # a head's own sum may be spelt otherwise
            changed = plain[:at] + bytes([plain[at] ^ 1]) + plain[at + 1 :]
            assert code(gzip.compress(changed)) == "bad_backup"


@pytest.mark.parametrize(
    "raw",
    [b"", b"not gzip", gzip.compress(b""), gzip.compress(b"x" * 5000)],
    ids=["nothing", "no gzip", "empty", "no tar"],  # gzip writes the time, and ids must not
)
def test_what_is_no_archive(raw: bytes):
    assert code(raw) == "bad_backup"


def tar_of(change: Callable[[tarfile.TarInfo], object], data: bytes = b"x") -> bytes:
    """An archive of one member, as others' tools would write it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("secrets/x")
        info.size = len(data)
        change(info)
        tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


@pytest.mark.parametrize(
    "name",
    [
        "../x", "/etc/passwd", "secrets/../../x", "secrets/.hidden", "secrets/a/b", "secrets/",
        "secrets", "database/users.jsonl", "database/../x.000001.jsonl", "other/x", "./secrets/x",
        "steering/other.json", "secrets/" + "x" * 300, "secrets/\N{SNOWMAN}", "secrets/x\ny",
    ],
)  # fmt: skip
def test_names_that_do_not_fit(name: str):
    assert code(tar_of(lambda info: setattr(info, "name", name))) == "bad_backup"


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, b"S"],
)
def test_links_and_all_that_is_no_file(kind: bytes):
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname, info.size = kind, "/etc/passwd", 0

    assert code(tar_of(change)) == "bad_backup"


@pytest.mark.parametrize("size", [MAX_MEMBER_BYTES + 1, 1 << 40, 1 << 62])
def test_sizes_are_bounded_before_anything_is_read(size: int):
    info = tarfile.TarInfo("secrets/x")
    info.size = size
    head = info.tobuf(tarfile.GNU_FORMAT)
    assert code(gzip.compress(head + bytes(10_000))) == "bad_backup"


def test_long_headers_are_not_followed():
    """One that says that a gigabyte of it follows."""
    info = tarfile.TarInfo("long")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    assert code(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(10_000))) == "bad_backup"


def test_a_manifest_that_is_not_that_of_the_file():
    members = (Member(name="secrets/content.secret", bytes=3, sha256="0" * 64),)
    assert code(written(members=())) == "bad_backup"
    assert code(written(members=members)) == "bad_backup"
    assert code(written(format=FORMAT + 1)) == "newer_backup"


def test_a_manifest_that_is_none_and_things_that_come_twice_or_late():
    for members in (
        [(MANIFEST, b"{}")],
        [(MANIFEST, b"[" * 100_000)],
        [("secrets/x", b"1"), ("secrets/x", b"1")],
    ):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w:gz", format=tarfile.USTAR_FORMAT) as tar:
            for name, data in members:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        assert code(file.getvalue()) == "bad_backup"
    plain = gzip.decompress(written()).rstrip(b"\0")
    whole = plain + bytes(-len(plain) % 512)
    late = tarfile.TarInfo("secrets/late").tobuf(tarfile.USTAR_FORMAT)
    assert code(gzip.compress(whole + late + bytes(1024))) == "bad_backup"
    twice = io.BytesIO()
    writer = BackupWriter(twice)
    for _ in range(2):
        writer.add("secrets/x", b"1")
    said = {"format": 1, "nearcast": "1", "revision": "0009", "tables": {}}
    moment = datetime(2026, 5, 1, tzinfo=UTC)
    writer.finish(Manifest(**said, created_at=moment, members=tuple(writer.members)))
    assert code(twice.getvalue()) == "bad_backup"


def test_what_could_not_be_read_back_is_not_written():
    writer = BackupWriter(io.BytesIO())
    for name, data in (("secrets/.x", b""), ("secrets/x", bytes(MAX_MEMBER_BYTES + 1))):
        with pytest.raises(Problem):
            writer.add(name, data)

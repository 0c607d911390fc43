"""The file of a backup: a .tar.gz of small plain members, the manifest last.

    database/{table}.{number}.jsonl   rows, each a JSON list, in the order of the manifest's columns
    secrets/{name}                    what only the control plane knows
    steering/notices.json             what appliances were told, where steering is on this machine
    manifest.json                     Manifest: what it is, and the SHA-256 of every member

So one can be written and read as a stream, and one that was cut off has no manifest. Whoever reads
one trusts nothing in it: the members are plain files (no links, no long headers), of names that fit
and of a size that does.
"""

import gzip
import hashlib
import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, BinaryIO

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from media.ids import Sha256
from runtime.errors import Problem

FORMAT = 1
MANIFEST = "manifest.json"
NOTICES = "steering/notices.json"
OF_STEERING = (NOTICES, "steering/pins.json")
PART_BYTES = 8 * 1024 * 1024  # of rows; the row that passes it is the part's last
MAX_MEMBER_BYTES = 4 * PART_BYTES
MAX_MEMBERS = 100_000
_BLOCK = 512
_NAME = re.compile(
    r"database/[a-z][a-z0-9_]{0,40}\.[0-9]{6}\.jsonl|secrets/[A-Za-z0-9_][A-Za-z0-9._-]{0,80}"
    rf"|{'|'.join(map(re.escape, (*OF_STEERING, MANIFEST)))}"
)

TableName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,40}$")]


class Member(BaseModel):
    """A member of the file."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    name: Annotated[str, StringConstraints(max_length=100)]
    bytes: int = Field(ge=0, le=MAX_MEMBER_BYTES)
    sha256: Sha256


class Table(BaseModel):
    """A table's columns, and how many rows there are."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    columns: tuple[TableName, ...] = Field(min_length=1, max_length=100)
    rows: int = Field(ge=0)


class Manifest(BaseModel):
    """What a backup is: by which version, of which moment, at which revision of the database."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    format: int = Field(ge=1)
    nearcast: Annotated[str, StringConstraints(max_length=64)]
    created_at: datetime
    revision: Annotated[str, StringConstraints(pattern=r"^[0-9a-z_]{1,32}$")]
    tables: dict[TableName, Table] = Field(max_length=100)
    members: tuple[Member, ...] = Field(max_length=MAX_MEMBERS)

    def secrets(self) -> list[str]:
        """The names of the secrets in it."""
        names = (member.name.partition("/") for member in self.members)
        return [name for folder, _, name in names if folder == "secrets"]


class BackupWriter:
    """Writes a backup to an open file, member after member."""

    def __init__(self, file: BinaryIO) -> None:
        self._tar = tarfile.open(  # noqa: SIM115 (`finish` closes it)
            fileobj=file, mode="w:gz", format=tarfile.USTAR_FORMAT
        )
        self.members: list[Member] = []

    def add(self, name: str, data: bytes) -> None:
        """The member is in it. Raises Problem `bad_backup` for one that could not be read back."""
        if not _NAME.fullmatch(name) or len(data) > MAX_MEMBER_BYTES:
            raise Problem("bad_backup", f"{name} does not fit into a backup.")
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), 0o600
        self._tar.addfile(info, io.BytesIO(data))
        sha256 = hashlib.sha256(data).hexdigest()
        self.members.append(Member(name=name, bytes=len(data), sha256=sha256))

    def finish(self, manifest: Manifest) -> None:
        """The manifest is in it, too, and it is whole."""
        self.add(MANIFEST, manifest.model_dump_json(indent=1).encode())
        self._tar.close()


def read_members(file: BinaryIO) -> Iterator[tuple[Member, bytes]]:
    """What is in the file, one member after the other, as the file says; each is in memory while it
    is looked at. Raises Problem `bad_backup`."""
    try:
        with gzip.GzipFile(fileobj=file) as plain:
            for _ in range(MAX_MEMBERS):
                head = _exactly(plain, _BLOCK)
                if not any(head):
                    return
                # By hand: tarfile would follow headers of any length and kind.
                info = tarfile.TarInfo.frombuf(head, "ascii", "strict")
                plain_file = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
                if not plain_file or not _NAME.fullmatch(info.name):
                    raise ValueError(f"{info.name[:100]!r} is not one of its files")
                if not 0 <= info.size <= MAX_MEMBER_BYTES:
                    raise ValueError(f"{info.name} is too large")
                data = _exactly(plain, info.size)
                _exactly(plain, -info.size % _BLOCK)
                sha256 = hashlib.sha256(data).hexdigest()
                yield Member(name=info.name, bytes=info.size, sha256=sha256), data
            raise ValueError("it has too many files")
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError) as error:
        why = re.sub(r"\s+", " ", str(error))[:200].rstrip(".")
        raise Problem("bad_backup", f"The backup cannot be read: {why}.") from None


def verified(file: BinaryIO) -> Manifest:
    """The manifest of a file whose every member is the one that it names. Raises Problem
    `bad_backup`, and `newer_backup` for a file of another format."""
    found: list[Member] = []
    manifest: Manifest | None = None
    for member, data in read_members(file):
        if manifest is not None:
            raise Problem("bad_backup", "The backup goes on after its manifest.")
        if member.name == MANIFEST:
            manifest = _manifest(data)
        else:
            found.append(member)
    if manifest is None:
        raise Problem("bad_backup", "The backup has no manifest: it was cut off.")
    if manifest.format > FORMAT:
        raise Problem("newer_backup")
    if list(manifest.members) != found or len({one.name for one in found}) != len(found):
        raise Problem("bad_backup", "The backup is not what its manifest says.")
    return manifest


def _manifest(data: bytes) -> Manifest:
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Problem(
            "bad_backup", f"The manifest is not valid: {where}: {first['msg']}."
        ) from None


def _exactly(plain: gzip.GzipFile, size: int) -> bytes:
    data = plain.read(size)
    if len(data) < size:
        raise EOFError("it was cut off")
    return data

"""What the control plane knows goes into a file, and comes back: on either database."""

import asyncio
import io
import json
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

import control_plane.backup
from control_plane.backup import Made, make_backup
from control_plane.backup_file import BackupWriter, Manifest, Member, read_members
from control_plane.clock import utc_now
from control_plane.database import Database, revisions, upgrade
from control_plane.restore import Restored, decide_files, renewed, restore_backup
from control_plane.search import matching
from control_plane.settings import ControlPlaneSettings
from control_plane.tables import RestoreRow, TitleRow, UserRow
from media.api import Session, Title
from runtime.client import Client
from runtime.errors import Problem
from tests.console import run_nearcast
from tests.control_plane.conftest import fresh_database
from tests.control_plane.house import PASSWORD, House, open_house, send
from tests.control_plane.test_database import ROWS, user

BOTH_WAYS = pytest.mark.parametrize(
    ("house", "onto"),
    [("embedded", "sqlite"), ("embedded", "postgresql"),
     ("servers", "postgresql"), ("servers", "sqlite")],
    indirect=["house"],
)  # fmt: skip


def settings_of(house: House) -> ControlPlaneSettings:
    url = house.control.removal._database.engine.url
    return ControlPlaneSettings(database=url.render_as_string(hide_password=False))


async def backed_up(house: House, path: Path) -> Made:
    return await make_backup(path, settings_of(house), house.data, utc_now())


async def place(request: pytest.FixtureRequest, kind: str) -> dict[str, Any]:
    """The settings of an empty database."""
    if kind == "sqlite":
        return {}
    return {"database": await fresh_database(request.getfixturevalue("postgres_url"), "template0")}


async def restore(path: Path, data: Path, replace: bool = False, **settings: Any) -> Restored:
    chosen = ControlPlaneSettings.model_validate(settings)
    return await restore_backup(path, chosen, data, utc_now(), replace=replace)


def rows(path: Path) -> dict[str, list[str]]:
    """The rows of a backup, by table."""
    found: dict[str, list[str]] = {}
    with path.open("rb") as file:
        for member, data in read_members(file):
            if member.name.startswith("database/"):
                lines = found.setdefault(member.name.split("/")[1].split(".")[0], [])
                lines += data.decode().split("\n")
    return {table: sorted(lines) for table, lines in found.items()}


def tree(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(p.relative_to(folder)): p.read_bytes() for p in found if p.name != "lock"}


@BOTH_WAYS
async def test_everything_comes_back(
    house: House, onto: str, request: pytest.FixtureRequest, tmp_path: Path
):
    title = await house.published("Großer Ärger", encryption="cbcs")
    await house.describe(title, people=[{"name": "Ida Lupino", "role": "director"}], maturity=12)
    await house.put_on_plan("viewer", "basic", max_height=720, streams=2)
    login = {"name": "viewer", "password": PASSWORD}
    signed_in = await send(house.anonymous(), "POST", "/v1/auth/login", **login)
    session = await house.play(title)
    viewer = await house.account("viewer")
    await send(viewer, "POST", f"/v1/sessions/{session.session_id}/heartbeat", position_s=11.0)
    key = await send(await house.account("admin"), "POST", "/v1/api-keys", name="k", role="admin")
    pins = house.data / "steering" / "pins.json"
    pins.parent.mkdir(exist_ok=True)
    pins.write_bytes(b'{"pins":{}}')
    made = await backed_up(house, tmp_path / "b.tar.gz")
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert made.manifest.tables["watched"].rows == 1
    assert {"content.secret", "sessions.secret", "access-keys.json"} <= {*made.manifest.secrets()}

    settings = await place(request, onto)
    restored = await restore(made.path, tmp_path / "again", **settings)
    assert restored.replaced == () == restored.kept
    private = tmp_path / "again" / "secrets"
    assert tree(private) == tree(house.data / "secrets")
    assert (tmp_path / "again" / "steering" / "pins.json").read_bytes() == pins.read_bytes()
    assert {stat.S_IMODE(path.stat().st_mode) for path in private.iterdir()} == {0o600}
    settings["store"] = (house.data / "store").as_uri()
    async with open_house(tmp_path / "again", **settings) as other:
        again = await backed_up(other, tmp_path / "again.tar.gz")
        before, after = rows(made.path), rows(again.path)
        assert len(after.pop("restores")) == 1
        assert after == before
        tokens = await send(other.anonymous(), "POST", "/v1/auth/login", **login)
        assert tokens["access_token"]
        known = {"refresh_token": signed_in["refresh_token"]}
        refreshed = await send(other.anonymous(), "POST", "/v1/auth/refresh", **known)
        async with Client(other.url, authorize=lambda: refreshed["access_token"]) as api:
            path = f"/v1/sessions/{session.session_id}"
            seen = await api.call("GET", path, Session)
            assert seen.resume_s == 11.0
            assert seen.hls_url.split("/v1/")[1] == session.hls_url.split("/v1/")[1]
        async with Client(other.url, authorize=lambda: str(key["secret"])) as api:
            for asked_for in ("arg", "lupino"):
                found = await api.call_raw("GET", "/v1/titles", query={"q": asked_for})
                assert [one["title_id"] for one in json.loads(found)["titles"]] == [title.title_id]
        assert (await other.play(title)).resume_s == 11.0


async def test_a_service_that_runs_is_no_problem(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The backup is of one moment, and no writer waits for it."""
    monkeypatch.setattr(control_plane.backup, "ROWS_AT_ONCE", 1)
    monkeypatch.setattr(control_plane.backup, "PART_BYTES", 300)
    api = await house.account("operator")
    for number in range(20):
        await send(api, "POST", "/v1/titles", name=f"Film {number}")
    going, written = True, 0

    async def write() -> None:
        nonlocal written
        while going:
            await house.upload(f"More {written}")  # a title, an upload, a job: each needs the other
            written += 1

    writing = asyncio.create_task(write(), name="write")
    made = [await backed_up(house, tmp_path / f"{number}.tar.gz") for number in range(3)]
    going = False
    await writing
    assert written > 0
    for number, one in enumerate(made):
        await restore(one.path, tmp_path / str(number))
        assert one.manifest.tables["titles"].rows >= 20
        assert len([m for m in one.manifest.members if "/titles." in m.name]) > 1


async def test_by_command_while_the_service_runs_and_after(house: House, tmp_path: Path):
    title = await house.published("Film")
    where = ("--data", str(house.data))
    path = str(tmp_path / "backup.tar.gz")

    async def nearcast(*argv: str) -> tuple[int, dict[str, Any]]:
        done = await asyncio.to_thread(run_nearcast, [*argv, "--json"])
        assert done.stderr == ""
        return done.returncode, dict(json.loads(done.stdout))

    code, made = await nearcast("backup", path, *where)
    assert code == 0 and made["tables"]["titles"] == 1 and "content.secret" in made["secrets"]
    config = tmp_path / "nearcast.toml"
    config.write_text('[control_plane]\ndatabase = "postgresql+asyncpg://me:word@127.0.0.1:1/x"\n')
    away = ("backup", f"{path}.2", "--config", str(config), "--json", *where)
    done = await asyncio.to_thread(run_nearcast, away)
    assert json.loads(done.stdout)["code"] == "unavailable" and "word" not in done.stderr
    code, refused = await nearcast("restore", path, "--force", *where)
    assert (code, refused["code"]) == (1, "data_in_use")
    data = tmp_path / "again"
    code, restored = await nearcast("restore", path, "--data", str(data))
    assert code == 0 and restored["tables"] == made["tables"] and restored["replaced"] == []
    code, restored = await nearcast("restore", path, "--data", str(data), "--force")
    assert code == 0 and restored["replaced"] == [str(data / "control.db")]
    said = await asyncio.to_thread(run_nearcast, ["restore", path, "--data", str(data)])
    assert said.returncode == 1 and "Traceback" not in said.stderr
    assert "control.db" in said.stderr and "--force" in said.stderr
    async with open_house(data) as other:
        api = await other.account("admin")
        assert (await api.call("GET", f"/v1/titles/{title.title_id}", Title)).name == "Film"


@pytest.fixture
async def small(tmp_path: Path) -> Path:
    """A backup of a database with one account."""
    return await of_revision(tmp_path / "small", "head")


async def of_revision(data: Path, revision: str, *more: str) -> Path:
    """A backup of a database at this revision."""
    database = Database(f"sqlite+aiosqlite:///{data / 'control.db'}")
    (data / "secrets").mkdir(parents=True)
    (data / "secrets" / "content.secret").write_bytes(b"s" * 32)
    async with database.altering() as connection:
        await connection.run_sync(upgrade, "0001")
        for row in more:
            await connection.exec_driver_sql(row.format(true="1"))
        await connection.run_sync(upgrade, revision)
    if revision == "head":
        async with database.writing() as session:
            session.add(user("anna"))
    await database.close()
    path = data.with_suffix(".tar.gz")
    await make_backup(path, ControlPlaneSettings(), data, utc_now())
    return path


def forged(path: Path, change: Callable[[dict[str, bytes], dict[str, Any]], object]) -> Path:
    """The backup with other members, or another manifest, and digests that are right."""
    with path.open("rb") as file:
        members = {member.name: data for member, data in read_members(file)}
    manifest = json.loads(members.pop("manifest.json"))
    change(members, manifest)
    file_ = io.BytesIO()
    writer = BackupWriter(file_)
    for name, data in members.items():
        writer.add(name, data)
    told = [member.model_dump() for member in writer.members]
    writer.finish(Manifest.model_validate(manifest | {"members": told}))
    path.with_name("forged.tar.gz").write_bytes(file_.getvalue())
    return path.with_name("forged.tar.gz")


def with_row(table: str, *values: Any) -> Callable[[dict[str, bytes], dict[str, Any]], None]:
    """One row more, or in place of those that were there."""

    def change(members: dict[str, bytes], manifest: dict[str, Any]) -> None:
        raw = values[0] if isinstance(values[0], bytes) else json.dumps(values).encode()
        members[f"database/{table}.000001.jsonl"] = raw
        manifest["tables"][table]["rows"] = 1

    return change


def anna(**change: Any) -> Callable[[dict[str, bytes], dict[str, Any]], None]:
    def changed(members: dict[str, bytes], manifest: dict[str, Any]) -> None:
        name = "database/users.000001.jsonl"
        columns = manifest["tables"]["users"]["columns"]
        row = dict(zip(columns, json.loads(members[name]), strict=True)) | change
        members[name] = json.dumps(list(row.values())).encode()

    return changed


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("revision", ["0001", "0006", "0008"])
async def test_one_of_an_older_version_is_brought_up_to_date(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, revision: str
):
    path = await of_revision(tmp_path / "old", revision, *ROWS)
    settings = await place(request, kind)
    restored = await restore(path, tmp_path / "new", **settings)
    assert restored.manifest.revision == revision
    database = Database(ControlPlaneSettings(**settings).database_url(tmp_path / "new"))
    async with database.reading() as session:
        assert (await session.scalars(select(UserRow.name))).all() == ["anna"]
        found = select(TitleRow.name).where(matching(database.dialect, "fil"))
        assert (await session.scalars(found)).all() == ["Big Film"]
        assert (
            await session.scalar(text("SELECT version_num FROM alembic_version"))
            == (revisions()[-1])
        )
        gap = await session.scalar(select(RestoreRow))
        assert gap is not None and gap.backup_at < gap.restored_at
    await database.close()


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (lambda _, m: m.update(revision="9999"), "newer_backup", "revision 9999"),
        (lambda _, m: m.update(format=2), "newer_backup", "later version"),
        (lambda _, m: m["tables"].pop("users"), "bad_backup", "tables"),
        (lambda _, m: m["tables"]["users"]["columns"].reverse(), "bad_backup", "none"),
        (lambda _, m: m["tables"]["users"].update(rows=2), "bad_backup", "rows"),
        (lambda b, _: b.update({"database/odd.000001.jsonl": b"[]"}), "bad_backup", "odd"),
        (lambda b, _: b.update({"steering/notices.json": b"[]"}), "bad_backup", "notices"),
        (with_row("users", b"{}"), "bad_backup", "row"),
        (with_row("users", b"[" * 200_000), "bad_backup", "row"),
        (with_row("users", "usr_1"), "bad_backup", "row"),
        (anna(name=None), "bad_backup", "name"),
        (anna(name=7), "bad_backup", "name"),
        (anna(name="x" * 65), "bad_backup", "name"),
        (anna(name="a\0b"), "bad_backup", "name"),
        (anna(name="\ud800"), "bad_backup", "name"),
        (anna(disabled=1), "bad_backup", "disabled"),
        (anna(created_at=1 << 63), "bad_backup", "created_at"),
        (anna(created_at=1.5), "bad_backup", "created_at"),
        (anna(created_at={"a": 1}), "bad_backup", "created_at"),
        (anna(plan="none such"), "bad_backup", "fit together"),
    ],
)
async def test_one_that_cannot_be_restored_changes_nothing(
    small: Path,
    tmp_path: Path,
    change: Callable[[dict[str, bytes], dict[str, Any]], object],
    code: str,
    says: str,
):
    await refused(small, tmp_path / "there", forged(small, change), code, says)


@pytest.mark.parametrize(("change", "says"), [
    (anna(plan="none such"), "fit together"),
    (lambda b, _: b.update({"steering/notices.json": b"[]"}), "notices"),  # after the rows
])  # fmt: skip
async def test_nor_does_it_on_postgresql(
    request: pytest.FixtureRequest,
    small: Path,
    tmp_path: Path,
    change: Callable[[dict[str, bytes], dict[str, Any]], object],
    says: str,
):
    settings = await place(request, "postgresql")
    await refused(small, tmp_path / "there", forged(small, change), "bad_backup", says, **settings)


async def refused(
    small: Path, data: Path, path: Path, code: str, says: str, **settings: Any
) -> None:
    """The backup at `path` is, and what was restored from `small` is as it was."""
    await restore(small, data, **settings)
    (data / "secrets" / "content.secret").write_bytes(b"another one")
    before, users = tree(data), await names(data, settings)
    with pytest.raises(Problem) as caught:
        await restore(path, data, replace=True, **settings)
    assert caught.value.code == code and says in caught.value.detail
    assert tree(data) == before and await names(data, settings) == users == ["anna"]


async def names(data: Path, settings: dict[str, Any]) -> list[str]:
    database = Database(ControlPlaneSettings(**settings).database_url(data))
    async with database.reading() as session:
        found = list(await session.scalars(select(UserRow.name)))
    await database.close()
    return found


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_what_is_there_is_replaced_when_asked_for(
    request: pytest.FixtureRequest, small: Path, tmp_path: Path, kind: str
):
    settings = await place(request, kind)
    data = tmp_path / "there"
    await restore(small, data, **settings)
    database = Database(ControlPlaneSettings(**settings).database_url(data))
    async with database.writing() as session:
        session.add(user("berta"))
    await database.close()
    (data / "secrets" / "content.secret").write_bytes(b"another one")
    with pytest.raises(Problem) as caught:
        await restore(small, data, **settings)
    assert caught.value.code == "not_empty" and "secrets/content.secret" in caught.value.detail
    restored = await restore(small, data, replace=True, **settings)
    assert "secrets/content.secret" in restored.replaced and len(restored.replaced) == 2
    assert await names(data, settings) == ["anna"]
    assert (data / "secrets" / "content.secret").read_bytes() == b"s" * 32
    assert not list(data.rglob(".*"))


async def test_not_while_others_use_the_database(
    request: pytest.FixtureRequest, small: Path, tmp_path: Path
):
    settings = await place(request, "postgresql")
    other = Database(settings["database"])
    async with other.reading() as session:
        await session.execute(text("SELECT 1"))
        with pytest.raises(Problem) as caught:
            await restore(small, tmp_path / "there", replace=True, **settings)
    await other.close()
    assert caught.value.code == "data_in_use" and not tree(tmp_path / "there")


async def test_a_file_is_not_replaced_unasked(small: Path, tmp_path: Path):
    before = small.read_bytes()
    ask = (small, ControlPlaneSettings(), tmp_path / "small", utc_now())
    with pytest.raises(Problem) as caught:
        await make_backup(*ask)
    assert caught.value.code == "not_empty" and small.read_bytes() == before
    await make_backup(*ask, replace=True)
    assert small.read_bytes() != before  # of another moment


async def test_of_no_control_plane_there_is_no_backup(tmp_path: Path):
    """And asking for one makes nothing."""
    path = tmp_path / "b.tar.gz"
    (tmp_path / "data" / "secrets").mkdir(parents=True)
    for _ in range(2):
        with pytest.raises(Problem) as caught:
            await make_backup(path, ControlPlaneSettings(), tmp_path / "data", utc_now())
        assert caught.value.code == "bad_settings"
        (tmp_path / "data" / "secrets" / "content.secret").write_bytes(b"s" * 32)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["content.secret"]
    with pytest.raises(Problem):
        await restore(tmp_path / "none.tar.gz", tmp_path / "data")


def test_keys_of_machines_that_are_there_stay():
    """The fleet knows them; all else is as it was."""
    members = tuple(
        Member(name=name, bytes=1, sha256="1" * 64)
        for name in ("secrets/control.key", "secrets/trust.json", "secrets/content.secret",
                     "secrets/encoder.key", "steering/notices.json", "secrets/same.secret")
    )  # fmt: skip
    manifest = Manifest(
        format=1, nearcast="1", created_at=utc_now(), revision="1", tables={}, members=members
    )
    there = dict.fromkeys((one.name for one in members), "2" * 64)
    there |= {"secrets/same.secret": "1" * 64}
    del there["secrets/encoder.key"]
    files = decide_files(manifest, there.get)
    assert files.kept == ("secrets/control.key", "secrets/trust.json")
    assert files.replaced == ("secrets/content.secret", "steering/notices.json")
    assert files.put == {"secrets/encoder.key", *files.replaced}


def test_notices_are_newer_than_all_that_appliances_have_seen():
    now = datetime(2026, 5, 1, tzinfo=UTC)
    board = json.loads(renewed(b'{"version": 5, "draining": ["oslo-1"]}', now))
    assert board == {"version": int(now.timestamp() * 1000), "draining": ["oslo-1"]}
    later = int((now + timedelta(days=1)).timestamp() * 1000)
    assert json.loads(renewed(json.dumps({"version": later}).encode(), now))["version"] == later

"""Encrypted packages: whole with their keys, nothing without."""

import json
import re
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from encoder.conformance import Conformance, check_package
from encoder.package import Encoded
from encoder.pipeline import encode
from encoder.settings import EncoderSettings
from media.ids import new_id
from media.ladder import STEREO, Ladder, Rung
from media.mp4 import read_track
from media.protection import Protection, Scheme, derived, licence, read_licence
from runtime.errors import Problem
from tests.encoder_films import make_film

LADDER = Ladder(
    rungs=(Rung(height=120, max_bps=200_000), Rung(height=240, max_bps=600_000)),
    audio=(STEREO,),
    gop_s=0.5,
    segment_gops=2,
)
FAST = EncoderSettings(preset="ultrafast", quality="off")
KEYS = derived("cbcs", "pkg", b"secret")


async def made(folder: Path, protection: Protection) -> Encoded:
    film = make_film(folder / "film.mkv", seconds=3, size="320x240")
    ids = new_id("ttl"), new_id("pkg")
    return await encode(film, folder / "out", *ids, FAST, ladder=LADDER, protection=protection)


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import asyncio

    return asyncio.run(made(tmp_path_factory.mktemp("locked"), KEYS)).folder


def of(found: Conformance, rule_id: str) -> bool | None:
    return next(rule.ok for rule in found.rules if rule.id == rule_id)


@pytest.mark.parametrize("scheme", ["cbcs", "cenc"])
async def test_with_its_keys_a_package_decodes_frame_by_frame(
    tmp_path: Path, scheme: Scheme
) -> None:
    protection = derived(scheme, "pkg", secrets.token_bytes(32))
    out = await made(tmp_path, protection)
    found = await check_package(out.folder, keys=protection.keys)
    assert not found.failed, found.failed
    assert of(found, "decodes") and of(found, "named-keys") and of(found, "cbcs-pattern")
    told = {r.rendition_id: r.locked for r in out.inventory.renditions}
    assert told["v-avc-240"] and told["v-avc-240"].key_id == protection.video.key_id
    assert told["a-aac-und"] and told["a-aac-und"].key_id == protection.audio.key_id
    assert {one.scheme for one in told.values() if one} == {scheme}
    assert read_track((out.folder / "v-avc-240/init.mp4").read_bytes()).codecs.startswith("avc1.")
    whole = b"".join(path.read_bytes() for path in out.folder.rglob("*") if path.is_file())
    for key in protection.keys:
        assert bytes.fromhex(key.key) not in whole and key.key.encode() not in whole


async def test_without_its_keys_it_does_not(locked: Path) -> None:
    assert of(await check_package(locked), "decodes") is None
    other = KEYS.model_copy(update={"video": KEYS.video.model_copy(update={"key": "0" * 32})})
    assert of(await check_package(locked, keys=other.keys), "decodes") is False


def other_key(folder: Path) -> None:
    path = folder / "hls/v-avc-240.m3u8"
    path.write_text(re.sub("KEYID=0x[0-9A-F]{4}", "KEYID=0x0000", path.read_text()))


def no_key(folder: Path) -> None:
    path = folder / "dash/manifest.mpd"
    path.write_text(re.sub(r"<ContentProtection[^>]*default_KID[^>]*>", "", path.read_text()))


def another_pattern(folder: Path) -> None:
    path = folder / "v-avc-240/init.mp4"
    data = bytearray(path.read_bytes())
    at = data.index(b"tenc") + 9
    assert data[at] == 0x19
    data[at] = 0x55
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("break_it", "rule_id"),
    [(other_key, "named-keys"), (no_key, "named-keys"), (another_pattern, "cbcs-pattern")],
)
async def test_a_package_that_says_otherwise_is_caught(
    locked: Path, tmp_path: Path, break_it: object, rule_id: str
) -> None:
    folder = Path(shutil.copytree(locked, tmp_path / "package"))
    break_it(folder)  # type: ignore[operator]
    found = await check_package(folder, decode=False)
    assert {rule.id for rule in found.failed} - {"inventory-files"} == {rule_id}


async def test_keys_are_not_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A packager that fails is logged with its command, of which they are a part."""
    broken = tmp_path / "packager"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr("encoder.pipeline.programs.packager", lambda: str(broken))
    with capture_logs() as logs, pytest.raises(Problem):
        await made(tmp_path, KEYS)
    (line,) = [line for line in logs if line["event"] == "packager_failed"]
    assert "key_id=" in line["command"]
    assert not any(key.key in json.dumps(logs) for key in KEYS.keys)


def test_licences_are_read_as_they_are_written() -> None:
    raw = json.dumps(licence(KEYS.keys)).encode()
    assert read_licence(raw) == KEYS.keys
    assert licence(KEYS.keys, [])["keys"] == []
    for junk in (b"", b"{}", b'{"keys": [{"kid": 1}]}', b'{"keys": [{"kid": "AA", "k": "AA"}]}'):
        with pytest.raises(ValueError):
            read_licence(junk)


def test_the_command_line_keeps_the_keys_and_takes_them_back(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", seconds=1, size="160x120")
    config = tmp_path / "nearcast.toml"
    config.write_text('[encoder]\npreset = "ultrafast"\nladder = "apple"\nquality = "off"\n')
    keys = tmp_path / "out.keys.json"

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "nearcast", *map(str, arguments), "--json"]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    def encode_to(name: str, *more: object) -> int:
        common = ("--config", config, "--encrypt", "cbcs", *more)
        return run("encode", film, "--out", tmp_path / name, *common).returncode

    assert encode_to("out") == 0
    assert keys.stat().st_mode & 0o777 == 0o600
    assert encode_to("again", "--keys", keys) == 0
    for name in ("out", "again"):
        checked = json.loads(run("check", tmp_path / name, "--keys", keys).stdout)
        assert checked["ok"] and next(r for r in checked["rules"] if r["id"] == "decodes")["ok"]
    keys.write_text("{}")
    assert encode_to("x", "--keys", keys) != 0 and not (tmp_path / "x").exists()

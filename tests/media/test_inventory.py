"""Inventories: what they refuse, and what a package answers about paths."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from media.inventory import FileEntry, Inventory, Package, content_type, rendition_of, to_bytes
from tests.packages import make_package


@pytest.mark.parametrize(
    "path", ["", "/x", "../x", "a/../b", "a//b", "a/", ".x", "a/.x", "a b", "a\\b", "a/b/c/d/e/f"]
)
def test_paths_that_no_inventory_holds(path: str) -> None:
    with pytest.raises(ValidationError):
        FileEntry(path=path, bytes=1, sha256="0" * 64)


def test_two_levels(tmp_path: Path) -> None:
    made = make_package(tmp_path)
    package = Package.parse(made.files["inventory.json"], made.inventory_sha256)
    assert package.lookup("inventory.json") is not None
    assert package.lookup("v-avc-720/1.m4s") is None
    missing = package.missing_list("v-avc-720/1.m4s")
    assert missing is not None and missing.path == "v-avc-720/files.json"
    with pytest.raises(ValueError, match="does not match"):
        package.add_file_list("v-avc-720", b"{}")
    package.add_file_list("v-avc-720", made.files["v-avc-720/files.json"])
    entry = package.lookup("v-avc-720/1.m4s")
    assert entry is not None and entry.bytes == len(made.files["v-avc-720/1.m4s"])
    assert package.missing_list("v-avc-720/99.m4s") is None
    assert {e.path for e in package.entries()} == set(made.files)
    stored = sum(len(data) for path, data in made.files.items() if path != "inventory.json")
    assert package.inventory.total_bytes == stored


def test_a_package_has_one_digest(tmp_path: Path) -> None:
    made = make_package(tmp_path)
    with pytest.raises(ValueError, match="digest"):
        Package.parse(made.files["inventory.json"] + b"\n", made.inventory_sha256)
    inventory = Inventory.model_validate_json(made.files["inventory.json"])
    assert to_bytes(inventory) == made.files["inventory.json"]


def test_inventories_that_contradict_themselves(tmp_path: Path) -> None:
    made = make_package(tmp_path)
    good = Inventory.model_validate_json(made.files["inventory.json"]).model_dump()
    rendition, entry = good["renditions"][0], good["files"][0]
    for change in (
        {"renditions": [rendition, rendition]},
        {"renditions": [rendition | {"rendition_id": "v-avc-360"}]},
        {"files": [entry, entry]},
        {"files": [entry | {"path": "v-avc-720/stray.m4s"}]},
        {"files": [entry | {"path": "inventory.json"}]},
        {"version": 2},
    ):
        with pytest.raises(ValidationError):
            Inventory.model_validate(good | change)


@pytest.mark.parametrize(
    ("path", "rendition", "kind"),
    [
        ("v-avc-720/1.m4s", "v-avc-720", "video/iso.segment"),
        ("a-aac-en/init.mp4", "a-aac-en", "audio/mp4"),
        ("hls/master.m3u8", None, "application/vnd.apple.mpegurl"),
        ("dash/manifest.mpd", None, "application/dash+xml"),
        ("inventory.json", None, "application/json"),
        ("thumbs/1.xyz", None, "application/octet-stream"),
    ],
)
def test_what_a_path_is(path: str, rendition: str | None, kind: str) -> None:
    assert (rendition_of(path), content_type(path)) == (rendition, kind)

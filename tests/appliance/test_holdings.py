"""What steering is told of the files held."""

from pathlib import Path

from appliance.holdings import Ledger
from media.inventory import Inventory
from tests.packages import make_package


def test_snapshot_deltas_and_gaps(tmp_path: Path) -> None:
    package = make_package(tmp_path, renditions=("v-avc-720", "a-aac-en"))
    ledger = Ledger("boot")
    ledger.know(Inventory.model_validate_json(package.files["inventory.json"]))
    video = [p for p in package.files if p.startswith("v-avc-720/")]
    for path in video[:2]:
        ledger.change(f"{package.package_id}/{path}", True)
    first = ledger.due()
    assert first is not None and first.snapshot and first.sequence == 0
    assert [(h.rendition_id, h.fraction) for h in first.held] == [("v-avc-720", 2 / 5)]
    for path in video[2:]:
        ledger.change(f"{package.package_id}/{path}", True)
    ledger.sent(first)  # what changed meanwhile is still due
    second = ledger.due()
    assert second is not None and not second.snapshot and second.sequence == 1
    assert [h.fraction for h in second.held] == [1.0]
    ledger.sent(second)
    assert ledger.due() is None
    assert ledger.complete_packages() == ()
    for path in package.files.keys() - set(video):
        ledger.change(f"{package.package_id}/{path}", True)
    assert ledger.complete_packages() == (package.package_id,)
    ledger.change(f"{package.package_id}/{video[0]}", False)
    assert ledger.complete_packages() == ()
    ledger.heard(1)
    last = ledger.due()
    assert last is not None and not last.snapshot
    ledger.heard(None)  # steering has started anew
    again = ledger.due()
    assert again is not None and again.snapshot and len(again.held) == 2


def test_files_of_an_unknown_package_are_not_told(tmp_path: Path) -> None:
    """Without its inventory a rendition cannot be counted: no message, until it comes."""
    package = make_package(tmp_path)
    ledger = Ledger("boot")
    first = ledger.due()
    assert first is not None and first.snapshot
    ledger.sent(first)
    ledger.change(f"{package.package_id}/v-avc-720/1.m4s", True)
    assert ledger.due() is None
    ledger.know(Inventory.model_validate_json(package.files["inventory.json"]))
    second = ledger.due()
    assert second is not None and [h.fraction for h in second.held] == [1 / 5]

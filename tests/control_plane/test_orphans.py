"""What in the store nobody needs: the decisions."""

from datetime import UTC, datetime, timedelta

import pytest

from control_plane.orphans import (
    MARGIN,
    Fate,
    Gap,
    Known,
    id_in,
    old,
    package_fate,
    title_fate,
    work_fate,
)
from media.ids import id_from, new_id
from media.objects import ObjectInfo

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
GAP = Gap(NOW - timedelta(days=3), NOW - timedelta(days=1))


def made(prefix: str, days_ago: float) -> str:
    moment = NOW - timedelta(days=days_ago)
    return id_from(prefix, int(moment.timestamp() * 1000), 7)


@pytest.mark.parametrize(
    ("known", "package", "work"),
    [
        (Known(), Fate.clear, Fate.clear),
        (Known("queued"), Fate.keep, Fate.keep),
        (Known("running"), Fate.keep, Fate.keep),
        (Known("queued", cleared=True), Fate.keep, Fate.keep),  # it was retried
        (Known("failed"), Fate.keep, Fate.keep),
        (Known("cancelled"), Fate.keep, Fate.keep),
        (Known("failed", cleared=True), Fate.clear_job, Fate.clear_job),
        (Known("cancelled", cleared=True), Fate.clear_job, Fate.clear_job),
        (Known("done", stands=True), Fate.read, Fate.clear),
        (Known("done"), Fate.clear, Fate.clear),  # it was superseded, and is gone
        (Known(stands=True), Fate.read, Fate.keep),
    ],
)
def test_a_package_is_its_jobs_until_it_stands(known: Known, package: Fate, work: Fate):
    assert package_fate(made("pkg", 9), known, ()) is package
    assert work_fate(made("pkg", 9), known, ()) is work


def test_masters_are_their_titles():
    assert title_fate(made("ttl", 9), True, ()) is Fate.keep
    assert title_fate(made("ttl", 9), False, ()) is Fate.clear


@pytest.mark.parametrize(("days_ago", "fate"), [(4, "clear"), (2, "keep"), (0.5, "clear")])
def test_what_a_restored_backup_cannot_know_stays(days_ago: float, fate: str):
    """It was made after the backup, and before the restore."""
    assert title_fate(made("ttl", days_ago), False, [GAP]) is Fate[fate]
    assert package_fate(made("pkg", days_ago), Known(), [GAP]) is Fate[fate]
    assert work_fate(made("pkg", days_ago), Known(), [GAP]) is Fate[fate]


def test_only_what_is_old_goes():
    edge_s = (NOW - MARGIN).timestamp()
    young, aged = ObjectInfo("young", 1, edge_s), ObjectInfo("aged", 1, edge_s - 1)
    assert old([young, aged], NOW) == [aged]


def test_folders_that_are_not_ours_have_no_id():
    title_id = new_id("ttl")
    assert id_in(f"masters/{title_id}/", "ttl") == title_id
    for folder in (f"masters/{title_id}x/", f"titles/{title_id}/", "titles/films/", "masters//"):
        assert id_in(folder, "pkg") is None

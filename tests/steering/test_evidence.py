"""What viewers took: it fades, and outlives a restart."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from media.fleet import PackageRef, RenditionRef
from steering.evidence import EvidenceBook
from steering.popularity import HALF_LIFE_DAYS
from tests.steering_fleet import NOW_S, package_id

DAY_S = 86_400.0
REGIONS = ("north", "south")
LOW, HIGH = "v-avc-360", "v-avc-720"


def package(number: int, *sizes: tuple[str, int], days_ago: float = 100) -> PackageRef:
    return PackageRef(
        title_id="ttl_" + package_id(number)[4:],
        package_id=package_id(number),
        inventory_sha256="0" * 64,
        total_bytes=sum(size for _, size in sizes) or 500,
        published_at=datetime.fromtimestamp(NOW_S - days_ago * DAY_S, UTC),
        renditions=tuple(RenditionRef(rendition_id=name, bytes=size) for name, size in sizes),
    )


BOTH = package(1, (LOW, 100), (HIGH, 300))
OLD = package(2)  # its renditions are not known


def test_what_was_taken_fades_by_half(tmp_path: Path) -> None:
    book = EvidenceBook(tmp_path / "e.json", NOW_S - 10 * DAY_S)
    book.add("north", BOTH.package_id, HIGH, 800, NOW_S - 2 * HALF_LIFE_DAYS * DAY_S)
    book.add("north", BOTH.package_id, HIGH, 50, NOW_S)
    book.add("south", BOTH.package_id, LOW, 7, NOW_S)
    book.add("moon", BOTH.package_id, LOW, 7, NOW_S)  # a region that is no more
    evidence, rows = book.of([BOTH], REGIONS, {BOTH.package_id: 9.0}, NOW_S)
    assert rows == [(0, LOW), (0, HIGH)]
    assert evidence.sent == pytest.approx(np.array([[0, 250], [7, 0]]))
    assert evidence.bytes.tolist() == [100, 300]
    assert evidence.expected.tolist() == [9.0]
    assert 2 < evidence.days[0] < 5  # ten days, most of them faded


def test_evidence_of_a_package_begins_when_it_is_published(tmp_path: Path) -> None:
    book = EvidenceBook(tmp_path / "e.json", NOW_S - 50 * DAY_S)
    fresh = package(3, (LOW, 1), days_ago=0.5)
    evidence, _ = book.of([BOTH, fresh], REGIONS, {}, NOW_S)
    assert evidence.days[1] == pytest.approx(0.5, abs=0.05)
    assert evidence.days[0] > 4
    assert np.isnan(evidence.expected).all()


def test_a_package_whose_renditions_are_not_known_is_one_row(tmp_path: Path) -> None:
    book = EvidenceBook(tmp_path / "e.json", NOW_S)
    book.add("north", OLD.package_id, LOW, 5, NOW_S)
    book.add("north", OLD.package_id, HIGH, 6, NOW_S)
    evidence, rows = book.of([OLD], REGIONS, {}, NOW_S)
    assert rows == [(0, "")]
    assert evidence.sent.tolist() == [[11], [0]]


def test_it_goes_on_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "steering" / "e.json"
    book = EvidenceBook(path, NOW_S - DAY_S)
    book.add("north", BOTH.package_id, HIGH, 800, NOW_S)
    book.write(NOW_S)
    later_s = NOW_S + HALF_LIFE_DAYS * DAY_S
    evidence, _ = EvidenceBook(path, later_s).of([BOTH], REGIONS, {}, later_s)
    assert evidence.sent[0].tolist() == pytest.approx([0, 400])
    assert evidence.days[0] > HALF_LIFE_DAYS / 2


def test_a_damaged_file_costs_the_evidence_alone(tmp_path: Path) -> None:
    path = tmp_path / "e.json"
    path.write_text('{"since_s": "once"')
    book = EvidenceBook(path, NOW_S)
    book.add("north", BOTH.package_id, HIGH, 8, NOW_S)
    assert book.of([BOTH], REGIONS, {}, NOW_S)[0].sent.sum() == 8


def test_it_is_bounded_and_packages_that_go_are_forgotten(tmp_path: Path) -> None:
    book = EvidenceBook(tmp_path / "e.json", NOW_S, most=3)
    for number in range(1, 6):
        book.add("north", package_id(number), LOW, 1, NOW_S)
    packages = [package(number, (LOW, 1)) for number in range(1, 6)]
    assert book.of(packages, REGIONS, {}, NOW_S)[0].sent[0].tolist() == [0, 0, 1, 1, 1]
    book.keep_only(packages[:3])
    assert book.of(packages, REGIONS, {}, NOW_S)[0].sent.sum() == 1


def test_years_and_steps_of_the_clock_do_no_harm(tmp_path: Path) -> None:
    book = EvidenceBook(tmp_path / "e.json", NOW_S)
    for years in (0, 1, 5, -3, 5):
        book.add("north", BOTH.package_id, LOW, 1000, NOW_S + years * 365 * DAY_S)
    evidence, _ = book.of([BOTH], REGIONS, {}, NOW_S + 5 * 365 * DAY_S)
    assert np.isfinite(evidence.sent).all()
    assert 2000 <= evidence.sent[0, 0] < 3000  # two of now, and one that says it is of long ago

"""The page is made of results, and measured again a case takes its old row's place."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

from lab.bench import Bar, Effort, Row, document, row_of, skipped
from lab.report import write_results

MACHINE = {
    "cpu": "A CPU", "cores": 2, "memory_gib": 8.0, "kernel": "6.1", "architecture": "x86_64",
    "python": "3.11.7",
}  # fmt: skip
FAST = row_of("64k", "requests/s", [(120, 100)], "nginx", Bar(1.0))
NO_TLS = skipped("tls-64k", "requests/s", "nginx", Bar(1.0), "no TLS <here>")


def _write(docs: Path, *rows: Row, machine: dict[str, object] = MACHINE) -> str:
    write_results(docs, "nginx", Effort(1, 1), document("serve", machine, rows))
    return (docs / "benchmarks.md").read_text()


def test_the_page_names_machine_figures_and_pictures(tmp_path: Path) -> None:
    page = _write(tmp_path, FAST, NO_TLS)
    assert "A CPU, 2 cores" in page and "Python 3.11.7" in page
    assert "| ✓ | 64k | requests/s | 120 | 100 (nginx) | 1.2 |" in page
    assert "no TLS" in page
    picture = tmp_path / "benchmarks" / "serve-nginx.svg"
    assert f"](benchmarks/{picture.name})" in page
    shown = "".join(ET.fromstring(picture.read_text()).itertext())
    assert "64k" in shown and "1.2" in shown and "tls" not in shown


def test_a_case_measured_again_takes_its_place(tmp_path: Path) -> None:
    _write(tmp_path, FAST, NO_TLS)
    slow = row_of("64k", "requests/s", [(50, 100)], "nginx", Bar(1.0))
    page = _write(tmp_path, slow)
    assert "| ✗ | 64k | requests/s | 50 |" in page and "120" not in page
    assert "tls-64k" in page


def test_figures_of_two_machines_are_not_mixed(tmp_path: Path) -> None:
    _write(tmp_path, FAST, NO_TLS)
    _write(tmp_path, FAST, machine=MACHINE | {"cpu": "Another"})
    told = json.loads((tmp_path / "benchmarks" / "serve-nginx.json").read_text())
    assert [row["case"] for row in told["rows"]] == ["64k"]

"""docs/benchmarks.md: written from the results beside it, docs/benchmarks/*.json, by `--doc`."""

import json
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab.bench import Effort, Row, shown, shown_bar, shown_span
from lab.peers import versions
from lab.plot import ratios

DOCS = Path(__file__).resolve().parent.parent / "docs"

_INTRODUCTION = """# Benchmarks

This page is written by `nearcast bench serve --doc` and `nearcast bench fill --doc`, with
`--against nginx` or `varnish`; the peers' configurations are in [lab/peers](../lab/peers).

Both sides run on one core, one worker each, and the load (wrk, one thread) on another. Both stay up
all the time and are loaded in turn, A B A B. A pair's ratio is ours ÷ the peer's; a row shows the
median of the pairs' ratios, the smallest and the largest one, and the bar, if the case has one. The
other figures are medians of their side alone. Before anything is measured each side has to send
every file rightly, byte for byte; an error in a measured run ends the bench. nginx runs with
`tcp_nopush` and without; a case is measured against the one that does better there, as its last
column says.

Both check a token for each request (ours an Ed25519 signature, once a token; nginx an MD5 by
`secure_link`; Varnish compares a string, since it signs nothing without a module), write one JSON
line of access log for each, and send equal fields. Ours compares what it fills with its SHA-256
before it keeps it, about a third of what a filled megabyte costs it; the peers do not. `busy` is the share of its core that the server
used: where it is far below 1, the load was the limit.

| case | what is asked |
|---|---|
| 1k, 64k, 1m, 4m | several files of that size in turn, 32 connections; -cpu: CPU of all the server's processes |
| range | ranges of 64 KB, spread over the files of 4 MB |
| tls-64k, tls-1m | the same over TLS 1.3, with one certificate and the same cipher |
| p99 | files of 64 KB, 256 connections |
| abr | audio and video of a ladder's rungs, 128 connections, 128 tokens |
| tokens | 10,000 tokens in turn that were seen before, beside one alone |
| new-tokens | a token never seen before for each request |
| forged | hits of 64 KB while 10,000 forged tokens a second are offered by a paced sender beside wrk |
| idle | memory with 10,000 connections that have asked once and wait (Pss of our worker; all of the peer) |
| cold-pages | hits of 64 KB while 64 connections read files that are dropped from the page cache all the time; nginx reads by `aio threads` |
| cold | distinct files of 1 MB that nobody holds, each once, 32 connections; one origin, ours fills from it as from S3 |
| herd | 500 clients ask for one cold file of 4 MB at once |
| site | the same, over three appliances of one site |
"""
_UNITS = {
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "cpu_s_per_gb": "CPU s/GB",
    "busy": "busy",
}


def write_results(docs: Path, against: str, effort: Effort, said: dict[str, Any]) -> None:
    """The rows are among the results, in place of earlier ones of the same cases on the same
    machine, and the page shows them."""
    folder = docs / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{said['bench']}-{against}.json"
    machine = said["machine"] | versions()
    kept: dict[str, Any] = {}
    if path.exists():
        earlier = json.loads(path.read_text())
        if earlier["machine"] == machine:
            kept = {row["case"]: row for row in earlier["rows"]}
    day = datetime.now(UTC).date().isoformat()
    for row in said["rows"]:
        kept[row["case"]] = row | {
            "notes": row["notes"] | {"pairs": effort.pairs, "seconds": effort.seconds, "day": day}
        }
    result = {"bench": said["bench"], "machine": machine, "rows": list(kept.values())}
    path.write_text(json.dumps(result, indent=1) + "\n")
    (docs / "benchmarks.md").write_text(page(folder))


def page(folder: Path) -> str:
    """The page of all results in the folder; their pictures are written beside them."""
    parts = [_INTRODUCTION]
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text())
        title = f"bench {result['bench']} against {path.stem.partition('-')[2]}"
        rows = [_row(row) for row in result["rows"]]
        path.with_suffix(".svg").write_text(ratios(title, rows))
        parts += [
            f"## {title}\n",
            _machine(result["machine"]) + "\n",
            f"![ratios](benchmarks/{path.stem}.svg)\n",
            _table(rows),
        ]
        if any("ours" in row.notes for row in rows):
            parts.append(_details(rows))
    return "\n".join(parts)


def _machine(machine: dict[str, Any]) -> str:
    programs = ", ".join(f"{name} {machine[name]}" for name in versions() if name in machine)
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, Linux "
        f"{machine['kernel']} {machine['architecture']}, Python {machine['python']}; {programs}."
    )


def _table(rows: list[Row]) -> str:
    lines = [
        "| | case | unit | ours | peer | ratio | min – max | bar | pairs |",
        "|---|---|---|--:|--:|--:|---|---|---|",
    ]
    marks = {True: "✓", False: "✗", None: "–"}
    for row in rows:
        if row.skipped:
            lines.append(f"| – | {row.case} | {row.unit} | {row.skipped} | | | | | |")
            continue
        measured = f"{row.notes['pairs']} × {row.notes['seconds']} s, {row.notes['day']}"
        peer = f"{shown(row.peer)} ({row.peer_name})" if row.peer is not None else ""
        lines.append(
            f"| {marks[row.ok]} | {row.case} | {row.unit} | {shown(row.ours)} | {peer} "
            f"| {shown(row.ratio)} | {shown_span(row)} | {shown_bar(row)} | {measured} |"
        )
    return "\n".join(lines) + "\n"


def _details(rows: list[Row]) -> str:
    """Latency, CPU and load of every case that has them; both sides in one cell."""
    lines = [
        f"| case | {' | '.join(f'{name}: ours, peer' for name in _UNITS.values())} | beside |",
        "|---|" + "---|" * (len(_UNITS) + 1),
    ]
    for row in rows:
        usual = ("ours", "peer", "pairs", "seconds", "day")
        if row.case.endswith("-cpu") or not row.notes.keys() - usual[2:]:
            continue  # the first is told with its case's other row; the second has nothing to tell
        ours, peer = row.notes.get("ours", {}), row.notes.get("peer", {})
        cells = [f"{ours[key]}, {peer[key]}" if ours else "" for key in _UNITS]
        beside = [f"{key} {value}" for key, value in row.notes.items() if key not in usual]
        lines.append(f"| {row.case} | {' | '.join(cells)} | {', '.join(beside)} |")
    return "\n".join(lines) + "\n"


def _row(told: dict[str, Any]) -> Row:
    return Row(**{field.name: told[field.name] for field in fields(Row)})

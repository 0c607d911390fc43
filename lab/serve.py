"""`nearcast bench serve`: the cases, and the bars that they have to reach.

Most cases are a load of wrk and some figures of it; the others have a module of their own. All of
them run on one stand, one after the other.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from lab.bench import Bar, Effort, Reading, Row, chosen, medians, row_of, skipped
from lab.cold_pages import cold_pages
from lab.idle import idle
from lab.load import Load
from lab.peers import require
from lab.sides import Side
from lab.stand import Stand, standing
from lab.tokens import forged, never_seen, remembered

_SPAN_BYTES = 64 * 1024
_SPANS = 64
_SESSIONS = 128  # viewers of the mix: as many connections, each with a token of its own
_MIX_TARGETS = 2048


@dataclass(frozen=True)
class Figure:
    """A figure of a reading; `suffix` tells its row from the case's first one."""

    unit: str
    of: Callable[[Reading], float]
    bar: Bar
    suffix: str = ""


def _rate(bar: float | None) -> Figure:
    return Figure("requests/s", lambda reading: reading.requests_per_s, Bar(bar))


def _cpu(bar: float | None) -> Figure:
    return Figure("CPU s/GB", lambda reading: reading.cpu_s_per_gb, Bar(bar, "less"), "-cpu")


def _p99(bar: float | None) -> Figure:
    return Figure("ms, p99", lambda reading: reading.p99_ms, Bar(bar, "less"))


Targets = Callable[[Stand, Side], list[str]]


@dataclass(frozen=True)
class WrkCase:
    """The same load for both sides."""

    targets: Targets
    connections: int
    figures: tuple[Figure, ...]
    tls: bool = False

    async def __call__(self, name: str, stand: Stand) -> list[Row]:
        """The rows of the case."""
        if self.tls:
            without = [side.name for side in (stand.ours, stand.peer) if not side.tls_base]
            if without:
                why = f"no TLS here: {', '.join(without)}"
                return [
                    skipped(name + f.suffix, f.unit, stand.peer.name, f.bar, why)
                    for f in self.figures
                ]
        first = self.figures[0]
        sign = 1 if first.bar.better == "more" else -1
        way, readings = await stand.pairs(
            lambda side: Load(
                self.targets(stand, side), self.connections, stand.effort.seconds, self.tls
            ),
            lambda reading: sign * first.of(reading),
        )
        notes = {
            "connections": self.connections,
            "ours": medians([ours for ours, _ in readings]),
            "peer": medians([peer for _, peer in readings]),
        }
        if way:
            notes["the peer with"] = way
        return [
            replace(
                row_of(
                    name + figure.suffix,
                    figure.unit,
                    [(figure.of(ours), figure.of(peer)) for ours, peer in readings],
                    stand.peer.name,
                    figure.bar,
                ),
                notes=notes,
            )
            for figure in self.figures
        ]


def _files(kind: str) -> Targets:
    return lambda stand, side: [side.target(path) for path in stand.paths(kind)]


def _spans(stand: Stand, side: Side) -> list[str]:
    """Ranges of 64 KB, spread over the largest files."""
    targets = []
    paths = stand.paths("4m")
    for number in range(_SPANS):
        path = paths[number % len(paths)]
        start = (number * 37 % _SPANS) * _SPAN_BYTES
        targets.append(f"{side.target(path)} {start}-{start + _SPAN_BYTES - 1}")
    return targets


def _mix(stand: Stand, side: Side) -> list[str]:
    """What many viewers ask for side by side: audio and video of all rungs. The same draw for both
    sides."""
    paths = stand.paths("abr")
    return [
        side.target(paths[number * 17 % len(paths)], session=number % _SESSIONS)
        for number in range(_MIX_TARGETS)
    ]


RunCase = Callable[[str, Stand], Awaitable[list[Row]]]

# The bars of issue 3's table. `range` and `abr` are told without one.
CASES: dict[str, RunCase] = {
    "1k": WrkCase(_files("1k"), 32, (_rate(0.8),)),
    "64k": WrkCase(_files("64k"), 32, (_rate(1.0),)),
    "1m": WrkCase(_files("1m"), 32, (_rate(0.97), _cpu(1.05))),
    "4m": WrkCase(_files("4m"), 32, (_rate(0.97), _cpu(1.05))),
    "range": WrkCase(_spans, 32, (_rate(None),)),
    "tls-64k": WrkCase(_files("64k"), 32, (_rate(0.95),), tls=True),
    "tls-1m": WrkCase(_files("1m"), 32, (_rate(0.95),), tls=True),
    "p99": WrkCase(_files("64k"), 256, (_p99(1.0),)),
    "abr": WrkCase(_mix, _SESSIONS, (_rate(None),)),
    "tokens": remembered,
    "new-tokens": never_seen,
    "forged": forged,
    "idle": idle,
    "cold-pages": cold_pages,
}


async def bench_serve(
    against: str, cases: Sequence[str], effort: Effort, tell: Callable[[str], None]
) -> list[Row]:
    """The rows of the cases (all, if none is named). Raises Problem for an unknown one, for a
    program that is missing, and when a side sends anything but what was asked for."""
    wanted = chosen(cases, CASES)
    require(against)
    rows: list[Row] = []
    tell("both sides")
    async with standing(against, effort) as stand:
        for name, measure in wanted.items():
            tell(name)
            rows += await measure(name, stand)
    return rows

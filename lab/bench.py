"""What a bench says: readings of two sides in alternating pairs, and the rows made of them. Pure.

Two sides on one machine are measured in turn, A B A B, so that what else the machine does falls on
both. A pair has its own ratio, and a row's ratio is the median of them: it is steadier than the
ratio of two medians, because neighbours in time share their weather.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Literal, TypeVar

from runtime.errors import Problem

T = TypeVar("T")
Better = Literal["more", "less"]


def chosen(names: Sequence[str], cases: Mapping[str, T]) -> dict[str, T]:
    """The cases of these names, or all when none is named. Raises Problem for an unknown one."""
    for name in names:
        if name not in cases:
            raise Problem(
                "bad_request", f"There is no case {name!r}; there are {', '.join(cases)}."
            )
    return {name: cases[name] for name in names or cases}


@dataclass(frozen=True)
class Effort:
    """How long a bench measures: pairs of readings, and seconds of each."""

    pairs: int = 5
    seconds: int = 3


@dataclass(frozen=True)
class Reading:
    """One side under one load, for some seconds. `busy` is the share of its core that it used: far
    below 1.0, the load was the limit and not the server."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_s_per_gb: float
    busy: float


@dataclass(frozen=True)
class Bar:
    """What a figure has to reach: `value` for the ratio of ours to the peer's, or, `of` "ours", for
    our own figure. None: the figure is told, and not judged."""

    value: float | None
    better: Better = "more"
    of: Literal["ratio", "ours"] = "ratio"


@dataclass(frozen=True)
class Row:
    """One line of a bench. `ok` is None where nothing is judged, or where `skipped` says why the
    case did not run."""

    case: str
    unit: str
    ours: float | None
    peer: float | None
    peer_name: str
    ratio: float | None
    bar: float | None
    ok: bool | None
    better: Better = "more"
    bar_of: Literal["ratio", "ours"] = "ratio"
    ratio_min: float | None = None
    ratio_max: float | None = None
    pairs: tuple[tuple[float, float], ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)
    skipped: str = ""


def shown_bar(row: Row) -> str:
    """The bar in words: `≥ 0.97`, `ours ≤ 100`; nothing where nothing is judged."""
    if row.bar is None:
        return ""
    sign = "≥" if row.better == "more" else "≤"
    return f"{'ours ' if row.bar_of == 'ours' else ''}{sign} {shown(row.bar)}"


def shown(figure: float | None) -> str:
    """The figure for people; nothing where there is none."""
    if figure is None:
        return ""
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:g}"


def shown_span(row: Row) -> str:
    """The smallest and the largest ratio."""
    return "" if row.ratio_min is None else f"{shown(row.ratio_min)} – {shown(row.ratio_max)}"


async def alternate(
    count: int, ours: Callable[[], Awaitable[T]], peer: Callable[[], Awaitable[T]]
) -> list[tuple[T, T]]:
    """`count` pairs of readings, ours first, never both at once."""
    return [(await ours(), await peer()) for _ in range(count)]


def row_of(
    case: str, unit: str, pairs: Sequence[tuple[float, float]], peer_name: str, bar: Bar
) -> Row:
    """The row of a figure that was read in pairs; the medians are those of each side alone. Where
    the peer has nothing to divide by there is no ratio, and no bar for one is reached."""
    ratios = [ours / peer for ours, peer in pairs] if all(peer for _, peer in pairs) else []
    ratio, ours = median(ratios) if ratios else None, median(ours for ours, _ in pairs)
    judged = ratio if bar.of == "ratio" else ours
    return Row(
        case=case,
        unit=unit,
        ours=_short(ours),
        peer=_short(median(peer for _, peer in pairs)),
        peer_name=peer_name,
        ratio=None if ratio is None else round(ratio, 3),
        bar=bar.value,
        ok=reaches(judged, bar),
        better=bar.better,
        bar_of=bar.of,
        ratio_min=round(min(ratios), 3) if ratios else None,
        ratio_max=round(max(ratios), 3) if ratios else None,
        pairs=tuple((_short(ours), _short(peer)) for ours, peer in pairs),
    )


def alone(case: str, unit: str, ours: float, bar: Bar) -> Row:
    """The row of a figure that no peer has; the bar is for ours."""
    return Row(case, unit, ours, None, "", None, bar.value, reaches(ours, bar), bar.better, bar.of)


def reaches(figure: float | None, bar: Bar) -> bool | None:
    """Whether there is a figure, at the bar or on its better side; None without a bar."""
    if bar.value is None:
        return None
    if figure is None:
        return False
    return figure >= bar.value if bar.better == "more" else figure <= bar.value


def skipped(case: str, unit: str, peer_name: str, bar: Bar, why: str) -> Row:
    """The row of a case that this machine, or this peer, cannot run."""
    return Row(
        case, unit, None, None, peer_name, None, bar.value, None, bar.better, bar.of, skipped=why
    )


def medians(readings: Sequence[Reading]) -> dict[str, float]:
    """Of one side's readings, name by name."""
    return {
        name: _short(median(getattr(reading, name) for reading in readings))
        for name in Reading.__dataclass_fields__
    }


def document(bench: str, machine: dict[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    """The JSON object of the contract in DESIGN.md."""
    return {"bench": bench, "machine": machine, "rows": [asdict(row) for row in rows]}


def failed(rows: Sequence[Row]) -> list[str]:
    """Names of the cases that missed their bar."""
    return [row.case for row in rows if row.ok is False]


def _short(value: float) -> float:
    """Four digits or so: more would be noise."""
    return round(value, max(0, 3 - len(str(int(abs(value))))) + (1 if abs(value) < 10 else 0))

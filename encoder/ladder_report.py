"""How a film got its ladder: in words, in numbers, and drawn. Pure.

The drawing is SVG of a few lines, so that nothing has to be installed for it.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from encoder.hull import TOP_VMAF, WORTH_VMAF, Point, Trial, hull
from media.ladder import Ladder

_WIDTH, _HEIGHT = 760, 430
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 96, 40, 44
_INK, _PALE, _HULL = "#1d2530", "#dfe4ea", "#b3372f"
_COLOURS = ("#8a6d3b", "#2a7f4f", "#1f6f8b", "#3b4cc0", "#7a3b9c", "#a63d73", "#555555")
_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20)  # Mb/s


@dataclass(frozen=True)
class LadderReport:
    """What was tried, what it showed, and what was chosen from it."""

    trials: tuple[Trial, ...]
    curves: Mapping[int, Sequence[Point]]
    chosen: tuple[Point, ...]
    ladder: Ladder

    def promised(self) -> dict[str, Point]:
        """What each rung was chosen for."""
        rungs = [rung.rendition_id for rung in self.ladder.rungs]
        return dict(zip(rungs, self.chosen, strict=True))

    def words(self) -> list[str]:
        """Why these rungs, in sentences."""
        top = self.chosen[-1]
        said = [
            f"{len(self.trials)} trial encodes; {len(self.chosen)} rungs,"
            f" from {_mbps(self.chosen[0].bps)} to {_mbps(top.bps)}."
        ]
        if top.vmaf >= TOP_VMAF - 0.01:
            said.append(f"The top reaches VMAF {top.vmaf:.0f}: more bits would show nobody more.")
        else:
            said.append(
                f"The top has VMAF {top.vmaf:.1f}: its cap allows no more, or twice the bits would"
                f" gain less than {WORTH_VMAF:g}."
            )
        said += [
            f"Below {_mbps(upper.bps)}, {lower.height} lines look better than {upper.height}."
            for lower, upper in pairwise(self.chosen)
            if lower.height != upper.height
        ]
        return said

    def document(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "words": self.words(),
            "trials": [_rounded(trial) for trial in self.trials],
            "rungs": [
                _rounded(point) | {"rendition_id": rung.rendition_id, "max_bps": rung.max_bps}
                for point, rung in zip(self.chosen, self.ladder.rungs, strict=True)
            ],
        }

    def drawing(self) -> str:
        """VMAF over bits: a curve for each height with its trials, the hull, the rungs."""
        points = [point for curve in self.curves.values() for point in curve]
        low = min(point.bps for point in points)
        high = max(point.bps for point in points)
        return "\n".join([*_drawing(self, _Scale(low / 1.1, high * 1.1)), "</svg>", ""])


@dataclass(frozen=True)
class _Scale:
    """From bits per second and VMAF to the drawing's places."""

    low: float
    high: float

    def x(self, bps: float) -> float:
        share = math.log(bps / self.low) / math.log(self.high / self.low)
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, vmaf: float) -> float:
        return round(_HEIGHT - _BOTTOM - vmaf / 100 * (_HEIGHT - _TOP - _BOTTOM), 1)

    def path(self, points: Iterable[Point]) -> str:
        """The points joined."""
        return "M" + "L".join(f"{self.x(p.bps)} {self.y(p.vmaf)}" for p in points)


def _drawing(report: LadderReport, at: _Scale) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        f' font-family="sans-serif" font-size="12" fill="{_INK}">'
    )
    yield f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>'
    yield f'<text x="{_LEFT}" y="22" font-size="14" font-weight="bold">VMAF over Mb/s</text>'
    yield from _axes(at)
    for (height, curve), colour in zip(report.curves.items(), _COLOURS, strict=False):
        yield _line(at.path(curve), colour, 1.5)
        last = curve[-1]
        yield (
            f'<text x="{at.x(last.bps) + 5}" y="{at.y(last.vmaf) + 4}" fill="{colour}">'
            f"{height} lines</text>"
        )
        for trial in report.trials:
            if trial.height == height:
                yield _dot(at.x(trial.bps), at.y(trial.vmaf), 3, "#ffffff", colour)
    over_all = hull(point for curve in report.curves.values() for point in curve)
    yield _line(at.path(over_all), _HULL, 1, 'stroke-dasharray="5 4"')
    for number, point in enumerate(report.chosen):
        x, y = at.x(point.bps), at.y(point.vmaf)
        yield _dot(x, y, 5, _HULL, "#ffffff")
        if number == 0 or point.height != report.chosen[number - 1].height:
            yield f'<text x="{x + 8}" y="{y + 14}">{point.height}</text>'


def _axes(at: _Scale) -> Iterator[str]:
    left, right, bottom = _LEFT, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    for vmaf in range(0, 101, 20):
        y = at.y(vmaf)
        yield _line(f"M{left} {y}L{right} {y}", _PALE, 1)
        yield f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{vmaf}</text>'
    for mbps in _TICKS:
        if at.low <= mbps * 1e6 <= at.high:
            x = at.x(mbps * 1e6)
            yield _line(f"M{x} {_TOP}L{x} {bottom}", _PALE, 1)
            yield f'<text x="{x}" y="{bottom + 18}" text-anchor="middle">{mbps:g}</text>'
    yield (
        f'<text x="{left}" y="{_HEIGHT - 8}">'
        "white: trials · dashed: the hull · red: the rungs</text>"
    )


def _line(path: str, colour: str, width: float, more: str = "") -> str:
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width}" {more}/>'


def _dot(x: float, y: float, radius: float, fill: str, edge: str) -> str:
    return f'<circle cx="{x}" cy="{y}" r="{radius}" fill="{fill}" stroke="{edge}"/>'


def _rounded(one: Point | Trial) -> dict[str, Any]:
    said = asdict(one)
    return said | {"bps": round(one.bps), "vmaf": round(one.vmaf, 2)}


def _mbps(bps: float) -> str:
    return f"{bps / 1e6:.2f} Mb/s"

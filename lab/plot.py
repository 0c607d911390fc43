"""A picture of rows: each case's ratio with its span, and the bar that it has to reach. Pure: SVG
in a few lines, so that nothing has to be installed for it."""

from collections.abc import Sequence
from html import escape

from lab.bench import Row, shown, shown_bar

_WIDTH, _LEFT, _RIGHT, _LINE, _TOP = 720, 190, 110, 26, 40
_GOOD, _BAD, _TOLD, _INK, _PALE = "#2a7f4f", "#b3372f", "#5b6b7b", "#1d2530", "#c9d1d9"


def ratios(title: str, rows: Sequence[Row]) -> str:
    """The SVG document. Only rows whose ratio compares us with a peer are drawn."""
    drawn = [row for row in rows if row.ratio is not None and row.bar_of == "ratio"]
    most = max([1.5, *(max(row.ratio_max or 0, row.bar or 0) for row in drawn)])
    scale = (_WIDTH - _LEFT - _RIGHT) / min(most, 4.0)
    height = _TOP + _LINE * len(drawn) + 30

    def x(ratio: float) -> float:
        return round(_LEFT + min(ratio, 4.0) * scale, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'font-family="sans-serif" font-size="13" fill="{_INK}">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="10" y="22" font-weight="bold">{escape(title)}</text>',
        _line(x(1), _TOP - 8, x(1), height - 22, _INK, 1),
        f'<text x="{x(1)}" y="{height - 8}" text-anchor="middle">1.0</text>',
    ]
    for number, row in enumerate(drawn):
        y = _TOP + _LINE * number + 10
        assert row.ratio is not None
        colour = {True: _GOOD, False: _BAD, None: _TOLD}[row.ok]
        parts += [
            f'<text x="{_LEFT - 10}" y="{y + 4}" text-anchor="end">{escape(row.case)}</text>',
            _line(_LEFT, y, x(row.ratio), y, colour, 10),
            _line(x(row.ratio_min or 0), y, x(row.ratio_max or 0), y, _INK, 1.5),
        ]
        if row.bar is not None:
            parts.append(_line(x(row.bar), y - 10, x(row.bar), y + 10, _INK, 2.5))
        told = shown(row.ratio) + (f" ({shown_bar(row)})" if row.bar is not None else "")
        parts.append(f'<text x="{_WIDTH - 10}" y="{y + 4}" text-anchor="end">{escape(told)}</text>')
    parts.append(_line(_LEFT, _TOP - 8, _LEFT, height - 22, _PALE, 1))
    return "\n".join([*parts, "</svg>", ""])


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float) -> str:
    return f'<path d="M{x1} {y1}L{x2} {y2}" stroke="{colour}" stroke-width="{width}"/>'

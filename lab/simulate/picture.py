"""A picture of a simulated world: bytes by tier over the hours for each variant, and the table's
figures as bars. Pure: SVG in a few lines, as lab/plot.py."""

from collections.abc import Sequence
from html import escape

from lab.simulate.ledger import Outcome, Tier
from lab.simulate.scenario import Scenario
from lab.simulate.summary import COLUMNS, Column, Summary

_WIDTH, _LEFT, _RIGHT, _TOP = 920, 110, 20, 70
_BAND, _GAP, _BAR, _PANEL = 96, 34, 16, 290
_INK, _PALE = "#1d2530", "#c9d1d9"
_COLOURS = {Tier.SITE: "#2a7f4f", Tier.PEER: "#d9a441", Tier.STORE: "#b3372f"}
_NAMES = {Tier.SITE: "the viewer's own site", Tier.PEER: "other sites", Tier.STORE: "the store"}
_BARS = ("peak_hit", "peak_any_hit", "peak_origin_bytes", "into_sites_bytes", "fill_bytes", "churn")


def picture(scenario: Scenario, found: Sequence[Summary]) -> str:
    """The SVG document. Hours are those of the first seed, after the warm-up; bars are medians,
    with the least and the most."""
    since = scenario.clock.warmup_days * 24
    most = max(max(_totals(one.outcomes[0], since)) for one in found) or 1.0
    parts: list[str] = []
    y = _TOP
    for one in found:
        parts += _hours(one, since, y, most)
        y += _BAND + _GAP
    y += 6
    parts.append(_text(10, y, "Medians of the seeds", weight="bold"))
    y += 12
    chosen = [column for name in _BARS for column in COLUMNS if column.name == name]
    tall = _BAR * len(found) + 34
    for number, column in enumerate(chosen):
        x = 10 + (number % 3) * (_WIDTH - 20) // 3
        parts += _bars(column, found, x, y + (number // 3) * tall)
    y += tall * -(-len(chosen) // 3)
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y + 10}" '
        f'font-family="sans-serif" font-size="12" fill="{_INK}">',
        f'<rect width="{_WIDTH}" height="{y + 10}" fill="#ffffff"/>',
        _text(10, 22, f"{scenario.name}: bytes to viewers an hour, by where they were", "bold"),
    ]
    x = _LEFT
    for tier in Tier:
        head.append(f'<rect x="{x}" y="38" width="12" height="12" fill="{_COLOURS[tier]}"/>')
        head.append(_text(x + 17, 48, _NAMES[tier]))
        x += 170
    return "\n".join([*head, *parts, "</svg>", ""])


def _hours(one: Summary, since: int, y: int, most: float) -> list[str]:
    """A band of columns, one on the other, the store's above: what is not green was not near."""
    hours = one.outcomes[0].hours
    count = len(hours["sent_site_bytes"]) - since
    step = (_WIDTH - _LEFT - _RIGHT) / count
    bottom = y + _BAND
    parts = [
        _text(_LEFT - 10, y + _BAND / 2 + 4, one.variant, anchor="end"),
        _text(_LEFT - 10, y + 10, f"{most / 1e12:.3g} TB", anchor="end", fill="#5b6b7b"),
    ]
    below = [0.0] * count
    for tier in Tier:
        sent = [max(0.0, value) for value in hours[f"sent_{tier.name.lower()}_bytes"][since:]]
        above = [low + value for low, value in zip(below, sent, strict=True)]
        forth = [_corner(n, value, step, bottom, most) for n, value in enumerate(above)]
        back = [_corner(n, value, step, bottom, most)[::-1] for n, value in enumerate(below)]
        corners = [point for pair in forth + back[::-1] for point in pair]
        parts.append(f'<path d="M{"L".join(corners)}Z" fill="{_COLOURS[tier]}"/>')
        below = above
    for day in range(count // 24 + 1):
        x = round(_LEFT + day * 24 * step, 1)
        parts.append(f'<path d="M{x} {bottom}V{bottom + 5}" stroke="{_INK}"/>')
        if day % max(1, count // 24 // 14) == 0 and day < count // 24:
            parts.append(_text(x + 3, bottom + 14, f"day {day + 1}", fill="#5b6b7b"))
    parts.append(f'<path d="M{_LEFT} {bottom}H{_WIDTH - _RIGHT}" stroke="{_INK}"/>')
    return parts


def _corner(hour: int, value: float, step: float, bottom: int, most: float) -> tuple[str, str]:
    """The two ends of an hour's level."""
    y = round(bottom - value / most * _BAND, 2)
    left, right = (round(_LEFT + at * step, 2) for at in (hour, hour + 1))
    return f"{left} {y}", f"{right} {y}"


def _bars(column: Column, found: Sequence[Summary], x: int, y: int) -> list[str]:
    parts = [_text(x, y + 14, column.title, weight="bold")]
    spans = [one.span(column) for one in found]
    most = max((span.most for span in spans if span is not None), default=0.0) or 1.0
    long = _PANEL - 170
    for number, (one, span) in enumerate(zip(found, spans, strict=True)):
        middle = y + 28 + _BAR * number
        parts.append(_text(x + 72, middle + 4, one.variant, anchor="end"))
        if span is None:
            parts.append(_text(x + 80, middle + 4, "–"))
            continue
        width = round(span.median / most * long, 1)
        parts.append(
            f'<rect x="{x + 80}" y="{middle - 5}" width="{width}" height="10" fill="#5b6b7b"/>'
        )
        if span.most > span.least:
            ends = [round(x + 80 + value / most * long, 1) for value in (span.least, span.most)]
            parts.append(f'<path d="M{ends[0]} {middle}H{ends[1]}" stroke="{_INK}"/>')
        told = f"{column.text(span.median)} {column.unit}"
        parts.append(_text(x + 88 + long, middle + 4, told))
    return parts


def _totals(outcome: Outcome, since: int) -> list[float]:
    sent = (outcome.hours[f"sent_{tier.name.lower()}_bytes"][since:] for tier in Tier)
    return [sum(hour) for hour in zip(*sent, strict=True)]


def _text(
    x: float, y: float, text: str, weight: str = "normal", anchor: str = "start", fill: str = _INK
) -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-weight="{weight}" fill="{fill}">'
        f"{escape(text)}</text>"
    )

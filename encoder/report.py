"""The reports that lie in a package: what was found, why these rungs, how good they are. Pure.

    report/quality.json  index.html     always
    report/ladder.json  ladder.svg      when the ladder was measured

The page stands alone: no script, no file beside it.
"""

import html
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from encoder.findings import findings
from encoder.ladder_report import LadderReport
from encoder.quality import Judged
from encoder.recipe import Recipe
from encoder.subtitles import Subtitles
from media.inventory import Rendition

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .2rem .8rem; border-bottom: 1px solid #8884; }
th:first-child, td:first-child, td.text { text-align: left; }
td:first-child, td:last-child { white-space: nowrap; }
figure { margin: 1rem 0; overflow-x: auto; } svg { max-width: 100%; height: auto; }
"""
_COLOURS = ("#3b78c4", "#2a9d6f", "#b9802b", "#a6457c", "#7a5cc0", "#c0523b", "#4a9aa6", "#888888")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 760, 260, 44, 30, 12


@dataclass(frozen=True)
class Reports:
    """All that there is to tell of one encode, before its bytes are measured."""

    recipe: Recipe
    ladder: LadderReport | None
    judged: Sequence[Judged]
    subtitles: Sequence[Subtitles] = ()

    def texts(self, renditions: Sequence[Rendition]) -> dict[str, str]:
        """The files, by their paths in the package."""
        told = {
            "report/quality.json": _json(
                {
                    "found": findings(self.recipe, self.subtitles),
                    "rungs": [one.document() for one in self.judged],
                }
            ),
            "report/index.html": "\n".join(_page(self, renditions)) + "\n",
        }
        if self.ladder is not None:
            told["report/ladder.json"] = _json(self.ladder.document())
            told["report/ladder.svg"] = self.ladder.drawing()
        return told


def _json(document: object) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _page(told: Reports, renditions: Sequence[Rendition]) -> Iterator[str]:
    yield '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>Encode report</title><style>{_STYLE}</style></head><body>"
    yield "<h1>Encode report</h1><h2>The master</h2><ul>"
    yield from (
        f"<li>{html.escape(sentence)}</li>" for sentence in findings(told.recipe, told.subtitles)
    )
    yield "</ul><h2>Renditions</h2>"
    yield from _table(told, renditions)
    if told.judged:
        yield "<h2>Quality over the film</h2>"
        yield "<p>VMAF of what was judged, by when it is shown; the best frame has 100.</p>"
        yield f"<figure>{''.join(_curves(told))}</figure>"
    if told.ladder is not None:
        yield "<h2>Why these rungs</h2><ul>"
        yield from (f"<li>{html.escape(sentence)}</li>" for sentence in told.ladder.words())
        yield f"</ul><figure>{told.ladder.drawing()}</figure>"
    yield "</body></html>"


def _table(told: Reports, renditions: Sequence[Rendition]) -> Iterator[str]:
    scores = {one.rendition_id: one for one in told.judged}
    heads = ("rendition", "what", "codec", "average kb/s", "peak kb/s", "MB", "VMAF",
             "harmonic", "worst 1 %", "judged")  # fmt: skip
    yield "<table><tr>" + "".join(f"<th>{head}</th>" for head in heads) + "</tr>"
    for r in renditions:
        what = {
            "video": f"{r.width}×{r.height}",
            "audio": f"{r.language}, {r.channels} ch",
            "text": f"subtitles, {r.language}",
        }
        cells = [
            what[r.kind],
            r.codecs,
            f"{r.average_bandwidth / 1000:,.0f}",
            f"{r.bandwidth / 1000:,.0f}",
        ]
        cells.append(f"{r.total_bytes / 1e6:,.1f}")
        one = scores.get(r.rendition_id)
        if one is not None:
            short = (one.vmaf.mean, one.vmaf.harmonic_mean, one.vmaf.percentile_1)
            cells += [f"{score:.1f}" for score in short] + [f"{one.vmaf.frames:,} frames"]
        else:
            cells += ["–"] * 4
        row = "".join(f"<td>{html.escape(cell)}</td>" for cell in (r.rendition_id, *cells))
        yield f"<tr>{row}</tr>"
    yield "</table>"


def _curves(told: Reports) -> Iterator[str]:
    """A line of each rung, or a dot where only one stretch was judged."""
    lasts_s = max(told.recipe.source.duration_s, 1e-3)

    def x(at_s: float) -> float:
        return round(_LEFT + at_s / lasts_s * (_WIDTH - _LEFT - 150), 1)

    def y(score: float) -> float:
        return round(_TOP + (100 - score) / 100 * (_HEIGHT - _TOP - _BOTTOM), 1)

    yield f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12"'
    yield ' fill="currentColor">'
    for score in range(0, 101, 20):
        yield f'<text x="6" y="{y(score) + 4}">{score}</text>'
        yield f'<path d="M{_LEFT} {y(score)}H{x(lasts_s)}" stroke="#8886" fill="none"/>'
    yield f'<text x="{_LEFT}" y="{_HEIGHT - 8}">0 s</text>'
    yield f'<text x="{x(lasts_s)}" y="{_HEIGHT - 8}" text-anchor="end">{lasts_s:.0f} s</text>'
    for number, one in enumerate(sorted(told.judged, key=lambda one: -one.vmaf.mean)):
        colour = _COLOURS[number % len(_COLOURS)]
        points = [(x(at_s), y(score)) for at_s, score in one.stretches]
        if len(points) > 1:
            path = "M" + "L".join(f"{px} {py}" for px, py in points)
            yield f'<path d="{path}" stroke="{colour}" stroke-width="1.5" fill="none"/>'
        for px, py in points[:: max(1, len(points) // 60)]:
            yield f'<circle cx="{px}" cy="{py}" r="2.5" fill="{colour}"/>'
        place = f'x="{x(lasts_s) + 8}" y="{_TOP + 8 + 15 * number}"'
        yield f'<text {place} fill="{colour}">{one.rendition_id} {one.vmaf.mean:.1f}</text>'
    yield "</svg>"

"""What several seeds say together: medians, with the least and the most. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from lab.simulate.ledger import Outcome


@dataclass(frozen=True)
class Column:
    """A figure of an outcome, and how people read it: in so many `unit`s."""

    name: str
    title: str
    unit: str
    of: Callable[[Outcome], float | None]
    text: Callable[[float], str]


@dataclass(frozen=True)
class Span:
    """Of the seeds."""

    median: float
    least: float
    most: float


def terabytes(count: float) -> str:
    """Bytes, in TB."""
    amount = count / 1e12
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:.3g}"


def percent(share: float) -> str:
    """A share, in percent."""
    return f"{share * 100:.1f}"


COLUMNS = (
    Column("peak_hit", "own site at peak", "%", lambda one: one.peak_hit, percent),
    Column("peak_any_hit", "any site at peak", "%", lambda one: one.peak_any_hit, percent),
    Column(
        "peak_origin_bytes", "store at peak", "TB", lambda one: one.peak_origin_bytes, terabytes
    ),
    Column("into_sites_bytes", "into sites", "TB", lambda one: one.into_sites_bytes, terabytes),
    Column("fill_bytes", "of it filled", "TB", lambda one: one.fill_bytes, terabytes),
    Column("churn", "churn a day", "%", lambda one: one.churn, percent),
    Column("moves", "moves", "", lambda one: one.moves, "{:,.0f}".format),
    Column("most_load", "hottest load", "", lambda one: one.most_load, "{:.2f}".format),
    Column("load_spread", "to the mean", "×", lambda one: one.load_spread, "{:.2f}".format),
    Column("seconds", "took", "s", lambda one: one.seconds, "{:.0f}".format),
)


@dataclass(frozen=True)
class Summary:
    """One variant's outcomes, a seed each."""

    variant: str
    outcomes: tuple[Outcome, ...]

    def span(self, column: Column) -> Span | None:
        """None when there is no such figure."""
        values = [value for one in self.outcomes if (value := column.of(one)) is not None]
        return Span(median(values), min(values), max(values)) if values else None

    def told(self, column: Column) -> str:
        """The median, and with several seeds the least and the most below it."""
        span = self.span(column)
        if span is None:
            return "–"
        text = column.text(span.median)
        if len(self.outcomes) > 1:
            text += f"\n{column.text(span.least)}–{column.text(span.most)}"
        return text


def summaries(outcomes: Sequence[Outcome]) -> list[Summary]:
    """By variant, in the order of their first."""
    names = dict.fromkeys(one.variant for one in outcomes)
    return [Summary(name, tuple(o for o in outcomes if o.variant == name)) for name in names]

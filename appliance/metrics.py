"""The appliance's metrics for Prometheus, summed over its workers: one table. Pure.

Names follow Prometheus' rules: base units (seconds, bytes, ratios), counters end in `_total`, and
what can be summed is one metric with a label. Counters start at 0 with the appliance's boot.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple, get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from appliance.tally import BOUNDS_S, Histogram
from media.fleet import HealthState

PREFIX = "nearcast_appliance_"

# A number, numbers by the values of the row's label, or latencies.
Figure = float | Mapping[str, float] | Histogram


class Row(NamedTuple):
    """A metric; `_total` is added to a counter's name."""

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    told: str
    label: str = ""


TABLE = (
    # asked and answered
    Row("counter", "requests", "Requests"),
    Row("counter", "answers", "Answers by class of their status", "status"),
    Row("counter", "sent_bytes", "Bytes of bodies sent"),
    Row("counter", "lookups", "Files asked for, by whether they were held", "result"),
    Row("counter", "refusals", "Requests answered with an error"),
    Row("counter", "sheds", "Requests refused for want of room", "priority"),
    Row("counter", "connections", "Connections accepted"),
    Row("counter", "aborted_connections", "Connections reset by us amid an answer"),
    Row("gauge", "open_connections", "Connections open now"),
    Row("histogram", "hit_first_byte_seconds", "From the request to the first byte, files held"),
    Row("histogram", "fill_first_byte_seconds", "The same for files brought, once a file"),
    # brought and kept
    Row("counter", "fill_bytes", "Bytes brought, from its site, another, or the store", "source"),
    Row(
        "counter", "filled_files", "Files brought, by the source that gave the last of it", "source"
    ),
    Row("counter", "fills", "Files that were to be brought, failures included"),
    Row("counter", "fill_failures", "Files that could not be brought"),
    Row("gauge", "fills_in_flight", "Files being brought now"),
    Row("counter", "early_fills", "Of those fills, early ones, by what made us expect", "reason"),
    Row("counter", "early_fill_bytes", "Bytes of early fills that are or were held", "reason"),
    Row("counter", "useful_early_fills", "Early fills that someone asked for later", "reason"),
    Row("counter", "evictions", "Files that left to make room"),
    Row("gauge", "cache_budget_bytes", "Bytes that the cache may use"),
    Row("gauge", "cache_used_bytes", "Bytes held, landing, or unlinked and perhaps still open"),
    Row("gauge", "cache_files", "Files held"),
    Row("gauge", "cache_pinned_bytes", "Bytes that the plan holds"),
    Row("counter", "scrubbed_bytes", "Bytes of held files read again and checked"),
    Row("counter", "corrupt_files", "Held files that turned out wrong, and were removed"),
    Row("gauge", "cache_folder_budget_bytes", "Bytes that each cache folder may use", "folder"),
    Row("gauge", "cache_folder_used_bytes", "Bytes in each cache folder", "folder"),
    Row("gauge", "cache_folder_in_service", "Whether the cache folder takes files", "folder"),
    Row("counter", "plan_fill_bytes", "Of the bytes brought, those for the plan", "source"),
    Row("gauge", "plan_missing_files", "Files of the plan that are not held yet"),
    Row("gauge", "plan_missing_bytes", "Bytes of the plan that are not held yet"),
    # how it bears it
    Row("gauge", "workers_alive", "Workers that serve"),
    Row("gauge", "flights", "Files that workers wait for now"),
    Row("gauge", "flight_limit", "Files that workers may wait for now"),
    Row("gauge", "loop_lag_seconds", "How late the latest worker is"),
    Row("gauge", "load_ratio", "The worst load; 1 is all that can be borne"),
    Row("gauge", "bottleneck_load_ratio", "Every load that health is judged by", "bottleneck"),
    Row("gauge", "health_state", "Which state health is in", "state"),
    # what players say
    Row("counter", "player_sessions", "Sessions whose players sent CMCD"),
    Row("counter", "player_requests", "Requests with CMCD"),
    Row("counter", "player_starved_requests", "Requests before which the buffer had run empty"),
    Row("counter", "player_startups", "Start-ups whose length is known"),
    Row("counter", "player_startup_seconds", "Seconds of those start-ups together"),
    Row("counter", "player_notes_lost", "Words of players that there was no room for"),
)


def states(current: HealthState) -> dict[str, float]:
    """An enumeration as Prometheus has it: every state, 1 for the current one."""
    return {state: float(state == current) for state in get_args(HealthState)}


def exposition(figures: Mapping[str, Figure]) -> bytes:
    """The figures, one for each name of the table, in Prometheus' text format, version 0.0.4.
    Raises ValueError when there is one too many or too few."""
    odd = figures.keys() ^ {row.name for row in TABLE}
    if odd:
        raise ValueError(f"figures and table differ: {', '.join(sorted(odd))}")
    registry = CollectorRegistry()
    registry.register(_Told(_metric(row, figures[row.name]) for row in TABLE))
    return generate_latest(registry)


class _Told(Collector):
    """Metrics that are made already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


def _metric(row: Row, figure: Figure) -> Metric:
    name = PREFIX + row.name
    if isinstance(figure, Histogram):
        return HistogramMetricFamily(
            name, row.told, buckets=_buckets(figure), sum_value=figure.sum_us / 1e6
        )
    family = CounterMetricFamily if row.kind == "counter" else GaugeMetricFamily
    metric: Metric = family(name, row.told, labels=[row.label] if row.label else None)
    by_label = figure if isinstance(figure, Mapping) else {"": figure}
    for value, number in by_label.items():
        metric.add_sample(
            f"{name}_total" if row.kind == "counter" else name,
            {row.label: value} if row.label else {},
            number,
        )
    return metric


def _buckets(latencies: Histogram) -> list[tuple[str, float]]:
    """Counts as Prometheus has them: up to each bound, those of smaller bounds included."""
    told: list[tuple[str, float]] = []
    total = 0
    for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), latencies.counts, strict=True):
        total += count
        told.append((bound, total))
    return told

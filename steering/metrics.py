"""What steering counts, for Prometheus."""

import collections
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

Protocol = Literal["hls", "dash"]
# `left`: where it was, since steering has only just begun.
Outcome = Literal["ranked", "expired", "left"]


class _Each(Collector):
    def __init__(
        self, name: str, help_text: str, label: str, read: Callable[[], Mapping[str, float]]
    ) -> None:
        self._family = name, help_text, label
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        name, help_text, label = self._family
        family = GaugeMetricFamily(name, help_text, labels=[label])
        for value, figure in self._read().items():
            family.add_metric([value], figure)
        yield family


class _Manifests(Collector):
    """Steering manifests given. Counted without a lock, which a `Counter` has: one thread does."""

    def __init__(self) -> None:
        self.given = collections.Counter[tuple[Protocol, Outcome]]()

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        family = CounterMetricFamily(
            "nearcast_steering_manifests",
            "Steering manifests given",
            labels=["protocol", "outcome"],
        )
        for labels, count in sorted(self.given.items()):
            family.add_metric(labels, count)
        yield family


class SteeringMetrics:
    """Counters of one process, in a registry of their own."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()

        def counter(name: str, help_text: str, *labels: str) -> Counter:
            return Counter(f"nearcast_steering_{name}", help_text, labels, registry=registry)

        self.reports = counter("reports", "Reports taken", "news")
        self.holdings = counter("holdings", "Holdings messages", "outcome")
        self.demand = counter("demand", "Words of what viewers took", "news")
        self.demand_bytes = counter("demand_bytes", "Bytes that viewers took, as told", "region")
        self.plans = counter("plans", "Plans asked for", "answer")
        self.ranks = counter("ranks", "Rankings made for the control plane", "outcome")
        self.skipped = counter("skipped", "Appliances passed over in rankings", "code")
        self._manifests = _Manifests()
        registry.register(self._manifests)

    def steered(self, protocol: Protocol, outcome: Outcome) -> None:
        """A steering manifest was given."""
        self._manifests.given[protocol, outcome] += 1

    def watch(self, name: str, help_text: str, read: Callable[[], float]) -> None:
        """A gauge that is read when it is asked for."""
        gauge = Gauge(f"nearcast_steering_{name}", help_text, registry=self._registry)
        gauge.set_function(read)

    def watch_each(
        self, name: str, help_text: str, label: str, read: Callable[[], Mapping[str, float]]
    ) -> None:
        """The same for a gauge with a label."""
        self._registry.register(_Each(f"nearcast_steering_{name}", help_text, label, read))

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)

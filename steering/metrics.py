"""What steering counts, for Prometheus."""

from collections.abc import Callable
from functools import cache
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

Protocol = Literal["hls", "dash"]
# `left`: where it was, since steering has only just begun.
Outcome = Literal["ranked", "expired", "left"]

_THROUGHPUT_BUCKETS = tuple(million * 1e6 for million in (0.5, 1, 2, 5, 10, 20, 50, 100, 500))


class SteeringMetrics:
    """Counters of one process, in a registry of their own."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()

        def counter(name: str, help_text: str, *labels: str) -> Counter:
            return Counter(f"nearcast_steering_{name}", help_text, labels, registry=registry)

        self.reports = counter("reports", "Reports taken", "news")
        self.holdings = counter("holdings", "Holdings messages", "outcome")
        self.plans = counter("plans", "Plans asked for", "answer")
        self.ranks = counter("ranks", "Rankings made for the control plane", "outcome")
        self.skipped = counter("skipped", "Appliances passed over in rankings", "code")
        self._manifests = counter("manifests", "Steering manifests given", "protocol", "outcome")
        self._throughput = Histogram(
            "nearcast_steering_player_throughput_bits_per_second",
            "What players measured, by their own word",
            ("protocol",),
            buckets=_THROUGHPUT_BUCKETS,
            registry=registry,
        )

        # Looking up a child by its labels costs as much as a ranking does.
        self._steered = cache(self._manifests.labels)
        self._measured = cache(self._throughput.labels)

    def steered(self, protocol: Protocol, outcome: Outcome) -> None:
        """A steering manifest was given."""
        self._steered(protocol, outcome).inc()

    def measured(self, protocol: Protocol, throughput_bps: float) -> None:
        """A player measured this."""
        self._measured(protocol).observe(throughput_bps)

    def watch(self, name: str, help_text: str, read: Callable[[], float]) -> None:
        """A gauge that is read when it is asked for."""
        gauge = Gauge(f"nearcast_steering_{name}", help_text, registry=self._registry)
        gauge.set_function(read)

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)

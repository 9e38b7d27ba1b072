"""Locust's statistics for Prometheus. They are Locust's own counts, read when they are asked for.

The master of a distributed run has those of all its workers, up to three seconds old.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds in seconds."""


class Entry(NamedTuple):
    """A line of Locust's table. ``times`` are counts by rounded response time in milliseconds."""

    type: str
    name: str
    requests: int
    failures: int
    seconds: float
    times: Mapping[int, int]


class Snapshot(NamedTuple):
    """All of it at one moment."""

    entries: Iterable[Entry]
    users: int
    workers: int
    accepted: int
    unanswered: int


class LoadCollector(Collector):
    """Turns snapshots into metrics.

    Args:
        source: has a ``snapshot()``.
    """

    def __init__(self, source: "Source") -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        """For prometheus_client: called at every scrape."""
        now = self._source.snapshot()
        labels = ["type", "name"]
        requests = CounterMetricFamily("mailwarren_load_requests_total", "Requests made", labels=labels)
        failures = CounterMetricFamily("mailwarren_load_failures_total", "Requests with a wrong answer", labels=labels)
        seconds = HistogramMetricFamily("mailwarren_load_response_seconds", "Response times", labels=labels)
        for entry in now.entries:
            of = [entry.type, entry.name]
            requests.add_metric(of, entry.requests)
            failures.add_metric(of, entry.failures)
            seconds.add_metric(of, _buckets(entry.times), sum_value=entry.seconds)
        yield from (requests, failures, seconds)
        yield GaugeMetricFamily("mailwarren_load_users", "Users that run now", value=now.users)
        yield GaugeMetricFamily("mailwarren_load_workers", "Workers of a distributed run", value=now.workers)
        yield CounterMetricFamily("mailwarren_load_accepted_total", "Mails that the API accepted", value=now.accepted)
        yield CounterMetricFamily(
            "mailwarren_load_unanswered_total", "Mails whose call never had an answer", value=now.unanswered
        )

    def describe(self) -> Iterator[Metric]:
        """Nothing beforehand: registering asks for no snapshot."""
        return iter(())


class Source(Protocol):
    """What a collector reads; :mod:`scenarios.exporter` has the one over Locust's runner."""

    def snapshot(self) -> Snapshot:
        """The numbers now."""


def _buckets(times: Mapping[int, int]) -> list[tuple[str, float]]:
    found = [(str(bound), float(sum(n for ms, n in times.items() if ms <= bound * 1000))) for bound in BUCKETS]
    return [*found, ("+Inf", float(sum(times.values())))]

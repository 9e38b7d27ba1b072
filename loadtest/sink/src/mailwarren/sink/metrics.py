"""What Prometheus reads of the sink: made from its counts when it asks, so that a mail pays nothing for it."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from mailwarren.sink.store import Store


class _Counts(Collector):
    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        store = self._store
        stats = store.stats()
        yield GaugeMetricFamily("mailwarren_sink_connections", "SMTP connections open now", stats.connections_open)
        yield CounterMetricFamily(
            "mailwarren_sink_connections_opened_total", "SMTP connections that were opened", stats.connections
        )
        mails = CounterMetricFamily(
            "mailwarren_sink_mails_total",
            "Mails whose final dot arrived, by the persona they went to",
            labels=["persona"],
        )
        replies = CounterMetricFamily(
            "mailwarren_sink_replies_total",
            "Replies to final dots, and refusals before them, by persona and code",
            labels=["persona", "code"],
        )
        for name, site in store.sites.personas.items():
            mails.add_metric([name], site.mails)
            for code, count in sorted(site.replies.items()):
                replies.add_metric([name, str(code)], count)
        yield mails
        yield replies
        if stats.duplicates is not None:
            yield GaugeMetricFamily(
                "mailwarren_sink_duplicates",
                "Copies accepted beyond the first of their (Message-ID, RCPT TO)",
                stats.duplicates,
            )
        yield CounterMetricFamily("mailwarren_sink_bytes_total", "Octets of mails whose final dot arrived", stats.bytes)


def exposition(store: Store) -> bytes:
    """All metrics as Prometheus reads them."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Counts(store))
    return generate_latest(registry)

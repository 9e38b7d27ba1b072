"""The metrics of ``tracker webhooks``: every one is declared here, and recorded through a function."""

from prometheus_client import Counter, Gauge, Histogram

from mailwarren.runtime.metrics import record_service
from mailwarren.store.states import WebhookState
from mailwarren.tracker.domain.webhook_retries import Answer

record_service("webhooks")

RESULTS = ("2xx", "3xx", "4xx", "5xx", "timeout", "unreachable", "private", "protocol", "bug")

_tries = Counter(
    "mailwarren_webhooks_tries_total", "Tries to tell a webhook of an event, by what came of them", ["result"]
)
for _result in RESULTS:
    _tries.labels(_result)
_ended = Counter(
    "mailwarren_webhooks_ended_total", "Events that were delivered (success) or given up (failed)", ["state"]
)
for _state in (WebhookState.SUCCESS, WebhookState.FAILED):
    _ended.labels(_state)
_seconds = Histogram(
    "mailwarren_webhooks_try_seconds",
    "Duration of a try, from the resolver to the end of the answer",
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
)
_lag = Histogram(
    "mailwarren_webhooks_lag_seconds",
    "From the recording of an event to its first try",
    buckets=(0.1, 0.25, 0.5, 1, 2, 5, 15, 60, 300, 1800, 7200, 86400),
)
_in_flight = Gauge("mailwarren_webhooks_in_flight", "Events on their way to receivers")
_unsigned = Gauge(
    "mailwarren_webhooks_unreadable", "Webhooks that are told nothing because no key here decrypts their secret"
)
_given_up = Counter("mailwarren_webhooks_given_up_total", "Webhooks that were disabled because nothing came through")
_retries = Counter(
    "mailwarren_webhooks_write_retries_total", "Writes of results that the database did not take at once"
)
_lost = Counter("mailwarren_webhooks_results_lost_total", "Results that were not written; their events are tried again")
_database_up = Gauge("mailwarren_webhooks_database_up", "Whether the last use of the database worked")


def record_try(answer: Answer, *, first: bool, age: float) -> None:
    """A receiver was tried. ``age``: seconds since the event was written."""
    _tries.labels(answer.result if answer.result in RESULTS else "protocol").inc()
    _seconds.observe(answer.duration)
    if first:
        _lag.observe(max(0.0, age))


def record_end(state: WebhookState, number: int = 1) -> None:
    """Events have ended."""
    _ended.labels(state).inc(number)


def record_in_flight(number: int) -> None:
    """So many are on their way."""
    _in_flight.set(number)


def record_unreadable(number: int) -> None:
    """So many endpoints have secrets that none of our keys decrypts."""
    _unsigned.set(number)


def record_given_up() -> None:
    """An endpoint was disabled."""
    _given_up.inc()


def record_write_retry() -> None:
    """Results are written again."""
    _retries.inc()


def record_lost(number: int) -> None:
    """Results are given up."""
    _lost.inc(number)


def record_database(*, up: bool) -> None:
    """The database worked, or did not."""
    _database_up.set(up)

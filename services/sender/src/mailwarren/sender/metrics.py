"""The sender's Prometheus metrics: every one is declared here, and recorded through a function."""

from collections import Counter as Tally
from collections.abc import Iterable
from functools import lru_cache

from prometheus_client import Counter, Gauge, Histogram

from mailwarren.contracts.events import Event, Kind
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.routing import domain_of
from mailwarren.contracts.shards import shard_of
from mailwarren.runtime.metrics import record_service

record_service("sender")

_LATENCY = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400)

_attempts = Counter(
    "mailwarren_sender_attempts_total",
    "Attempts by what they led to",
    ["lane", "shard", "provider", "result", "bounce_class"],
)
_accept_to_delivered = Histogram(
    "mailwarren_sender_accept_to_delivered_seconds",
    "From acceptance by the API to the 250 of the next hop",
    ["lane"],
    buckets=_LATENCY,
)
_accept_to_first = Histogram(
    "mailwarren_sender_accept_to_first_attempt_seconds",
    "From acceptance by the API to the end of the first attempt",
    ["lane"],
    buckets=_LATENCY,
)
_attempt_seconds = Histogram(
    "mailwarren_sender_attempt_seconds",
    "One SMTP transaction",
    ["lane"],
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300),
)
_parcels = Counter("mailwarren_sender_parcels_total", "Parcels by how they were finished with", ["lane", "verdict"])
_ladder = Counter("mailwarren_sender_ladder_total", "Parcels put on the ladder", ["lane", "wait"])
_settles = Counter("mailwarren_sender_settle_total", "Deliveries asked about, by the answer", ["verdict"])
_unsettled = Counter("mailwarren_sender_sent_unsettled_total", "Deliveries sent after patience ended", ["lane"])
_parked = Counter("mailwarren_sender_parked_total", "Messages put into mail.dead", ["reason"])
# A counter that is born with its first count never grows in Prometheus' eyes: what alerts watch stands at 0 before.
for _lane in Lane:
    _unsettled.labels(_lane)
for _reason in ("undecodable", "error"):
    _parked.labels(_reason)
_in_flight = Gauge("mailwarren_sender_in_flight", "Deliveries being worked on")
_exposed = Gauge(
    "mailwarren_sender_exposed",
    "Mails answered by the next hop whose outcome the broker has not confirmed: sent twice if this process dies now",
)
_connections = Gauge("mailwarren_sender_smtp_connections", "Open SMTP connections", ["state"])
_connections_opened = Gauge("mailwarren_sender_smtp_connections_opened", "SMTP connections opened so far")
_epoch = Gauge("mailwarren_sender_epoch", "Broker connections of the consumer so far")

_rules_valid = Gauge(
    "mailwarren_sender_rules_valid", "Whether the rules file there is now is in force: 0 when it was refused", ["file"]
)
_rules_loaded = Gauge(
    "mailwarren_sender_rules_loaded_timestamp_seconds", "When the rules in force were loaded", ["file"]
)

# All sites without a row share one label value: a direct-to-MX sender meets any number of them.
_named_sites: frozenset[str] = frozenset()


def record_events(events: Iterable[Event]) -> None:
    """Events that the broker has confirmed."""
    attempts: Tally[tuple[str, str, str, str, str | None]] = Tally()
    for event in events:
        tried = event.tried
        if tried is None:
            continue
        lane = event.lane
        provider = tried.site if tried.site in _named_sites else "other"
        attempts[lane, shard_of(domain_of(event.to)), provider, event.kind, tried.bounce_class] += 1
        _seconds_of(_attempt_seconds, lane).observe(tried.duration)
        if event.accepted_at is None:
            continue
        waited = max(0.0, event.at - event.accepted_at)
        if event.kind is Kind.DELIVERED:
            _seconds_of(_accept_to_delivered, lane).observe(waited)
        if event.attempt == 1:
            _seconds_of(_accept_to_first, lane).observe(waited)
    for labels, count in attempts.items():
        _attempts_of(*labels).inc(count)


# labels() validates and locks; a mail needs four of them, and a process has few different ones.
@lru_cache(maxsize=4096)
def _attempts_of(lane: str, shard: str, provider: str, kind: str, bounce_class: str | None) -> Counter:
    return _attempts.labels(lane, shard, provider, kind, bounce_class or "none")


@lru_cache(maxsize=64)
def _seconds_of(histogram: Histogram, lane: str) -> Histogram:
    return histogram.labels(lane)


def record_parcel(lane: str, verdict: str) -> None:
    """A parcel was acked, handed back or found stale."""
    _parcels.labels(lane, verdict).inc()


def record_ladder(lane: str, wait: str) -> None:
    """A parcel was put on the ladder."""
    _ladder.labels(lane, wait).inc()


def record_settle(verdict: str) -> None:
    """The tracker (or its silence) answered for a delivery."""
    _settles.labels(verdict).inc()


def record_unsettled(lane: str, count: int) -> None:
    """Deliveries are sent although nobody answered."""
    _unsettled.labels(lane).inc(count)


def record_parked(reason: str) -> None:
    """A message went to ``mail.dead``: ``undecodable`` or ``error``."""
    _parked.labels(reason).inc()


def record_in_flight(count: int) -> None:
    """Deliveries being worked on."""
    _in_flight.set(count)


def record_exposed(count: int) -> None:
    """Outcomes that wait for the broker's confirm."""
    _exposed.set(count)


def record_connections(*, idle: int, busy: int, opened: int) -> None:
    """The SMTP pool."""
    _connections.labels("idle").set(idle)
    _connections.labels("busy").set(busy)
    _connections_opened.set(opened)


def record_epoch(epoch: int) -> None:
    """The consumer has a new broker connection."""
    _epoch.set(epoch)


def name_sites(names: frozenset[str]) -> None:
    """The sites that attempts are counted for by name, from now on."""
    global _named_sites  # noqa: PLW0603 - metrics are the process's own
    _named_sites = names


def record_rules_loaded(file: str) -> None:
    """``shaping`` or ``replies``: what lies there is in force."""
    _rules_valid.labels(file).set(1)
    _rules_loaded.labels(file).set_to_current_time()


def record_rules_refused(file: str) -> None:
    """``shaping`` or ``replies``: what lies there cannot be obeyed, the rules before it stay in force."""
    _rules_valid.labels(file).set(0)

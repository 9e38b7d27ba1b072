"""The tracker's Prometheus metrics: every one is declared here, and recorded through a function."""

import time
from collections import Counter as Tally
from collections.abc import Mapping

from prometheus_client import Counter, Gauge, Histogram

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.tracking import COUNTS
from mailwarren.store.states import ENDS, BreakerState, State
from mailwarren.tracker.domain.read import Source
from mailwarren.tracker.ports import Recorded

_messages = Counter("mailwarren_tracker_messages_total", "Messages acked, by what their queue carries", ["source"])
_accepted = Counter("mailwarren_tracker_accepted_total", "Deliveries whose acceptance was recorded", ["lane"])
_events = Counter("mailwarren_tracker_events_total", "Events recorded, each once", ["lane", "kind"])
_hits = Counter("mailwarren_tracker_hits_total", "Opens and clicks recorded, by how they count", ["lane", "kind"])
_repeated = Counter("mailwarren_tracker_events_repeated_total", "Events reported again that were recorded before")
_answers = Counter("mailwarren_tracker_answers_total", "Deliveries in settle answers, by verdict", ["verdict"])
_answers_lost = Counter("mailwarren_tracker_answers_lost_total", "Answers that could not be published")
_set_aside = Counter(
    "mailwarren_tracker_set_aside_total",
    "Messages that cannot be recorded, put into mail.dead but for those that came from there",
    ["source", "reason"],
)
# A counter that is born with its first count never grows in Prometheus' eyes: what alerts watch stands at 0 before.
for _source in Source:
    for _reason in ("undecodable", "refused"):
        _set_aside.labels(_source.name.lower(), _reason)
_retries = Counter("mailwarren_tracker_batch_retries_total", "Batches tried again because of the database")
_stale = Counter("mailwarren_tracker_batches_stale_total", "Batches left to the broker, which delivers them again")
_batch_rows = Histogram(
    "mailwarren_tracker_batch_rows",
    "Deliveries and events in a batch",
    buckets=(1, 3, 10, 30, 100, 300, 1000, 3000),
)
_batch_seconds = Histogram(
    "mailwarren_tracker_batch_seconds",
    "From the start of writing a batch to its ack",
    buckets=(0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 120),
)
_lag = Histogram(
    "mailwarren_tracker_lag_seconds",
    "Age of the oldest event of a batch when it is recorded",
    buckets=(0.05, 0.2, 1, 5, 15, 60, 300, 1800, 7200),
)
_accept_to_250 = Histogram(
    "mailwarren_tracker_accept_to_250_seconds",
    "From acceptance by the API to the 250 of the next hop, once per delivered delivery",
    ["lane"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 900, 3600),
)
_accept_to_250_of = {lane: _accept_to_250.labels(lane) for lane in Lane}
_in_hand = Gauge("mailwarren_tracker_in_hand_bytes", "Octets of the messages in hand when the last batch was acked")
_prefetch = Gauge("mailwarren_tracker_prefetch", "Messages in hand per queue, at most")
_open = Gauge("mailwarren_tracker_deliveries_open", "Deliveries without an end", ["lane", "state"])
_oldest = Gauge(
    "mailwarren_tracker_oldest_open_seconds",
    "Age of the oldest delivery without an end, unconfirmed ones left out",
    ["lane"],
)
_overdue = Gauge(
    "mailwarren_tracker_deliveries_overdue",
    "Deliveries accepted or deferred that have no end 10 minutes after the budget of their lane",
    ["lane"],
)
_webhooks = Gauge(
    "mailwarren_tracker_webhooks",
    "Webhooks that are live, failing (nothing came through since) or disabled",
    ["health"],
)
_webhooks_waiting = Gauge(
    "mailwarren_tracker_webhooks_waiting", "Events that a webhook has not been told yet, by its health", ["health"]
)
_webhooks_late = Gauge(
    "mailwarren_tracker_webhooks_late_seconds",
    "Since the event that waits longest for a webhook was due, by its health; 0 when none is",
    ["health"],
)
_breakers = Gauge(
    "mailwarren_tracker_breakers", "Tenants of whose mail too much bounces or draws complaints, by state", ["state"]
)
_breaker_steps = Counter("mailwarren_tracker_breaker_steps_total", "Changes of the state of a breaker", ["state"])
for _state in BreakerState:
    _breaker_steps.labels(_state)
_database_up = Gauge("mailwarren_tracker_database_up", "Whether the last use of the database worked")


def record_batch(recorded: Recorded) -> None:
    """A batch that is committed."""
    for cell, number in recorded.counts.items():
        if cell.kind == State.ACCEPTED:
            _accepted.labels(cell.lane).inc(number)
        elif cell.kind in COUNTS:
            _hits.labels(cell.lane, cell.kind).inc(number)
        else:
            _events.labels(cell.lane, cell.kind).inc(number)
    _repeated.inc(recorded.repeated)
    if recorded.events:
        _lag.observe(max(0.0, time.time() - min(event.at for event in recorded.events)))
    for event in recorded.delivered:
        if event.accepted_at is not None:
            _accept_to_250_of[event.lane].observe(max(0.0, event.at - event.accepted_at))
    for _, answer in recorded.answers:
        for verdict in answer.verdicts:
            _answers.labels(verdict).inc()


def record_acked(sources: Tally[Source], rows: int, seconds: float) -> None:
    """A batch whose messages are acked."""
    for source, number in sources.items():
        _messages.labels(source.name.lower()).inc(number)
    _batch_rows.observe(rows)
    _batch_seconds.observe(seconds)


def record_in_hand(octets: int, prefetch: int) -> None:
    """What is delivered and not acked, and how many messages of each queue may be."""
    _in_hand.set(octets)
    _prefetch.set(prefetch)


def record_answer_lost() -> None:
    """An answer was not published; the sender asks again."""
    _answers_lost.inc()


def record_set_aside(source: Source, reason: str) -> None:
    """A message is set aside; ``reason`` is ``undecodable`` or ``refused``."""
    _set_aside.labels(source.name.lower(), reason).inc()


def record_retry() -> None:
    """The database did not take a batch; it is tried again."""
    _retries.inc()


def record_stale() -> None:
    """A batch is left unacked, because its channel is gone or the process stops."""
    _stale.inc()


def record_database(*, up: bool) -> None:
    """The database worked, or did not."""
    _database_up.set(up)


def record_open(counts: dict[tuple[str, str], int], oldest: dict[str, float], overdue: dict[str, int]) -> None:
    """Deliveries without an end by (lane, state), the age in seconds of the oldest by lane, and the overdue by lane."""
    for lane in Lane:
        for state in State:
            if state not in ENDS:
                _open.labels(lane, state).set(counts.get((lane, state), 0))
        _oldest.labels(lane).set(oldest.get(lane, 0.0))
        _overdue.labels(lane).set(overdue.get(lane, 0))


def record_webhooks(endpoints: Mapping[str, int], waiting: Mapping[str, int], late: Mapping[str, float]) -> None:
    """The webhooks of all tenants, the events that wait for them, and for how long; each by ``health``."""
    for gauge, numbers in ((_webhooks, endpoints), (_webhooks_waiting, waiting), (_webhooks_late, late)):
        for health, number in numbers.items():
            gauge.labels(health).set(max(0.0, number))


def record_breakers(counts: dict[BreakerState, int]) -> None:
    """How many tenants are warned, and how many have their bulk mail paused."""
    for state, number in counts.items():
        _breakers.labels(state).set(number)


def record_breaker(state: BreakerState) -> None:
    """A tenant is in another state than before."""
    _breaker_steps.labels(state).inc()

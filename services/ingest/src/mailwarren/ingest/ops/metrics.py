"""Metrics of ``ingest worker`` and ``ingest scheduler``. Labels are bounded: works, results and kinds of rows."""

from collections.abc import Mapping

from prometheus_client import Counter, Gauge, Histogram

from mailwarren.contracts.order import Work
from mailwarren.ingest.domain.admission import FULL
from mailwarren.store.states import DomainState, PrivacyKind

_orders = Counter("mailwarren_ops_orders_total", "Orders by what came of a try.", ("work", "result"))
_seconds = Histogram(
    "mailwarren_ops_order_seconds",
    "Time that a try of an order took.",
    ("work",),
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000),
)
_running = Gauge("mailwarren_ops_orders_running", "Orders being carried out by this process.")
_set_aside = Counter("mailwarren_ops_set_aside_total", "Orders put into ops.dead, by reason.", ("reason",))
_forgotten = Counter("mailwarren_ops_forgotten_rows_total", "Rows deleted by retention, by kind.", ("kind",))
_heartbeat = Gauge("mailwarren_ops_heartbeat_timestamp_seconds", "When this worker last carried out a heartbeat.")
_released = Counter("mailwarren_ops_released_total", "Orders given to the workers by this scheduler.", ("work",))
_lateness = Histogram(
    "mailwarren_ops_release_lateness_seconds",
    "From when an order was due until it was released.",
    buckets=(0.5, 1, 2, 5, 15, 60, 300, 3600, 86400),
)
_consuming = Gauge("mailwarren_ops_consuming", "1 while this worker takes orders from the broker.")
_slots = Gauge("mailwarren_ops_slots", "Orders that this worker carries out at once, at most.")
_round = Gauge(
    "mailwarren_ops_round_timestamp_seconds", "When this scheduler last looked for what is due, to the end and well."
)
_overdue = Gauge(
    "mailwarren_ops_overdue_seconds", "Since a periodic job was due that has not been carried out; 0: none.", ("work",)
)
_done = Gauge(
    "mailwarren_ops_done_timestamp_seconds", "When a periodic job was last carried out well, by anybody.", ("work",)
)
_every = Gauge("mailwarren_ops_every_seconds", "Between two runs of a periodic job.", ("work",))
_waiting = Gauge("mailwarren_ops_scheduled_emails", "Scheduled emails, waiting for their time or held.", ("state",))
_imports = Gauge("mailwarren_ops_imports", "Imports of contacts that have not ended.", ("state",))
_import_still = Gauge(
    "mailwarren_ops_import_still_seconds", "Since the import last moved that has stood still longest; 0: none waits."
)
_import_rows = Counter("mailwarren_ops_import_rows_total", "Rows of imports, by what became of them.", ("result",))
_privacy = Gauge("mailwarren_ops_privacy_requests", "Exports and erasures that have not ended.", ("state",))
_privacy_late = Gauge(
    "mailwarren_ops_privacy_late_seconds", "Since an export or erasure was due that no worker has; 0: none is."
)
_privacy_ended = Counter("mailwarren_ops_privacy_ended_total", "Exports and erasures that were completed.", ("kind",))
_next_due = Gauge("mailwarren_ops_scheduled_next_due_timestamp_seconds", "When the next email is due; 0: none.")
_late = Gauge("mailwarren_ops_scheduled_late_seconds", "Since an email was due that has not been released; 0: none.")
_mail_lateness = Histogram(
    "mailwarren_ops_scheduled_lateness_seconds",
    "From when an email was due until the broker had it.",
    buckets=(0.5, 1, 2, 5, 15, 60, 300, 900, 3600),
)
_domains = Gauge("mailwarren_ops_domains", "Sending domains, by how it stands with their DNS records.", ("state",))
_broken = Gauge(
    "mailwarren_ops_domains_broken", "Sending domains that were verified and now lack a record, or have a wrong one."
)

_broadcasts = Gauge("mailwarren_ops_broadcasts", "Broadcasts that are on their way or wait, by state.", ("state",))
_broadcast_waited = Gauge(
    "mailwarren_ops_broadcast_waited_seconds", "For which a broadcast has waited for a worker; 0: none does."
)
_broadcast_recipients = Counter(
    "mailwarren_ops_broadcast_recipients_total", "Recipients of broadcasts that the broker confirmed."
)
_broadcast_start = Histogram(
    "mailwarren_ops_broadcast_start_seconds",
    "From when a broadcast was due until the broker had its first batch.",
    buckets=(0.25, 0.5, 1, 2, 5, 15, 60, 300, 3600),
)
_broadcast_waits = Counter(
    "mailwarren_ops_broadcast_waits_total", "Batches of broadcasts that had to wait for room, by reason.", ("reason",)
)

BROADCAST_STATES = ("scheduled", "held", "queued", "sending", "paused", "failed")
RESULTS = ("done", "repeated", "again", "failed")
REASONS = ("failed", "unreadable", "unknown")
KINDS = (
    "idempotency_keys", "emails", "deliveries", "contents", "stats", "metrics", "api_logs",
    "contact_values", "contact_properties",
    "contact_segments", "segments", "contact_topics", "topics",
    "scheduled_mail", "scheduled", "scheduled_contents", "broadcasts", "domains",
    "import_uploads", "import_files", "import_errors", "imports",
    "attachments", "blobs", "unsubscribes", "suppressions", "privacy_parts", "privacy_requests",
)  # fmt: skip
# A counter that is born with its first count never grows in Prometheus' eyes: what alerts watch stands at 0 before.
for _reason in REASONS:
    _set_aside.labels(_reason)
for _kind in KINDS:
    _forgotten.labels(_kind)
for _state in ("scheduled", "held"):
    _waiting.labels(_state)
for _state in ("queued", "in_progress"):
    _imports.labels(_state)
    _privacy.labels(_state)
for _privacy_kind in PrivacyKind:
    _privacy_ended.labels(_privacy_kind.value)
for _result in ("created", "updated", "skipped", "failed"):
    _import_rows.labels(_result)
for _state in BROADCAST_STATES:
    _broadcasts.labels(_state)
for _reason in FULL:
    _broadcast_waits.labels(_reason)
for _state in DomainState:
    _domains.labels(_state)
for _work in Work:
    _released.labels(_work)
    for _result in RESULTS:
        _orders.labels(_work, _result)


def record_started() -> None:
    """A try begins."""
    _running.inc()


def record_ended(work: str, result: str, seconds: float) -> None:
    """A try ended: done, repeated (done before), again (will be tried again) or failed."""
    _running.dec()
    _orders.labels(work, result).inc()
    _seconds.labels(work).observe(seconds)


def record_set_aside(reason: str) -> None:
    """An order is in ``ops.dead``."""
    _set_aside.labels(reason).inc()


def record_forgotten(kind: str, rows: int) -> None:
    """Retention deleted rows."""
    _forgotten.labels(kind).inc(rows)


def record_heartbeat() -> None:
    """Scheduler, broker, this worker and the database work together."""
    _heartbeat.set_to_current_time()


def record_released(work: str, late: float) -> None:
    """An order was given to the workers ``late`` seconds after it was due."""
    _released.labels(work).inc()
    _lateness.observe(max(0.0, late))


def record_scheduled(waiting: int, held: int, next_due: float, late: float) -> None:
    """How it stands with scheduled emails."""
    _waiting.labels("scheduled").set(waiting)
    _waiting.labels("held").set(held)
    _next_due.set(next_due)
    _late.set(late)


def record_imports(queued: int, in_progress: int, still: float) -> None:
    """How it stands with imports."""
    _imports.labels("queued").set(queued)
    _imports.labels("in_progress").set(in_progress)
    _import_still.set(still)


def record_import_rows(result: str, rows: int) -> None:
    """Rows of a batch that is written were created, updated, skipped or failed."""
    _import_rows.labels(result).inc(rows)


def record_privacy(queued: int, in_progress: int, late: float) -> None:
    """How it stands with exports and erasures."""
    _privacy.labels("queued").set(queued)
    _privacy.labels("in_progress").set(in_progress)
    _privacy_late.set(late)


def record_privacy_ended(kind: str) -> None:
    """An export or an erasure was completed."""
    _privacy_ended.labels(kind).inc()


def record_scheduled_release(late: float) -> None:
    """The broker has an email ``late`` seconds after it was due."""
    _mail_lateness.observe(max(0.0, late))


def record_broadcasts(states: Mapping[str, int], waited: float) -> None:
    """How many broadcasts are in each state, and how long the first has waited for a worker."""
    for state in BROADCAST_STATES:
        _broadcasts.labels(state).set(states.get(state, 0))
    _broadcast_waited.set(waited)


def record_broadcast_recipients(count: int) -> None:
    """The broker has so many more mails of broadcasts."""
    _broadcast_recipients.inc(count)


def record_broadcast_started(seconds: float) -> None:
    """The broker has the first batch of a broadcast so long after it was due."""
    _broadcast_start.observe(max(0.0, seconds))


def record_broadcast_wait(reason: str) -> None:
    """A batch found no room."""
    _broadcast_waits.labels(reason).inc()


def record_domains(states: Mapping[DomainState, int], broken: int) -> None:
    """How it stands with the sending domains."""
    for state in DomainState:
        _domains.labels(state).set(states.get(state, 0))
    _broken.set(broken)


def record_consuming(*, orders: bool) -> None:
    """This worker takes orders, or has no connection to do so."""
    _consuming.set(orders)


def record_slots(count: int) -> None:
    """So many orders at once."""
    _slots.set(count)


def record_round() -> None:
    """A scheduler has asked all of its sources."""
    _round.set_to_current_time()


def record_job(work: str, every: float, overdue: float, done_at: float | None) -> None:
    """How it stands with a periodic job; ``done_at`` None changes nothing."""
    _every.labels(work).set(every)
    _overdue.labels(work).set(overdue)
    if done_at is not None:
        _done.labels(work).set(done_at)

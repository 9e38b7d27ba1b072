"""Ingest's metrics. Labels are bounded: lanes, endpoint names, reasons and results from closed lists."""

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_requests = Histogram(
    "mailwarren_ingest_request_seconds",
    "Time to answer a request, by endpoint and status class.",
    ("endpoint", "status"),
    buckets=_LATENCY,
)
_accepted = Counter("mailwarren_ingest_accepted_deliveries_total", "Deliveries confirmed by the broker.", ("lane",))
_suppressed = Counter(
    "mailwarren_ingest_suppressed_deliveries_total", "Accepted deliveries to suppressed addresses.", ("lane",)
)
_refused = Counter("mailwarren_ingest_refused_total", "Requests refused, by the error's name.", ("reason",))
_no_room = Counter("mailwarren_ingest_no_room_total", "Emails not taken for want of room, by cause.", ("cause",))
_published = Counter("mailwarren_ingest_publishes_total", "Parcels published, by what the broker said.", ("result",))
_replayed = Counter("mailwarren_ingest_idempotent_total", "Keyed calls that were not the first.", ("what",))
_unchecked = Counter(
    "mailwarren_ingest_suppression_unchecked_total", "Requests accepted without a look at the suppression list."
)
_untold = Counter(
    "mailwarren_ingest_suppressions_untold_total", "Suppressed addresses that the senders could not be told of."
)
_hits = Counter(
    "mailwarren_ingest_hits_total", "Fetches of pixels and tracked links, by what they were.", ("kind", "what")
)
_hits_waiting = Gauge("mailwarren_ingest_hits_waiting", "Hits that the broker has not confirmed")
_hits_dropped = Counter("mailwarren_ingest_hits_dropped_total", "Hits given up because too many waited for the broker")
_followed = Counter("mailwarren_ingest_unsubscribe_links_total", "Links to unsubscribe, by what was done.", ("what",))
_scheduled = Counter("mailwarren_ingest_scheduled_emails_total", "Emails kept to be sent later.")
_unreported = Gauge("mailwarren_ingest_unconfirmed_waiting", "Unconfirmed deliveries not yet told to the tracker.")
_dropped = Counter("mailwarren_ingest_unconfirmed_dropped_total", "Such reports given up because too many waited.")
_depth = Gauge("mailwarren_ingest_send_depth", "Messages in the send queues, as ingest last read them.", ("lane",))
_tracker_depth = Gauge(
    "mailwarren_ingest_tracker_depth", "Messages that wait for the tracker, as ingest last read them."
)
_missing = Gauge("mailwarren_ingest_missing_queues", "Queues of the topology that do not exist.")
_unknown = Gauge(
    "mailwarren_ingest_unknown_depths", "Queues whose depth is not known, or too old to go by: they refuse nothing."
)
_keys_age = Gauge("mailwarren_ingest_keys_refreshed_timestamp_seconds", "When the API keys were last read.")

_attachments = Counter("mailwarren_ingest_attachments_total", "Attachments of calls, by what was done.", ("result",))
_attachment_octets = Counter("mailwarren_ingest_attachment_bytes_total", "Their bytes.", ("result",))
_blob_reads = Counter("mailwarren_ingest_blob_reads_total", "Blobs that senders asked for.", ("result",))
_domains_age = Gauge(
    "mailwarren_ingest_domains_refreshed_timestamp_seconds", "When the sending domains were last read."
)
_logs_written = Counter("mailwarren_ingest_api_logs_written_total", "Calls of the API that were kept.")
_logs_dropped = Counter(
    "mailwarren_ingest_api_logs_dropped_total", "Calls of the API that were not kept, because too many waited."
)
_key_reads = Counter("mailwarren_ingest_signing_key_reads_total", "Senders' requests for DKIM keys.", ("result",))

# A counter that is born with its first count never grows in Prometheus' eyes: what alerts watch stands at 0 before.
for _cause in ("broker_down", "broker_blocked", "broker_alarm", "tracker_backlog", "no_queue", "queue_full"):
    _no_room.labels(_cause)
for _what in ("shown", "one_click", "left", "saved", "refused"):
    _followed.labels(_what)
for _result in ("stored", "known", "failed"):
    _attachments.labels(_result)
for _result in ("read", "missing", "failed"):
    _blob_reads.labels(_result)
for _result in ("read", "missing", "no_database", "failed"):
    _key_reads.labels(_result)
for _result in ("confirmed", "not_stored", "unroutable", "unconfirmed"):
    _published.labels(_result)

# What every mail counts. The library takes a lock and looks its labels up each time; they are few, and stay.
_requests_of = cache(_requests.labels)
_accepted_of = cache(_accepted.labels)
_published_of = cache(_published.labels)


def record_request(endpoint: str, status: int, seconds: float) -> None:
    """A request was answered."""
    _requests_of(endpoint, f"{status // 100}xx").observe(seconds)


def record_accepted(lane: str, sent: int, suppressed: int) -> None:
    """Deliveries of a lane were confirmed."""
    _accepted_of(lane).inc(sent + suppressed)
    if suppressed:
        _suppressed.labels(lane).inc(suppressed)


def record_refused(reason: str) -> None:
    """A request was refused."""
    _refused.labels(reason).inc()


def record_logs_written(calls: int) -> None:
    """Calls were kept for people to look at."""
    _logs_written.inc(calls)


def record_log_dropped(calls: int = 1) -> None:
    """Calls were not."""
    _logs_dropped.inc(calls)


def record_attachment(result: str, size: int) -> None:
    """An attachment was ``stored``, its blob was ``known``, or it ``failed``."""
    _attachments.labels(result).inc()
    _attachment_octets.labels(result).inc(size)


def record_blob_read(result: str) -> None:
    """A sender asked for a blob: it was ``read``, ``missing``, or that ``failed``."""
    _blob_reads.labels(result).inc()


def record_no_room(cause: str, emails: int = 1) -> None:
    """Emails were not taken."""
    _no_room.labels(cause).inc(emails)


def record_publish(result: str) -> None:
    """The broker confirmed a parcel, or did not."""
    _published_of(result).inc()


def record_idempotent(what: str) -> None:
    """A keyed call was replayed, taken over, or refused."""
    _replayed.labels(what).inc()


def record_unchecked() -> None:
    """Addresses were not compared with the suppression list."""
    _unchecked.inc()


def record_untold(addresses: int) -> None:
    """The senders do not know that these are suppressed: what they have of their mail is sent."""
    _untold.inc(addresses)


def record_link(what: str) -> None:
    """A page was ``shown``; somebody left by ``one_click`` or on the page, ``saved`` a choice, or was ``refused``."""
    _followed.labels(what).inc()


def record_hit(kind: str, what: str) -> None:
    """A hit of a ``reader`` or with a flag; not recorded: ``head``, ``too_many``, ``refused`` (not signed here)."""
    _hits.labels(kind, what).inc()


def record_hits_waiting(waiting: int, dropped: int = 0) -> None:
    """So many hits wait; so many were given up."""
    _hits_waiting.set(waiting)
    if dropped:
        _hits_dropped.inc(dropped)


def record_scheduled(emails: int) -> None:
    """Emails were kept to be sent later."""
    _scheduled.inc(emails)


def record_unconfirmed(waiting: int, dropped: int = 0) -> None:
    """So many reports wait; so many were given up."""
    _unreported.set(waiting)
    if dropped:
        _dropped.inc(dropped)


def record_depths(lanes: dict[str, float], tracker: float, missing: int, unknown: int) -> None:
    """Queues were read."""
    for lane, depth in lanes.items():
        _depth.labels(lane).set(depth)
    _tracker_depth.set(tracker)
    _missing.set(missing)
    _unknown.set(unknown)


def record_keys_refreshed(now: float) -> None:
    """The API keys were read at ``now`` (Unix seconds)."""
    _keys_age.set(now)


def record_domains_refreshed(now: float) -> None:
    """The sending domains were read at ``now`` (Unix seconds)."""
    _domains_age.set(now)


def record_key_read(result: str) -> None:
    """A sender asked for the keys of a domain: read, missing, no_database, or failed (they cannot be decrypted)."""
    _key_reads.labels(result).inc()

"""The sender's Prometheus metrics: every one is declared here, and recorded through a function."""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import islice
from typing import Protocol

from prometheus_client import Counter, Gauge, Histogram

from mailwarren.contracts.events import Event, Kind
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.routing import domain_of
from mailwarren.contracts.shaping import Override, Scope
from mailwarren.contracts.shards import shard_of
from mailwarren.contracts.tls import TlsPolicy, TlsSession
from mailwarren.runtime.metrics import record_service

record_service("sender")

MOST_PROVIDERS = 60
"""Sites that are a label of their own; what is beyond shares ``other`` with all unnamed ones. An operator may name 500,
and each costs series for every lane."""
OTHER = "other"

_LATENCY = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400)

_attempts = Counter(
    "mailwarren_sender_attempts_total",
    "Attempts by what they led to",
    ["lane", "shard", "provider", "result", "bounce_class"],
)
_blobs = Counter("mailwarren_sender_attachments_total", "Attachments wanted, and tries to fetch them", ["result"])
_blob_cache = Gauge("mailwarren_sender_attachment_cache_bytes", "Size of the folder of cached attachments")
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
    ["lane", "provider"],
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300),
)
_parcels = Counter("mailwarren_sender_parcels_total", "Parcels by how they were finished with", ["lane", "verdict"])
_ladder = Counter("mailwarren_sender_ladder_total", "Parcels put on the ladder", ["lane", "wait"])
_settles = Counter("mailwarren_sender_settle_total", "Deliveries asked about, by the answer", ["verdict"])
_unsettled = Counter("mailwarren_sender_sent_unsettled_total", "Deliveries sent after patience ended", ["lane"])
_split = Counter(
    "mailwarren_sender_parcels_split_total", "Parcels that came back so often that their mails go on apart", ["lane"]
)
_settle_seconds = Histogram(
    "mailwarren_sender_settle_seconds",
    "From a question to the tracker to its answer, or to the end of the wait for one",
    ["answered"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_parked = Counter("mailwarren_sender_parked_total", "Messages put into mail.dead", ["reason"])
_tls_sessions = Counter(
    "mailwarren_sender_tls_sessions_total",
    "Negotiations of TLS with mail hosts of recipients' domains, by whose rule held and how they ended",
    ["policy", "result"],
)
_tls_broken = Gauge(
    "mailwarren_sender_tls_broken_hosts",
    "Mail hosts that are spoken to in the clear for a time because their handshakes broke and nothing requires TLS",
)
_sts_fetches = Counter("mailwarren_sender_sts_fetches_total", "MTA-STS policies fetched, by how that went", ["result"])
# A counter that is born with its first count never grows in Prometheus' eyes: what alerts watch stands at 0 before.
for _lane in Lane:
    _unsettled.labels(_lane)
    _split.labels(_lane)
for _answered in ("yes", "no"):
    _settle_seconds.labels(_answered)
for _reason in ("undecodable", "error", "poison"):
    _parked.labels(_reason)
for _result in ("ok", "sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid"):
    _sts_fetches.labels(_result)
for _policy in TlsPolicy:
    _tls_sessions.labels(_policy.value, "ok")
for _result in ("cached", "fetched", "missing", "away"):
    _blobs.labels(_result)
_info = Gauge("mailwarren_sender_info", "1, with what this sender consumes", ["fleet", "lanes", "shards"])
_prefetch = Gauge("mailwarren_sender_prefetch", "Parcels that this sender holds of each queue, at most")
_queues = Gauge("mailwarren_sender_queues", "Queues that this sender consumes")
_parcels_open = Gauge("mailwarren_sender_parcels_open", "Parcels taken from the broker and not yet acked")
_in_flight = Gauge("mailwarren_sender_in_flight", "Deliveries being worked on")
_in_flight_limit = Gauge("mailwarren_sender_in_flight_limit", "Deliveries that this sender works on at once, at most")
_exposed = Gauge(
    "mailwarren_sender_exposed",
    "Mails answered by the next hop whose outcome the broker has not confirmed: sent twice if this process dies now",
)
_connections = Gauge("mailwarren_sender_smtp_connections", "Open SMTP connections", ["state", "provider"])
_waiting = Gauge("mailwarren_sender_smtp_waiting", "Mails that wait for an SMTP connection", ["provider"])
_opened = Counter("mailwarren_sender_smtp_connections_opened_total", "SMTP sessions set up", ["provider"])
_refused = Counter("mailwarren_sender_smtp_dials_failed_total", "Hosts that gave no SMTP session", ["provider"])
_epoch = Gauge("mailwarren_sender_epoch", "Broker connections of the consumer so far")

_rules_valid = Gauge(
    "mailwarren_sender_rules_valid", "Whether the rules file there is now is in force: 0 when it was refused", ["file"]
)
_rules_loaded = Gauge(
    "mailwarren_sender_rules_loaded_timestamp_seconds", "When the rules in force were loaded", ["file"]
)

_overrides = Gauge(
    "mailwarren_sender_overrides",
    "Limits in force for a time, by what they are about, what they do and who put them there",
    ["scope", "kind", "cause", "provider"],
)
_actions = Counter(
    "mailwarren_sender_rule_actions_total", "Limits that a reply rule put in force at this sender", ["rule", "action"]
)

# By site. All sites without a row share one label value: a direct-to-MX sender meets any number of them.
_providers: dict[str, str] = {}
_overrides_shown: set[tuple[str, str, str, str]] = set()

PERSON = "person"
"""What the cause of an override that a person made begins with."""


def record_events(events: Iterable[Event]) -> None:
    """Events that the broker has confirmed."""
    attempts: Tally[tuple[str, str, str, str, str | None]] = Tally()
    for event in events:
        tried = event.tried
        if tried is None:
            continue
        lane = event.lane
        provider = _providers.get(tried.site, OTHER)
        attempts[lane, shard_of(domain_of(event.to)), provider, event.kind, tried.bounce_class] += 1
        _attempt_seconds_of(lane, provider).observe(tried.duration)
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


@lru_cache(maxsize=256)
def _attempt_seconds_of(lane: str, provider: str) -> Histogram:
    return _attempt_seconds.labels(lane, provider)


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


def record_settle_round(seconds: float, *, answered: bool) -> None:
    """A question was answered, or nobody answered in time."""
    _settle_seconds.labels("yes" if answered else "no").observe(seconds)


def record_split(lane: str) -> None:
    """The mails of a parcel that may kill senders go on apart."""
    _split.labels(lane).inc()


def record_blob(result: str) -> None:
    """An attachment was ``cached``, ``fetched``, ``missing`` or (a try) ``away``."""
    _blobs.labels(result).inc()


def record_blob_cache(octets: int) -> None:
    """What the folder of attachments holds."""
    _blob_cache.set(octets)


def record_unsettled(lane: str, count: int) -> None:
    """Deliveries are sent although nobody answered."""
    _unsettled.labels(lane).inc(count)


def record_parked(reason: str) -> None:
    """A message went to ``mail.dead``: ``undecodable``, ``error`` or ``poison``."""
    _parked.labels(reason).inc()


def record_in_flight(deliveries: int, parcels: int) -> None:
    """Deliveries being worked on, and parcels in hand."""
    _in_flight.set(deliveries)
    _parcels_open.set(parcels)


def show_exposed(count: Callable[[], int]) -> None:
    """How many outcomes wait for the broker's confirm, asked at each scrape: it changes within milliseconds."""
    _exposed.set_function(count)


class Site(Protocol):
    """What the SMTP pool says of a site."""

    @property
    def name(self) -> str:
        """The site's."""

    @property
    def idle(self) -> int:
        """Connections that wait for mail."""

    @property
    def busy(self) -> int:
        """Connections at work."""

    @property
    def waiting(self) -> int:
        """Mails that wait for a connection."""


def record_sites(sites: Iterable[Site]) -> None:
    """The SMTP pool as it is now."""
    idle: Tally[str] = Tally()
    busy: Tally[str] = Tally()
    waiting: Tally[str] = Tally()
    for site in sites:
        provider = _providers.get(site.name, OTHER)
        idle[provider] += site.idle
        busy[provider] += site.busy
        waiting[provider] += site.waiting
    # A site that is no longer used is not among them, and has none.
    for provider in _providers_shown():
        _show_site(provider, idle[provider], busy[provider], waiting[provider])


def _show_site(provider: str, idle: int, busy: int, waiting: int) -> None:
    _connections.labels("idle", provider).set(idle)
    _connections.labels("busy", provider).set(busy)
    _waiting.labels(provider).set(waiting)


def record_dials(opened: Mapping[str, int], failed: Mapping[str, int]) -> None:
    """By site, since the last time: sessions set up, and hosts that gave none."""
    for counter, counts in ((_opened, opened), (_refused, failed)):
        for site, count in counts.items():
            counter.labels(_providers.get(site, OTHER)).inc(count)


def record_sessions(sessions: Iterable[TlsSession]) -> None:
    """Negotiations of TLS that attempts tell of; the results are those of RFC 8460, ``ok`` when it went well."""
    for session in sessions:
        _tls_sessions.labels(session.policy.value, session.result or "ok").inc()


def record_broken_tls(hosts: int) -> None:
    """Hosts whose TLS is remembered as broken."""
    _tls_broken.set(hosts)


def record_sts_fetch(result: str) -> None:
    """A policy was fetched: ``ok``, or the result type of RFC 8460 that says why not."""
    _sts_fetches.labels(result).inc()


def record_overrides(overrides: Iterable[Override]) -> None:
    """What is in force now, at all senders."""
    counts: Tally[tuple[str, str, str, str]] = Tally()
    for one in overrides:
        # Not who it was, of persons: there may be any number.
        cause = PERSON if one.cause.startswith(f"{PERSON}:") else one.cause
        provider = _providers.get(one.name, OTHER) if one.scope is Scope.SITE else ""
        counts[one.scope, "suspend" if one.suspend else "limit", cause, provider] += 1
    for gone in _overrides_shown - counts.keys():
        _overrides.remove(*gone)
    _overrides_shown.clear()
    for labels, count in counts.items():
        _overrides_shown.add(labels)
        _overrides.labels(*labels).set(count)


def record_action(rule: str, action: str) -> None:
    """A reply rule of this bounce class did something: ``suspend``, ``suspend_tenant`` or ``limit``."""
    _actions.labels(rule, action).inc()


def record_epoch(epoch: int) -> None:
    """The consumer has a new broker connection."""
    _epoch.set(epoch)


def name_sites(names: Iterable[str]) -> None:
    """The sites that are counted by name, from now on: the first :data:`MOST_PROVIDERS` of them."""
    global _providers  # noqa: PLW0603 - metrics are the process's own
    before = _providers
    _providers = {name: name for name in islice(names, MOST_PROVIDERS)}
    for gone in before.keys() - _providers.keys():
        _show_site(gone, 0, 0, 0)
    for provider in _providers_shown():
        _opened.labels(provider)
        _refused.labels(provider)


def _providers_shown() -> set[str]:
    return {*_providers, OTHER}


def record_fleet(fleet: str, lanes: Iterable[str], shards: Iterable[str], queues: int) -> None:
    """Which fleet this sender belongs to, and what of the mail is its own."""
    _info.labels(fleet, ",".join(lanes), ",".join(shards)).set(1)
    _queues.set(queues)


def record_limits(prefetch: int, in_flight: int) -> None:
    """How much this sender takes at most: parcels of each queue, and deliveries at once."""
    _prefetch.set(prefetch)
    _in_flight_limit.set(in_flight)


def record_rules_loaded(file: str) -> None:
    """``shaping`` or ``replies``: what lies there is in force."""
    _rules_valid.labels(file).set(1)
    _rules_loaded.labels(file).set_to_current_time()


def record_rules_refused(file: str) -> None:
    """``shaping`` or ``replies``: what lies there cannot be obeyed, the rules before it stay in force."""
    _rules_valid.labels(file).set(0)

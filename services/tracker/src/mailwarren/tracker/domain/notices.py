"""Which webhooks are told of what a batch records, and in which words (pure)."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from mailwarren.contracts.events import Event, Kind
from mailwarren.contracts.parcel import Delivery, Parcel
from mailwarren.contracts.payloads import moment_text
from mailwarren.contracts.tracking import Hit, HitKind
from mailwarren.contracts.webhooks import EventType
from mailwarren.tracker.domain.hits import Seen
from mailwarren.tracker.domain.suppression import Suppressed, Suppression

TYPES: Mapping[Kind, EventType] = {
    Kind.DELIVERED: EventType.EMAIL_DELIVERED,
    Kind.DEFERRED: EventType.EMAIL_DELIVERY_DELAYED,
    Kind.BOUNCED: EventType.EMAIL_BOUNCED,
    Kind.FAILED: EventType.EMAIL_FAILED,
    Kind.EXPIRED: EventType.EMAIL_FAILED,
    Kind.SUPPRESSED: EventType.EMAIL_SUPPRESSED,
}
"""What an event is called outside. The others are between us and the operators."""

HITS: Mapping[HitKind, EventType] = {
    HitKind.OPENED: EventType.EMAIL_OPENED,
    HitKind.CLICKED: EventType.EMAIL_CLICKED,
}
"""The same of opens and clicks."""

SUPPRESSED = "The address is on the suppression list: nothing was sent."
EXPIRED = "No server took it before its time ran out."


class Subscription(NamedTuple):
    """An endpoint, and what it wants to be told of."""

    endpoint: UUID
    kinds: frozenset[str]


Subscriptions = Mapping[UUID, Sequence[Subscription]]
"""The enabled endpoints of tenants that have any."""


class Notice(NamedTuple):
    """One event for one endpoint. ``id`` is the same for all endpoints that are told of the event."""

    tenant: UUID
    endpoint: UUID
    id: UUID
    kind: EventType
    at: float
    data: dict[str, Any]
    email_id: UUID | None


class News(Protocol):
    """What a batch changed."""

    taken: list[tuple[Parcel, Delivery]]
    """Deliveries whose acceptance was new."""
    events: list[Event]
    """Those that were new."""
    suppressed: list[Suppressed]
    """New entries of suppression lists."""


def notices_of(news: News, subscriptions: Subscriptions, new: Callable[[], UUID]) -> Iterator[Notice]:
    """What the webhooks are told of a batch.

    Args:
        news: what it changed.
        subscriptions: who wants to hear of what.
        new: makes ids, each greater than the one before.
    """
    for parcel, delivery in news.taken:
        found = subscriptions.get(parcel.tenant)
        if found and (endpoints := _wanting(EventType.EMAIL_SENT, found)):
            ident, data = new(), {"to": [delivery.to]}
            for endpoint in endpoints:
                yield Notice(
                    parcel.tenant, endpoint, ident, EventType.EMAIL_SENT, parcel.accepted_at, data, delivery.email_id
                )
    for event in news.events:
        found = subscriptions.get(event.tenant)
        if found and (kind := _type(event)) and (endpoints := _wanting(kind, found)):
            ident, data = new(), {"to": [event.to], **_details(event)}
            for endpoint in endpoints:
                yield Notice(event.tenant, endpoint, ident, kind, event.at, data, event.email_id)
    for ident, entry in news.suppressed:
        added = EventType.SUPPRESSION_ADDED
        if (found := subscriptions.get(entry.tenant)) and (endpoints := _wanting(added, found)):
            event_id, data = new(), _suppression(ident, entry)
            for endpoint in endpoints:
                yield Notice(entry.tenant, endpoint, event_id, added, entry.at, data, None)


def hit_notices_of(seen: Iterable[Seen], subscriptions: Subscriptions, new: Callable[[], UUID]) -> Iterator[Notice]:
    """What the webhooks are told of opens and clicks: of those that count; arguments as :func:`notices_of`."""
    for one in seen:
        hit, kind = one.hit, HITS[one.hit.kind]
        found = subscriptions.get(hit.tenant)
        if found and one.counts and (endpoints := _wanting(kind, found)):
            ident, data = new(), {"to": [one.to], **_click(hit)}
            for endpoint in endpoints:
                yield Notice(hit.tenant, endpoint, ident, kind, hit.at, data, hit.email_id)


def _click(hit: Hit) -> dict[str, Any]:
    if hit.kind is not HitKind.CLICKED:
        return {}
    at = moment_text(datetime.fromtimestamp(hit.at, UTC))
    # Empty where it is not kept: the SDKs' types have a text there.
    return {"click": {"ipAddress": hit.ip or "", "link": hit.link or "", "timestamp": at, "userAgent": hit.agent}}


def _wanting(kind: EventType, subscriptions: Sequence[Subscription]) -> list[UUID]:
    return [one.endpoint for one in subscriptions if kind in one.kinds]


def _suppression(ident: UUID, entry: Suppression) -> dict[str, Any]:
    at = datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "id": str(ident),
        "email": entry.address,
        "origin": entry.origin.value,
        "source_id": str(entry.email_id),
        "created_at": at,
    }


def _type(event: Event) -> EventType | None:
    if event.kind is Kind.DEFERRED and event.attempt > 1:
        # A mail that waits for a day is deferred twenty times: who has heard of it once knows.
        return None
    return TYPES.get(event.kind)


def _details(event: Event) -> dict[str, Any]:
    match event.kind:
        case Kind.BOUNCED:
            return {"bounce": _bounce(event)}
        case Kind.FAILED:
            return {"failed": {"reason": _why(event) or "It could not be sent."}}
        case Kind.EXPIRED:
            said = _why(event)
            return {"failed": {"reason": f"{EXPIRED} The last server said: {said}" if said else EXPIRED}}
        case Kind.SUPPRESSED:
            return {"suppressed": {"message": SUPPRESSED, "type": "Suppressed"}}
        case _:
            return {}


def _bounce(event: Event) -> dict[str, str]:
    tried = event.tried
    found = {
        "message": _why(event) or "The server refused it.",
        "type": "Permanent",
        "subType": (tried and tried.bounce_class) or "General",
    }
    if tried is not None and (reply := tried.reply) is not None:
        words = (str(reply.code), reply.enhanced or "", reply.text)
        found["diagnosticCode"] = f"smtp; {' '.join(filter(None, words))}"
    return found


def _why(event: Event) -> str:
    """What the server said, or else we."""
    if event.tried is not None:
        if event.tried.reply is not None and event.tried.reply.text:
            return event.tried.reply.text
        if event.tried.trouble:
            return event.tried.trouble
    return event.reason or ""

"""Which webhooks are told of what a batch records, and in which words (pure)."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from mailwarren.contracts.events import Event, Kind
from mailwarren.contracts.parcel import Delivery, Parcel
from mailwarren.contracts.webhooks import EventType

TYPES: Mapping[Kind, EventType] = {
    Kind.DELIVERED: EventType.EMAIL_DELIVERED,
    Kind.DEFERRED: EventType.EMAIL_DELIVERY_DELAYED,
    Kind.BOUNCED: EventType.EMAIL_BOUNCED,
    Kind.FAILED: EventType.EMAIL_FAILED,
    Kind.EXPIRED: EventType.EMAIL_FAILED,
    Kind.SUPPRESSED: EventType.EMAIL_SUPPRESSED,
}
"""What an event is called outside. The others are between us and the operators."""

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
    email_id: UUID


def notices_of(
    taken: Iterable[tuple[Parcel, Delivery]],
    events: Iterable[Event],
    subscriptions: Subscriptions,
    new: Callable[[], UUID],
) -> Iterator[Notice]:
    """What the webhooks are told of a batch.

    Args:
        taken: deliveries whose acceptance was new.
        events: those that were new.
        subscriptions: who wants to hear of what.
        new: makes ids, each greater than the one before.
    """
    for parcel, delivery in taken:
        found = subscriptions.get(parcel.tenant)
        if found and (endpoints := _wanting(EventType.EMAIL_SENT, found)):
            ident, data = new(), {"to": [delivery.to]}
            for endpoint in endpoints:
                yield Notice(
                    parcel.tenant, endpoint, ident, EventType.EMAIL_SENT, parcel.accepted_at, data, delivery.email_id
                )
    for event in events:
        found = subscriptions.get(event.tenant)
        if found and (kind := _type(event)) and (endpoints := _wanting(kind, found)):
            ident, data = new(), {"to": [event.to], **_details(event)}
            for endpoint in endpoints:
                yield Notice(event.tenant, endpoint, ident, kind, event.at, data, event.email_id)


def _wanting(kind: EventType, subscriptions: Sequence[Subscription]) -> list[UUID]:
    return [one.endpoint for one in subscriptions if kind in one.kinds]


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

"""What a sender tells of its work in debug logs and spans."""

import logging

import structlog

from mailwarren.contracts.events import Kind
from mailwarren.contracts.parcel import Parcel
from mailwarren.runtime import tracing
from mailwarren.sender.incoming import Incoming
from mailwarren.sender.transmit import Tried

log = structlog.get_logger()


def describe(span: tracing.Span, parcel: Parcel, incoming: Incoming) -> None:
    """The parcel that a span is about."""
    span.tell(
        messaging__system="rabbitmq",
        messaging__operation__type="process",
        messaging__destination__name=incoming.queue,
        messaging__batch__message_count=len(parcel.deliveries),
        mailwarren__parcel_id=str(parcel.id),
        mailwarren__lane=str(parcel.lane),
        mailwarren__attempt=parcel.attempt,
    )


def tell_attempt(span: tracing.Span, tried: Tried) -> None:
    """What an attempt came to. A line for each mail is for days on which somebody looks for one."""
    if not (tracing.recording() or log.is_enabled_for(logging.DEBUG)):
        return
    attempt = tried.attempt
    known: dict[str, str | int] = {
        "kind": str(tried.kind),
        "delivery_id": str(tried.delivery.id),
        "email_id": str(tried.delivery.email_id),
    }
    if attempt is not None:
        known |= {"attempt": attempt.number, "site": attempt.site}
        if attempt.reply is not None:
            known["code"] = attempt.reply.code
    log.debug("sender.attempt.ended", **known)
    span.tell(**{f"mailwarren__{name}": value for name, value in known.items()})
    if tried.kind is not Kind.DELIVERED:
        span.fail(str(tried.kind))

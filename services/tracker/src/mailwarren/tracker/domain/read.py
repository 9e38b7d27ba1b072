"""From a message of a queue to what the ledger has to do with it."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from mailwarren.contracts import codec
from mailwarren.contracts.events import Cancel, Event, Kind, Outcomes
from mailwarren.contracts.ids import event_id
from mailwarren.contracts.parcel import Attempt, Delivery, Parcel, Wait
from mailwarren.contracts.settle import Question
from mailwarren.contracts.shaping import Override, OverrideEnd
from mailwarren.contracts.tracking import Hit, Hits
from mailwarren.tracker.domain.fold import Report

REASON = "mw-reason"
FROM = "mw-from"
KEY = "mw-key"
EXCHANGE = "mw-exchange"


class Source(Enum):
    """What a queue carries."""

    ACCEPTED = auto()
    """Parcels as ingest published them."""
    EVENTS = auto()
    """Outcomes, deferred parcels, questions, cancels and hits of a partition, in order."""
    DEAD = auto()
    """Copies of what was set aside in ``mail.dead``."""
    SHAPING = auto()
    """Overrides, their ends and slot plans, as they stand in the control log."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message as a queue delivered it; ``tag`` acks it on the channel of ``epoch`` only."""

    source: Source
    queue: str
    body: bytes
    headers: Mapping[str, Any]
    exchange: str = ""
    key: str = ""
    tag: int = 0
    epoch: int = 0


@dataclass(slots=True)
class Work:
    """What one message asks for; empty for a message that is only passing."""

    message: Message
    acceptance: Parcel | None = None
    reports: list[Report] = field(default_factory=list)
    question: Question | None = None
    cancel: Cancel | None = None
    override: Override | OverrideEnd | None = None
    hits: tuple[Hit, ...] = ()

    @property
    def rows(self) -> int:
        """How much of a batch it is."""
        return max(1, len(self.reports), len(self.hits), len(self.acceptance.deliveries) if self.acceptance else 0)


def read(message: Message, now: float, ours: Container[str] = ()) -> Work:
    """The work in a message.

    Args:
        message: from any queue of the tracker.
        now: Unix seconds, the time of a parking that the message does not tell.
        ours: the tracker's own queues: what the tracker itself set aside is no parked mail, because another copy of
            the parcel travels on.

    Raises:
        Undecodable: not a message of ours.
        NewerVersion: written by a version that knows more.
    """
    match message.source:
        case Source.ACCEPTED:
            return _accepted(message)
        case Source.EVENTS:
            return _event(message)
        case Source.DEAD:
            return _dead(message, now, ours)
        case Source.SHAPING:
            return _shaping(message)


def _accepted(message: Message) -> Work:
    parcel = codec.decode_parcel(message.body, message.headers)
    work = Work(message, acceptance=parcel)
    for delivery in parcel.deliveries:
        if delivery.suppressed:
            work.reports.append(_report(parcel, delivery, Kind.SUPPRESSED, parcel.accepted_at))
    return work


def _event(message: Message) -> Work:
    if codec.is_parcel(message.headers):
        return _deferred(message)
    value = codec.decode_tracker(message.body, message.headers)
    if isinstance(value, Outcomes):
        return Work(message, reports=[Report(event) for event in value.events])
    if isinstance(value, Hits):
        return Work(message, hits=value.hits)
    if isinstance(value, Question):
        return Work(message, question=value)
    return Work(message, cancel=value)


def _deferred(message: Message) -> Work:
    parcel = codec.decode_parcel(message.body, message.headers)
    work = Work(message)
    if parcel.wait is not Wait.DEFERRED:
        return work
    for delivery in parcel.deliveries:
        if delivery.suppressed:
            continue
        if delivery.last is None:
            raise codec.Undecodable("a deferral that does not tell its attempt")
        work.reports.append(_deferral(parcel, delivery, delivery.last))
    return work


def _deferral(parcel: Parcel, delivery: Delivery, last: Attempt) -> Report:
    event = Event(
        id=event_id(delivery.id, last.number, Kind.DEFERRED),
        kind=Kind.DEFERRED,
        delivery=delivery.id,
        email_id=delivery.email_id,
        tenant=parcel.tenant,
        lane=parcel.lane,
        to=delivery.to,
        at=last.at,
        attempt=last.number,
        tried=last,
        accepted_at=parcel.accepted_at,
        trace=parcel.trace,
    )
    return Report(event, parcel.not_before)


def _dead(message: Message, now: float, ours: Container[str]) -> Work:
    work = Work(message)
    if message.headers.get(FROM) in ours or not codec.is_parcel(message.headers):
        return work
    parcel = codec.decode_parcel(message.body, message.headers)
    reason = _reason(message.headers)
    for delivery in parcel.deliveries:
        if not delivery.suppressed:
            work.reports.append(_report(parcel, delivery, Kind.PARKED, now, attempt=parcel.attempt, reason=reason))
    return work


def _shaping(message: Message) -> Work:
    entry = codec.decode_control(message.body, message.headers)
    # How many slots a site has is between the senders.
    return Work(message, override=entry if isinstance(entry, Override | OverrideEnd) else None)


def _reason(headers: Mapping[str, Any]) -> str | None:
    """Why a message was set aside: in our words, or in the broker's (``x-first-death-reason``)."""
    reason = headers.get(REASON) or headers.get("x-first-death-reason")
    return None if reason is None else str(reason)


def _report(
    parcel: Parcel, delivery: Delivery, kind: Kind, at: float, *, attempt: int = 0, reason: str | None = None
) -> Report:
    return Report(
        Event(
            id=event_id(delivery.id, attempt, kind),
            kind=kind,
            delivery=delivery.id,
            email_id=delivery.email_id,
            tenant=parcel.tenant,
            lane=parcel.lane,
            to=delivery.to,
            at=at,
            attempt=attempt,
            reason=reason,
            accepted_at=parcel.accepted_at,
            trace=parcel.trace,
        )
    )

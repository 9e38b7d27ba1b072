"""Events: what the senders and the API report to the tracker, one closed union.

The annotated list for readers is ``docs/delivery-event.md``; a test keeps it in step with :class:`Kind`.
"""

from enum import StrEnum
from uuid import UUID

import msgspec

from mailwarren.contracts.egress import Reservation
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Attempt
from mailwarren.contracts.settle import Question
from mailwarren.contracts.shaping import Override, OverrideEnd, SlotPlan
from mailwarren.contracts.tracking import Hits


class Kind(StrEnum):
    """What happened to a delivery."""

    STARTED = "started"
    """About to write mail data, reported only for mail whose ``on_unknown`` is not ``resend``."""
    DEFERRED = "deferred"
    """Tried, will be tried again."""
    DELIVERED = "delivered"
    """The next hop answered 250 to the final dot."""
    BOUNCED = "bounced"
    """Refused for good by a named rule."""
    FAILED = "failed"
    """Refused otherwise, could not be built, or withdrawn by us."""
    EXPIRED = "expired"
    """Its time ran out without a yes."""
    CANCELED = "canceled"
    """Withdrawn by a person before it was sent."""
    SUPPRESSED = "suppressed"
    """Not sent: the address is on the suppression list."""
    HELD = "held"
    """Outcome unknown after a crash, and the mail asked for a person to decide."""
    PARKED = "parked"
    """In ``mail.dead`` for a person."""
    UNCONFIRMED = "unconfirmed"
    """The broker did not confirm the acceptance; a sender's event overrides this."""


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that happened to one delivery. ``at`` and ``accepted_at`` are Unix seconds.

    ``suppress`` is the sender's reading that the address does not exist (an invalid-recipient bounce).
    ``attempt`` is 0 when nothing was tried. ``reason`` is for people. ``trace`` is a ``traceparent``, as in the parcel.
    """

    id: UUID
    kind: Kind
    delivery: UUID
    email_id: UUID
    tenant: UUID
    lane: Lane
    to: str
    at: float
    attempt: int = 0
    tried: Attempt | None = None
    reason: str | None = None
    suppress: bool = False
    accepted_at: float | None = None
    trace: str | None = None


class Outcomes(msgspec.Struct, frozen=True, tag="outcomes"):
    """A batch of events of one partition: one AMQP message."""

    events: tuple[Event, ...]


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """A person withdraws an email. Reaches every sender through the control log, and the tracker's partition."""

    email_id: UUID
    tenant: UUID
    at: float


class CancelBroadcast(msgspec.Struct, frozen=True, tag="cancel_broadcast"):
    """A person withdraws a broadcast: one entry of the control log for all mail of it that has not been sent."""

    broadcast: UUID
    tenant: UUID
    at: float


class Suppress(msgspec.Struct, frozen=True, omit_defaults=True, tag="suppress"):
    """Somebody decided that an address (lower case), and ``more`` of them, get none of a tenant's mail.

    With a ``topic`` only none about it; with :data:`~mailwarren.contracts.unsubscribe.LISTS` none that goes to lists.
    ``until`` (Unix seconds) is when it ends, if ever. ``removed``: they get it again.
    """

    tenant: UUID
    address: str
    at: float
    topic: UUID | None = None
    until: float | None = None
    removed: bool = False
    more: tuple[str, ...] = ()


class Marker(msgspec.Struct, frozen=True, tag="marker"):
    """Written into the control log by a starting sender, which has read the log when it meets its own marker."""

    nonce: UUID


ControlEntry = Cancel | CancelBroadcast | Suppress | Marker | Override | OverrideEnd | SlotPlan | Reservation
"""What stands in the control log. A release that does not know an entry passes over it with a warning."""

TrackerMessage = Outcomes | Question | Cancel | Hits
"""What reaches the tracker through an event partition, beside deferred parcels."""

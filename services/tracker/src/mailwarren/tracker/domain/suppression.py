"""Which events put an address on the suppression list of their tenant."""

from typing import NamedTuple
from uuid import UUID

import msgspec

from mailwarren.contracts.address_key import address_key
from mailwarren.contracts.events import Event, Kind
from mailwarren.store.states import Origin

UNCLASSIFIED = "invalid_recipient"
"""The reason when the sender named no bounce class."""

FULL = "quota"
"""The bounce class of a mailbox that is full."""
FULL_TIMES = 3
FULL_WITHIN = 7 * 86400.0
"""Seconds: a mailbox that was full so many times within them is one that nobody reads any more."""
FULL_HOLDS = 30 * 86400.0
"""Seconds for which it then gets no mail: unlike an address that does not exist, it may be emptied."""


class Suppression(msgspec.Struct, frozen=True):
    """An entry of the list; ``at`` in Unix seconds, ``address`` is a key (:mod:`mailwarren.contracts.address_key`)."""

    tenant: UUID
    address: str
    reason: str
    origin: Origin
    email_id: UUID
    at: float


class Suppressed(NamedTuple):
    """A new entry, with the id that it has."""

    id: UUID
    entry: Suppression


def suppression_of(event: Event) -> Suppression | None:
    """The entry that an event asks for, if any.

    Only a bounce of which the sender says that the address does not exist. An unknown refusal ends ``failed`` and
    suppresses nobody, and neither does anything that is about our own side (DESIGN §2.8).
    """
    if event.kind is not Kind.BOUNCED or not event.suppress:
        return None
    reason = (event.tried and event.tried.bounce_class) or UNCLASSIFIED
    return Suppression(event.tenant, address_key(event.to), reason, Origin.BOUNCE, event.email_id, event.at)


def full_mailbox_of(event: Event) -> Suppression | None:
    """The entry that an event asks for when its mailbox has been full :data:`FULL_TIMES` times, this one included."""
    if event.kind is not Kind.BOUNCED or event.tried is None or event.tried.bounce_class != FULL:
        return None
    return Suppression(event.tenant, address_key(event.to), FULL, Origin.BOUNCE, event.email_id, event.at)

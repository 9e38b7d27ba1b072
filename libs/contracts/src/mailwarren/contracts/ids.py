"""Identifiers: UUIDv7 for new things, UUIDv5 where two parties must arrive at the same id alone."""

from uuid import UUID
from zlib import crc32

import msgspec
import uuid_utils

from mailwarren.contracts.address_key import address_key

# Fixed for ever: deterministic ids of stored mail depend on them.
_DELIVERY = uuid_utils.UUID("6f1c7d5e-7d3c-5a43-9a55-0a2f2f6d8c01")
_EVENT = uuid_utils.UUID("6f1c7d5e-7d3c-5a43-9a55-0a2f2f6d8c02")
_OVERRIDE = uuid_utils.UUID("6f1c7d5e-7d3c-5a43-9a55-0a2f2f6d8c04")
_KEYED = uuid_utils.UUID("6f1c7d5e-7d3c-5a43-9a55-0a2f2f6d8c03")
_BROADCAST = uuid_utils.UUID("6f1c7d5e-7d3c-5a43-9a55-0a2f2f6d8c05")

PARTITIONS = 16
"""Event partitions; fixed for ever, because a parcel in flight carries its number."""


def new_id() -> UUID:
    """A fresh UUIDv7 (RFC 9562 §5.7): sorts by creation time, which the cursor pages rely on."""
    return _standard(uuid_utils.uuid7())


def delivery_id(email_id: UUID | str, address: str) -> UUID:
    """The id of the one delivery that ``address`` has in an email, the same for everyone who computes it.

    ``email_id`` may be its text, for who has it at hand: making it again costs as much as the rest.
    """
    return _uuid5(_DELIVERY, f"{email_id}\n{address_key(address)}")


def event_id(delivery: UUID, attempt: int, kind: str) -> UUID:
    """The id of an event: a repeated report of the same attempt is the same event."""
    return _uuid5(_EVENT, f"{delivery}\n{attempt}\n{kind}")


def override_id(scope: str, name: str, cause: str, window: int) -> UUID:
    """The id of an override: senders that see the same cause in the same span of time (``window``) write the same."""
    return _uuid5(_OVERRIDE, f"{scope}\n{name}\n{cause}\n{window}")


def keyed_id(tenant: UUID, idempotency_key: str) -> UUID:
    """The id that every call with this Idempotency-Key arrives at."""
    return _uuid5(_KEYED, f"{tenant}\n{idempotency_key}")


def nth_id(base: UUID, index: int) -> UUID:
    """The id of the ``index``-th email of a keyed call."""
    return _uuid5(_KEYED, f"{base}\n{index}")


def broadcast_email_id(broadcast: UUID | str, contact: UUID) -> UUID:
    """The id of the one email that a broadcast is to a contact, however often it is made."""
    return _uuid5(_BROADCAST, f"{broadcast}\n{contact}")


def partition_of(request_id: UUID) -> int:
    """The event partition (0 to 15) that all outcomes of a request go through."""
    return crc32(request_id.bytes) % PARTITIONS


def _uuid5(namespace: uuid_utils.UUID, name: str) -> UUID:
    # The value of uuid.uuid5 at a quarter of its price: a mail needs several on its way.
    return _standard(uuid_utils.uuid5(namespace, name))


def _standard(value: uuid_utils.UUID) -> UUID:
    # msgspec makes the standard library's class in C, in half of the time that its own constructor takes.
    return msgspec.convert(str(value), UUID)

"""Idempotency keys (DESIGN §8): what a call with a key that was seen before gets.

A claim is leased. A caller that dies, or gets no confirm, leaves a claim without an answer; the next call after the
lease takes over with the same ids and partition, its parcels marked to be settled, so that what the first call did
publish is not sent again.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from mailwarren.ingest.domain.refusal import bad_idempotency_key, in_flight, other_body

LIFETIME = timedelta(hours=24)
"""How long an answer is kept, counted from the first call."""
LEASE = timedelta(seconds=30)
PUBLISH_WITHIN = 15.0
"""Seconds after the claim in which publishes may start: with the confirm's time limit well within the lease, so that
the holder of a lost lease has no publish left to make."""
MAX_KEY = 256


@dataclass(frozen=True, slots=True)
class Record:
    """What the table knows of a key. ``answer`` is None while no call has been answered with yes."""

    base: UUID
    fingerprint: bytes
    created_at: datetime
    lease_until: datetime
    answer: bytes | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Fresh:
    """No valid record: the call is the first."""


@dataclass(frozen=True, slots=True)
class Replay:
    """The call was answered: the same answer again."""

    status: int
    answer: bytes


@dataclass(frozen=True, slots=True)
class TakeOver:
    """An earlier call ended without an answer: do it again under the same ids."""

    base: UUID


def check_key(key: str) -> str:
    """A usable key.

    Raises:
        Refusal: 400.
    """
    if not 0 < len(key) <= MAX_KEY:
        raise bad_idempotency_key(f"The Idempotency-Key header has 1 to {MAX_KEY} characters.")
    return key


def fingerprint(path: str, mode: str, canonical_body: bytes) -> bytes:
    """What must be equal in a repeated call: path, validation mode and the JSON value of the body."""
    return hashlib.sha256(b"\n".join((path.encode(), mode.encode(), canonical_body))).digest()


def decide(record: Record, given: bytes, now: datetime) -> Fresh | Replay | TakeOver:
    """What to do about a key that has a record.

    Raises:
        Refusal: 409, the body differs or the first call is in flight.
    """
    if now - record.created_at >= LIFETIME:
        return Fresh()
    if record.fingerprint != given:
        raise other_body()
    if record.answer is not None and record.status is not None:
        return Replay(record.status, record.answer)
    if now < record.lease_until:
        raise in_flight()
    return TakeOver(record.base)

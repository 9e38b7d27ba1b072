"""Settle: the question what became of deliveries that may have been tried before, and its answer.

The question goes through the parcel's own event partition. Whatever an earlier sender reported before it died
stands in front of the question, so the tracker's answer includes it. The answer comes back on the asker's own
exclusive queue and may be lost; then the question is asked again.
"""

from enum import StrEnum
from uuid import UUID

import msgspec


class Verdict(StrEnum):
    """What the tracker knows of (delivery, attempt)."""

    DONE = "done"
    """It has an end, or a later attempt is on its way: drop it."""
    STARTED = "started"
    """Mail data may have been sent: ``on_unknown`` decides."""
    UNTOUCHED = "untouched"
    """Nothing is known of it; it is now claimed for the asker."""
    CLAIMED = "claimed"
    """Claimed for another holder of an equal copy."""
    CANCELED = "canceled"
    """Withdrawn before it was sent."""


class Question(msgspec.Struct, frozen=True, omit_defaults=True, tag="question"):
    """Put into the parcel's partition.

    ``asker`` names the sender process, ``reply_to`` its answer queue. ``turn`` and ``count`` (how often the
    broker delivered it before) order the holders of one parcel: a claim passes to a holder with a greater pair, because
    the broker gives a message to the next only after the holder before it is gone. ``bound`` says that the queue is
    bound to ``mail.answers`` by its name; a sender of an older version is reached over the default exchange. ``trace``
    is the parcel's.
    """

    id: UUID
    asker: UUID
    reply_to: str
    deliveries: tuple[UUID, ...]
    attempt: int
    turn: int = 0
    count: int = 0
    bound: bool = False
    trace: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """One verdict for each delivery of the question, in its order."""

    question: UUID
    verdicts: tuple[Verdict, ...]

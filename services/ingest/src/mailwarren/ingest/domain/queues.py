"""What a look at a queue says: does it flow?"""

from dataclasses import dataclass
from enum import StrEnum

STUCK_AFTER = 30.0
"""Seconds without a change after which a queue that has messages and consumers counts as stuck."""


class QueueState(StrEnum):
    """How a queue stands."""

    FLOWING = "flowing"
    """Empty, or somebody takes from it."""
    PAUSED = "paused"
    """Its mail waits for the end of a suspension."""
    STUCK = "stuck"
    """It has messages, and nobody takes them."""
    WAITING = "waiting"
    """It is made for waiting: a rung, or slots."""
    ASIDE = "aside"
    """It has messages that were set aside for a person."""
    MISSING = "missing"
    """It does not exist: run ``mailwarren topology apply``."""
    UNKNOWN = "unknown"
    """It did not answer."""


class QueueKind(StrEnum):
    """What a queue is for."""

    SEND = "send"
    LADDER = "ladder"
    TRACKER = "tracker"
    ASIDE = "aside"
    OPS = "ops"


@dataclass(frozen=True, slots=True)
class Look:
    """A queue as the broker has it.

    ``messages`` are those ready, None when the queue is not there. ``rate`` is messages a second by which it grew, or
    below 0 shrank, since an earlier look; ``unchanged`` seconds since a look that saw another number.
    """

    messages: int | None
    consumers: int = 0
    rate: float | None = None
    unchanged: float = 0.0


def judge(kind: QueueKind, look: Look | None, *, suspended: bool = False) -> QueueState:
    """How a queue stands.

    Args:
        kind: of the queue.
        look: the last one; None when it did not answer.
        suspended: whether all its mail is for a site that is suspended.
    """
    if look is None:
        return QueueState.UNKNOWN
    if look.messages is None:
        return QueueState.MISSING
    if kind is QueueKind.LADDER or not look.messages:
        return QueueState.WAITING if kind is QueueKind.LADDER else QueueState.FLOWING
    if kind is QueueKind.ASIDE or suspended:
        return QueueState.ASIDE if kind is QueueKind.ASIDE else QueueState.PAUSED
    return QueueState.FLOWING if look.consumers and look.unchanged < STUCK_AFTER else QueueState.STUCK

"""A message as it came from a send queue, and what becomes of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from msgspec.structs import replace

from mailwarren.contracts.parcel import Parcel

COUNTS = ("x-delivery-count", "x-acquired-count")
"""Headers in which a quorum queue counts."""


class Finish(Enum):
    """What becomes of the AMQP message."""

    ACK = "ack"
    REQUEUE = "requeue"
    STALE = "stale"
    RELEASED = "released"
    """It was acked before its work was done: :attr:`Incoming.release`."""


async def _not_released() -> bool:
    return False


@dataclass(slots=True)
class Incoming:
    """A message as it came from a send queue."""

    body: bytes
    headers: dict[str, Any]
    queue: str
    key: str
    redelivered: bool
    owned: Callable[[], bool]
    """False as soon as the broker connection that it came over is lost."""
    stopping: Callable[[], bool] = field(default=lambda: False)
    """True when this process shuts down and starts nothing new."""
    release: Callable[[], Awaitable[bool]] = field(default=_not_released)
    """Acks the message now, for something else stands for its mail; :attr:`Finish.RELEASED` must follow. False when the
    connection was lost before that: the broker gives it to somebody else."""

    @property
    def count(self) -> int:
        """How often the broker delivered it before.

        Since RabbitMQ 4.3 ``x-delivery-count`` leaves out what came back without a fault of the consumer, and
        ``x-acquired-count`` has them all.
        """
        counts = (int(self.headers.get(name) or 0) for name in COUNTS)
        return max(1 if self.redelivered else 0, *counts)

    def counted(self, parcel: Parcel) -> Parcel:
        """The parcel as it is put back: the broker counts anew then."""
        return replace(parcel, returned=parcel.returned + self.count)

"""A message as it came from a send queue, and what becomes of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Finish(Enum):
    """What becomes of the AMQP message."""

    ACK = "ack"
    REQUEUE = "requeue"
    STALE = "stale"


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

    @property
    def count(self) -> int:
        """How often the broker delivered it before."""
        count = self.headers.get("x-delivery-count") or 0
        return max(int(count), 1 if self.redelivered else 0)

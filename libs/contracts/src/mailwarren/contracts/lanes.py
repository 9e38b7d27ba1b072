"""Lanes: the three priorities, each with its own queues and its own fleet."""

from enum import StrEnum


class Lane(StrEnum):
    """How urgent a mail is. RabbitMQ message priorities are not used: a lane is a set of queues."""

    HIGH = "high"
    NORMAL = "normal"
    BULK = "bulk"


BUDGETS: dict[Lane, float] = {Lane.HIGH: 4 * 3600.0, Lane.NORMAL: 48 * 3600.0, Lane.BULK: 48 * 3600.0}
"""Seconds from acceptance after which no lane's mail is tried any more; ``expires_at`` may end it sooner."""

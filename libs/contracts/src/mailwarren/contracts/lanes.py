"""Lanes: the three priorities, each with its own queues and its own fleet."""

from enum import StrEnum


class Lane(StrEnum):
    """How urgent a mail is. RabbitMQ message priorities are not used: a lane is a set of queues."""

    HIGH = "high"
    NORMAL = "normal"
    BULK = "bulk"

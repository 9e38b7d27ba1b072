"""Who may do what on the broker: one account for each service, with the least that it needs.

RabbitMQ checks three regular expressions against the names of exchanges and queues: *configure* to declare and delete,
*write* to publish to an exchange and to bind a queue, *read* to consume a queue and to bind to an exchange. Whoever
declares the topology is none of these accounts: ``mailwarren topology apply`` runs as an administrator.

No account may publish to the default exchange: from there every queue can be reached by its name.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from mailwarren.contracts.topology import Topology

NOTHING = "^$"
_WORD = "[A-Za-z0-9]+"
MARKER_KEY = "marker"
"""The only routing key under which a sender may write into the control log."""


class Service(StrEnum):
    """A service with accounts of its own."""

    INGEST = "ingest"
    SENDER = "sender"
    TRACKER = "tracker"


@dataclass(frozen=True, slots=True)
class TopicRights:
    """Routing keys (a regular expression) that may be published to one topic exchange."""

    exchange: str
    write: str
    read: str = NOTHING


@dataclass(frozen=True, slots=True)
class Rights:
    """A user's permissions in a virtual host: regular expressions over names."""

    configure: str
    write: str
    read: str
    topics: tuple[TopicRights, ...] = ()


def broker_rights(topology: Topology) -> dict[Service, Rights]:
    """The permissions of each service for the names of a topology, prefix and all."""
    return {Service.INGEST: _ingest(topology), Service.SENDER: _sender(topology), Service.TRACKER: _tracker(topology)}


def _ingest(topology: Topology) -> Rights:
    # It asks for the depths of these queues. RabbitMQ before 4.2.6 lets anybody ask, 4.2.7 and 4.3.1 those with any
    # right on the queue. To write is the one that gives nothing else: publishes go to exchanges.
    seen = [_names(topology, "send", 2), _names(topology, "tracker.accepted"), _names(topology, "tracker.events")]
    exchanges = (topology.accept, topology.events, topology.control_log)
    return Rights(
        configure=NOTHING,
        write=_any_of([*(re.escape(exchange.name) for exchange in exchanges), *seen]),
        read=NOTHING,
    )


def _sender(topology: Topology) -> Rights:
    control = re.escape(topology.name("celery"))
    # Exclusive queues of the process itself: the settle answers, and Celery's remote control.
    own = [re.escape(topology.name("answers.")) + "[0-9a-f]{32}", rf"[^@]+@.+\.{control}\.pidbox"]
    inspected, replies = rf"{control}\.pidbox", rf"reply\.{control}\.pidbox"
    exchanges = (topology.events, topology.defer, topology.dead, topology.control_log)
    read = (topology.control_log_queue, topology.answers)
    return Rights(
        configure=_any_of([*own, inspected, replies]),
        # The rungs because it looks whether they exist.
        write=_any_of([*(re.escape(one.name) for one in exchanges), *own, replies, _names(topology, "ladder", 2)]),
        read=_any_of([_names(topology, "send", 2), *(re.escape(one.name) for one in read), *own, inspected]),
        topics=(TopicRights(topology.control_log.name, f"^{MARKER_KEY}$"),),
    )


def _tracker(topology: Topology) -> Rights:
    return Rights(
        configure=NOTHING,
        write=_any_of(re.escape(exchange.name) for exchange in (topology.answers, topology.dead)),
        read=_any_of(
            [
                _names(topology, "tracker.accepted"),
                _names(topology, "tracker.events"),
                re.escape(topology.tracker_dead_queue.name),
            ]
        ),
    )


def _names(topology: Topology, family: str, words: int = 1) -> str:
    # Any shard, rung and partition: a new retry scale must not need new permissions.
    return re.escape(topology.name(family)) + rf"\.{_WORD}" * words


def _any_of(patterns: Iterable[str]) -> str:
    return f"^(?:{'|'.join(patterns)})$"

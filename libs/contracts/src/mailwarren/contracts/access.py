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

from mailwarren.contracts.egress import WARMUP_KEY
from mailwarren.contracts.shaping import SHAPING_KEY
from mailwarren.contracts.topology import Topology

NOTHING = "^$"
_WORD = "[A-Za-z0-9]+"
_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_SITE = "[a-z0-9._-]+"
_HEX = "[0-9a-f]{32}"
MARKER_KEY = "marker"
"""The routing key of markers in the control log. A sender may write under this one, :data:`SHAPING_KEY` and
:data:`WARMUP_KEY` only."""


class Service(StrEnum):
    """A service with accounts of its own."""

    INGEST = "ingest"
    SENDER = "sender"
    TRACKER = "tracker"
    FLOWER = "flower"
    """Flower, where it is wanted: it watches the workers and has no part in mail."""


OPTIONAL = frozenset({Service.FLOWER})
"""Services that a system may be without."""


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
    return {
        Service.INGEST: _ingest(topology),
        Service.SENDER: _sender(topology),
        Service.TRACKER: _tracker(topology),
        Service.FLOWER: _flower(topology),
    }


def _ingest(topology: Topology) -> Rights:
    # It asks for the depths of these queues. RabbitMQ before 4.2.6 lets anybody ask, 4.2.7 and 4.3.1 those with any
    # right on the queue. To write is the one that gives nothing else: publishes go to exchanges.
    seen = [
        _names(topology, "send", 2), _names(topology, "ladder", 2), _names(topology, "tracker.accepted"),
        _names(topology, "tracker.events"), re.escape(topology.tracker_dead_queue.name),
        re.escape(topology.shaping_queue.name), _names(topology, "ops.retry"),
    ]  # fmt: skip
    exchanges = (
        topology.accept, topology.events, topology.control_log, topology.ops_tasks, topology.ops_retry, topology.send,
    )  # fmt: skip
    # What was set aside is looked at and sent back through the API.
    aside = (topology.dead_queue, topology.unrouted_queue, topology.ops_dead_queue)
    heard = _heard(topology)
    # The worker is a Celery worker: remote control, and the events that Flower reads.
    own, inspected, replies = _remote_control(topology)
    shown = _events_exchange(topology)
    return Rights(
        configure=_any_of([own, inspected, replies, shown, heard]),
        write=_any_of([*(re.escape(exchange.name) for exchange in exchanges), *seen, own, replies, shown, heard]),
        read=_any_of(
            [*(re.escape(one.name) for one in (topology.ops_queue, topology.control, *aside)), own, inspected, heard]
        ),
    )


def _sender(topology: Topology) -> Rights:
    # Exclusive queues of the process itself: the settle answers, and Celery's remote control.
    box, inspected, replies = _remote_control(topology)
    own = [re.escape(topology.name("answers.")) + _HEX, _heard(topology), box]
    exchanges = (
        topology.events, topology.defer, topology.dead, topology.control_log, topology.control, topology.slots
    )  # fmt: skip
    read = (topology.control_log_queue, topology.answers, topology.control)
    slots = re.escape(topology.name("slots.")) + _SITE
    return Rights(
        configure=_any_of([*own, inspected, replies]),
        # The rungs because it looks whether they exist.
        write=_any_of([*(re.escape(one.name) for one in exchanges), *own, replies, _names(topology, "ladder", 2)]),
        read=_any_of([_names(topology, "send", 2), slots, *(re.escape(one.name) for one in read), *own, inspected]),
        topics=(TopicRights(topology.control_log.name, f"^(?:{MARKER_KEY}|{SHAPING_KEY}|{WARMUP_KEY})$"),),
    )


def _tracker(topology: Topology) -> Rights:
    return Rights(
        configure=NOTHING,
        write=_any_of(re.escape(one.name) for one in (topology.answers, topology.dead, topology.control_log)),
        read=_any_of(
            [
                _names(topology, "tracker.accepted"),
                _names(topology, "tracker.events"),
                re.escape(topology.tracker_dead_queue.name),
                re.escape(topology.shaping_queue.name),
            ]
        ),
        # It pauses the bulk mail of a tenant of which too much bounces.
        topics=(TopicRights(topology.control_log.name, f"^{SHAPING_KEY}$"),),
    )


def _flower(topology: Topology) -> Rights:
    # It asks all workers through the exchange of commands: RabbitMQ cannot tell a question from a command there, so it
    # is Flower that runs read-only. It cannot publish a task, nor mail, and reads no queue but its own two.
    _, inspected, replies = _remote_control(topology)
    shown = _events_exchange(topology)
    answers = rf"{_UUID}\.{replies}"
    received = rf"{shown}\.{_UUID}"
    return Rights(
        configure=_any_of([inspected, replies, answers, shown, received]),
        write=_any_of([inspected, answers, received]),
        read=_any_of([replies, answers, shown, received]),
    )


def _heard(topology: Topology) -> str:
    """The exclusive queue over which a process hears what senders say to all."""
    return re.escape(topology.name("control.")) + _HEX


def _remote_control(topology: Topology) -> tuple[str, str, str]:
    """Celery's: a worker's own queue, the exchange that carries commands, and that of the answers."""
    control = re.escape(topology.name("celery"))
    return rf"[^@]+@.+\.{control}\.pidbox", rf"{control}\.pidbox", rf"reply\.{control}\.pidbox"


def _events_exchange(topology: Topology) -> str:
    return re.escape(topology.name("celeryev"))


def _names(topology: Topology, family: str, words: int = 1) -> str:
    # Any shard, rung and partition: a new retry scale must not need new permissions.
    return re.escape(topology.name(family)) + rf"\.{_WORD}" * words


def _any_of(patterns: Iterable[str]) -> str:
    return f"^(?:{'|'.join(patterns)})$"

"""The broker's topology as kombu objects (DESIGN §5): the one place that names exchanges and queues.

``mailwarren topology apply`` declares it; no other process declares anything. Queue arguments are immutable in
RabbitMQ, so nothing that may change later is an argument here: that belongs into a policy.

Every name gets ``prefix`` in front, so that several systems can share a virtual host.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kombu import Exchange, Queue, binding

from mailwarren.contracts.ids import PARTITIONS
from mailwarren.contracts.ladder import Ladder
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.routing import partition_key
from mailwarren.contracts.shaping import SHAPING_KEY
from mailwarren.contracts.shards import SHARDS
from mailwarren.contracts.sites import NAMED_SITES

SEND_DELIVERY_LIMIT = 50
"""A lost connection counts against it for every prefetched message, so it is far above any honest number."""
NO_DELIVERY_LIMIT = 1_000_000_000
"""Explicit, because RabbitMQ 4 has a default of 20."""
OPS_KEY = "task"
"""The one routing key of ``ops.tasks``."""
OPS_DELIVERY_LIMIT = 20
"""A task is redelivered only when its worker dies or loses the broker: one that takes twenty down is set aside."""
OPS_WAITS = (5, 30, 300)
"""Seconds that an ops task waits before its second, third and every later try."""
KEEPER_KEY = "keeper"
"""The routing key of ``slots.keeper``."""
CONTROL_LOG_AGE = "50h"
"""Longer than the longest mail lives (48 h): a cancel outlives every retry."""


@dataclass(frozen=True)
class Topology:
    """All exchanges and queues under a name prefix, with the ladder's rungs at a time scale and slots for ``sites``."""

    prefix: str = ""
    retry_scale: float = 1.0
    sites: tuple[str, ...] = NAMED_SITES

    @cached_property
    def ladder(self) -> Ladder:
        """The rungs."""
        return Ladder(self.retry_scale)

    def name(self, plain: str) -> str:
        """A name with the prefix."""
        return f"{self.prefix}{plain}"

    def holds_work(self, name: str) -> bool:
        """Whether messages of a queue wait to be worked on: not so in the control log, which keeps, and in slots."""
        return name != self.control_log_queue.name and not name.startswith(self.name("slots."))

    # Exchanges

    @cached_property
    def accept(self) -> Exchange:
        """Ingest publishes every parcel here: one publish reaches its send queue and the tracker."""
        return self._exchange("mail.accept")

    @cached_property
    def send(self) -> Exchange:
        """Feeds send queues only: the ladder's way back."""
        return self._exchange("mail.send", {"alternate-exchange": self.name("mail.unrouted")})

    @cached_property
    def defer(self) -> Exchange:
        """A deferral: one publish reaches a rung and the event partition."""
        return self._exchange("mail.defer")

    @cached_property
    def events(self) -> Exchange:
        """Outcomes and questions, keyed by partition."""
        return self._exchange("mail.events")

    @cached_property
    def control_log(self) -> Exchange:
        """Cancels and the like: to the stream that senders read from its start, and to the partition."""
        return self._exchange("mail.control.log")

    @cached_property
    def answers(self) -> Exchange:
        """Answers of the tracker, keyed by the name of the asker's exclusive queue; may be lost."""
        return Exchange(self.name("mail.answers"), type="direct", durable=True)

    @cached_property
    def control(self) -> Exchange:
        """Heartbeats to exclusive queues; may be lost."""
        return Exchange(self.name("mail.control"), type="fanout", durable=True)

    @cached_property
    def slots(self) -> Exchange:
        """Tokens, keyed by their site, and the keeper's message."""
        return Exchange(self.name("slots"), type="direct", durable=True)

    @cached_property
    def dead(self) -> Exchange:
        """Dead letters, kept under the key they had."""
        return self._exchange("mail.dead")

    @cached_property
    def unrouted(self) -> Exchange:
        """What matched no queue of ``mail.send``."""
        return Exchange(self.name("mail.unrouted"), type="fanout", durable=True)

    @cached_property
    def ops_tasks(self) -> Exchange:
        """Orders for ingest's workers."""
        return Exchange(self.name("ops.tasks"), type="direct", durable=True)

    @cached_property
    def ops_retry(self) -> Exchange:
        """Orders that wait for their next try, keyed by how long."""
        return Exchange(self.name("ops.retry"), type="direct", durable=True)

    @cached_property
    def ops_dead(self) -> Exchange:
        """Orders that nobody could carry out. Not ``mail.dead``: the tracker reads that one for mail."""
        return Exchange(self.name("ops.dead"), type="fanout", durable=True)

    # Queues

    def send_queue(self, lane: Lane, shard: str) -> Queue:
        """``send.<lane>.<shard>``, reached from ``mail.accept`` by its exact key and from the ladder."""
        key = f"{lane}.{shard}"
        return Queue(
            self.name(f"send.{key}"),
            bindings=[binding(self.accept, routing_key=key), binding(self.send, routing_key=f"{key}.#")],
            durable=True,
            queue_arguments=self._quorum(SEND_DELIVERY_LIMIT),
        )

    def accepted_queue(self, lane: Lane) -> Queue:
        """``tracker.accepted.<lane>``, bound with the same exact keys as the send queues.

        No wildcard: it would make an unknown shard routable to the tracker alone, and ``mandatory`` would never
        complain.
        """
        return Queue(
            self.name(f"tracker.accepted.{lane}"),
            bindings=[binding(self.accept, routing_key=f"{lane}.{shard}") for shard in SHARDS],
            durable=True,
            queue_arguments=self._quorum(NO_DELIVERY_LIMIT),
        )

    def events_queue(self, partition: int) -> Queue:
        """``tracker.events.<n>``: outcomes, deferrals, questions and cancels of a partition, in order.

        A single active consumer keeps the order; it holds when a consumer dies, not when it cancels with messages
        unacked, which therefore no consumer of ours does.
        """
        key = partition_key(partition)
        return Queue(
            self.name(f"tracker.events.{key}"),
            bindings=[
                binding(self.events, routing_key=key),
                binding(self.control_log, routing_key=key),
                binding(self.defer, routing_key=f"*.*.*.{key}"),
            ],
            durable=True,
            queue_arguments=self._quorum(NO_DELIVERY_LIMIT) | {"x-single-active-consumer": True},
        )

    def rung_queue(self, lane: Lane, rung: str, ttl_ms: int) -> Queue:
        """``ladder.<lane>.<rung>``: waits ``ttl_ms``, then back to ``mail.send`` with the key kept."""
        return Queue(
            self.name(f"ladder.{lane}.{rung}"),
            bindings=[binding(self.defer, routing_key=f"{lane}.*.{rung}.*")],
            durable=True,
            queue_arguments={
                "x-queue-type": "quorum",
                "x-message-ttl": ttl_ms,
                "x-dead-letter-exchange": self.send.name,
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
                "x-delivery-limit": NO_DELIVERY_LIMIT,
            },
        )

    @cached_property
    def control_log_queue(self) -> Queue:
        """The stream behind ``mail.control.log``."""
        return Queue(
            self.name("mail.control.log"),
            bindings=[binding(self.control_log, routing_key="#")],
            durable=True,
            queue_arguments={
                "x-queue-type": "stream",
                "x-max-age": CONTROL_LOG_AGE,
                "x-stream-max-segment-size-bytes": 16_000_000,
            },
        )

    @cached_property
    def shaping_queue(self) -> Queue:
        """``tracker.shaping``: the overrides of the control log, for the tracker to record."""
        return Queue(
            self.name("tracker.shaping"),
            bindings=[binding(self.control_log, routing_key=SHAPING_KEY)],
            durable=True,
            queue_arguments=self._quorum(NO_DELIVERY_LIMIT),
        )

    def slot_queue(self, site: str, *, high: bool = False) -> Queue:
        """``slots.<site>``, or ``slots.<site>.high`` for those that are kept for the high lane: a message a slot.

        Nothing may ever drop a token: there is no dead-lettering, and no limit to how often it is handed out.
        """
        key = slot_key(site, high=high)
        return Queue(
            self.name(f"slots.{key}"),
            bindings=[binding(self.slots, routing_key=key)],
            durable=True,
            queue_arguments={"x-queue-type": "quorum", "x-delivery-limit": NO_DELIVERY_LIMIT},
        )

    @cached_property
    def keeper_queue(self) -> Queue:
        """``slots.keeper``: one message; the sender that holds it fills the queues of slots."""
        return Queue(
            self.name("slots.keeper"),
            bindings=[binding(self.slots, routing_key=KEEPER_KEY)],
            durable=True,
            queue_arguments={
                "x-queue-type": "quorum",
                "x-delivery-limit": NO_DELIVERY_LIMIT,
                "x-single-active-consumer": True,
            },
        )

    @cached_property
    def dead_queue(self) -> Queue:
        """``mail.dead``: parked messages, for people."""
        return self._parking("mail.dead", self.dead)

    @cached_property
    def tracker_dead_queue(self) -> Queue:
        """``tracker.dead``: the same dead letters for the tracker, which records ``parked``."""
        return self._parking("tracker.dead", self.dead)

    @cached_property
    def unrouted_queue(self) -> Queue:
        """``mail.unrouted``: for people."""
        return self._parking("mail.unrouted", self.unrouted)

    @cached_property
    def ops_queue(self) -> Queue:
        """``ops.tasks``: ordinary Celery tasks for ``ingest worker``."""
        return Queue(
            self.name("ops.tasks"),
            bindings=[binding(self.ops_tasks, routing_key=OPS_KEY)],
            durable=True,
            queue_arguments=self._quorum(OPS_DELIVERY_LIMIT) | {"x-dead-letter-exchange": self.ops_dead.name},
        )

    @cached_property
    def ops_rungs(self) -> tuple[str, ...]:
        """Keys of ``ops.retry``, the shortest wait first: their TTL, as the ladder's are."""
        return tuple(f"{ms}ms" if ms % 1000 else f"{ms // 1000}s" for ms in self._ops_milliseconds)

    @property
    def ops_retry_queues(self) -> list[Queue]:
        """``ops.retry.<wait>``: waits its TTL, then back to ``ops.tasks``."""
        return [
            Queue(
                self.name(f"ops.retry.{rung}"),
                bindings=[binding(self.ops_retry, routing_key=rung)],
                durable=True,
                queue_arguments={
                    "x-queue-type": "quorum",
                    "x-message-ttl": ttl_ms,
                    "x-dead-letter-exchange": self.ops_tasks.name,
                    "x-dead-letter-routing-key": OPS_KEY,
                    "x-dead-letter-strategy": "at-least-once",
                    "x-overflow": "reject-publish",
                    "x-delivery-limit": NO_DELIVERY_LIMIT,
                },
            )
            for rung, ttl_ms in zip(self.ops_rungs, self._ops_milliseconds, strict=True)
        ]

    @cached_property
    def ops_dead_queue(self) -> Queue:
        """``ops.dead``: orders for people."""
        return self._parking("ops.dead", self.ops_dead)

    @property
    def _ops_milliseconds(self) -> list[int]:
        return [max(1, round(seconds * 1000 * self.retry_scale)) for seconds in OPS_WAITS]

    # Lists

    @property
    def all_exchanges(self) -> list[Exchange]:
        """Every exchange, in an order in which they can be declared."""
        return [
            self.unrouted, self.dead, self.accept, self.send, self.defer, self.events, self.control_log, self.control,
            self.answers, self.slots, self.ops_dead, self.ops_tasks, self.ops_retry,
        ]  # fmt: skip

    @property
    def send_queues(self) -> list[Queue]:
        """The 36 send queues."""
        return [self.send_queue(lane, shard) for lane in Lane for shard in SHARDS]

    @property
    def tracker_queues(self) -> list[Queue]:
        """The queues that the tracker consumes."""
        return [
            *(self.accepted_queue(lane) for lane in Lane),
            *(self.events_queue(n) for n in range(PARTITIONS)),
            self.tracker_dead_queue,
            self.shaping_queue,
        ]

    @property
    def slot_queues(self) -> list[Queue]:
        """The slots of all sites."""
        return [self.slot_queue(site, high=high) for site in self.sites for high in (False, True)]

    @property
    def rung_queues(self) -> list[Queue]:
        """The ladder."""
        rungs = list(zip(self.ladder.names, self.ladder.milliseconds, strict=True))
        return [self.rung_queue(lane, rung, ttl) for lane in Lane for rung, ttl in rungs]

    @property
    def all_queues(self) -> list[Queue]:
        """Every queue; dead-letter targets first."""
        return [
            self.unrouted_queue,
            self.dead_queue,
            *self.tracker_queues,
            *self.send_queues,
            *self.rung_queues,
            self.control_log_queue,
            self.keeper_queue,
            *self.slot_queues,
            self.ops_dead_queue,
            self.ops_queue,
            *self.ops_retry_queues,
        ]

    def _exchange(self, plain: str, arguments: dict[str, Any] | None = None) -> Exchange:
        return Exchange(self.name(plain), type="topic", durable=True, arguments=arguments)

    def _parking(self, plain: str, exchange: Exchange) -> Queue:
        return Queue(
            self.name(plain),
            bindings=[binding(exchange, routing_key="#")],
            durable=True,
            queue_arguments={"x-queue-type": "quorum", "x-delivery-limit": NO_DELIVERY_LIMIT},
        )

    def _quorum(self, delivery_limit: int) -> dict[str, Any]:
        # At-least-once dead-lettering needs reject-publish; without a length limit it never rejects anything.
        return {
            "x-queue-type": "quorum",
            "x-delivery-limit": delivery_limit,
            "x-dead-letter-exchange": self.dead.name,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }


def slot_key(site: str, *, high: bool = False) -> str:
    """The routing key of a site's tokens on the exchange ``slots``."""
    return f"{site}.high" if high else site


def send_queue_names(
    lanes: list[Lane] | None = None, shards: list[str] | None = None, *, prefix: str = ""
) -> list[str]:
    """The names for a worker's ``-Q``; all lanes and shards when none are named.

    Raises:
        ValueError: a shard that does not exist.
    """
    unknown = set(shards or ()) - set(SHARDS)
    if unknown:
        raise ValueError(f"unknown shards: {', '.join(sorted(unknown))}; there are {', '.join(SHARDS)}")
    return [f"{prefix}send.{lane}.{shard}" for lane in lanes or list(Lane) for shard in shards or SHARDS]

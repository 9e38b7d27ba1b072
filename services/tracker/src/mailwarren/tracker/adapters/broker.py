"""The tracker's queues over one channel, and what it publishes."""

import asyncio
from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

import aio_pika
import aiormq
import structlog
from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel as RawChannel
from pamqp.commands import Basic

from mailwarren.contracts import codec
from mailwarren.contracts.ids import PARTITIONS
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.settle import Answer, Question
from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import Link, Publisher, PublishError
from mailwarren.tracker import metrics
from mailwarren.tracker.domain.read import EXCHANGE, FROM, KEY, REASON, Message, Source

log = structlog.get_logger()

ANSWER_TIMEOUT = 2.0
REASON_LENGTH = 1000
"""Characters of a reason at most: a broker's headers are no place for a traceback."""


def queues_of(topology: Topology) -> dict[str, Source]:
    """The tracker's queues by name."""
    return {
        **{topology.accepted_queue(lane).name: Source.ACCEPTED for lane in Lane},
        **{topology.events_queue(n).name: Source.EVENTS for n in range(PARTITIONS)},
        topology.tracker_dead_queue.name: Source.DEAD,
    }


class QueueInbox:
    """Consumes all queues over one channel, so that one ack covers a batch.

    The channel is opened again with every connection of the link; a channel that breaks alone, or a consumer that
    the broker cancels, breaks the connection, for that is how everything is set up again. Nothing is ever cancelled
    from here: a queue with a single active consumer keeps its order only when the channel goes with its messages.
    """

    def __init__(self, link: Link, queues: Mapping[str, Source], prefetch: int) -> None:
        self._link = link
        self._queues = queues
        self._prefetch = prefetch
        self._messages: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._channel: RawChannel | None = None
        self._epoch = 0
        self._tag = 0
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()
        link.on_up(self._open)

    @property
    def consuming(self) -> bool:
        """Whether the channel is open."""
        return self._channel is not None and not self._channel.is_closed and self._link.up

    def pop(self) -> Message | None:
        """The next message, None when there is none at the moment."""
        return self._messages.popleft() if self._messages else None

    async def wait(self, seconds: float) -> None:
        """Return when there is a message, or after ``seconds``."""
        if self._messages:
            return
        self._arrived.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        except TimeoutError:
            return

    def current(self, message: Message) -> bool:
        """Whether the message can still be acked; if not, the broker delivers it again."""
        return message.epoch == self._epoch and self._channel is not None and not self._channel.is_closed

    async def ack(self, message: Message) -> bool:
        """Ack this message and all before it; false when they are stale, which is no harm."""
        channel = self._channel
        if channel is None or not self.current(message):
            return False
        try:
            await channel.basic_ack(message.tag, multiple=True)
        except (aiormq.exceptions.AMQPError, ConnectionError, RuntimeError) as error:
            log.info("tracker.ack.lost", error=f"{type(error).__name__}: {error}")
            return False
        return True

    async def close(self) -> None:
        """Close the channel: what is not acked goes back to its queue, in its place."""
        self._closing = True
        if self._channel is not None and not self._channel.is_closed:
            await asyncio.gather(self._channel.close(), return_exceptions=True)

    async def _open(self, connection: aio_pika.abc.AbstractConnection) -> None:
        channel = await connection.channel(publisher_confirms=False)
        raw = cast("RawChannel", await channel.get_underlay_channel())
        self._messages.clear()
        self._channel, self._tag = raw, 0
        self._epoch += 1
        raw.on_consumer_cancel_callbacks.add(partial(self._break, connection, "consumer cancelled by the broker"))
        raw.closing.add_done_callback(partial(self._break, connection, "channel closed"))
        await raw.basic_qos(prefetch_count=self._prefetch)
        for queue, source in self._queues.items():
            await raw.basic_consume(queue, partial(self._deliver, connection, self._epoch, source, queue))

    async def _deliver(
        self,
        connection: aio_pika.abc.AbstractConnection,
        epoch: int,
        source: Source,
        queue: str,
        message: DeliveredMessage,
    ) -> None:
        delivery = cast("Basic.Deliver", message.delivery)
        tag = delivery.delivery_tag or 0
        if epoch != self._epoch:
            return
        if tag != self._tag + 1:
            # An ack of many must not cover a message that nobody has recorded.
            self._break(connection, "messages out of order")
            return
        self._tag = tag
        self._messages.append(
            Message(
                source=source,
                queue=queue,
                body=message.body,
                headers=message.header.properties.headers or {},
                exchange=delivery.exchange or "",
                key=delivery.routing_key or "",
                tag=tag,
                epoch=epoch,
            )
        )
        self._arrived.set()

    def _break(self, connection: aio_pika.abc.AbstractConnection, why: str, *_: object) -> None:
        if connection.is_closed or self._closing:
            return
        log.warning("tracker.channel.lost", why=why)
        task = asyncio.get_running_loop().create_task(connection.close())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class BrokerOutbox:
    """Answers and dead letters over the link's confirmed publisher."""

    def __init__(self, link: Link, publisher: Publisher, topology: Topology) -> None:
        self._link = link
        self._publisher = publisher
        self._dead = topology.dead.name

    async def answer(self, question: Question, answer: Answer) -> None:
        """Send an answer to the asker's own queue; it may be lost, and then the question is put again."""
        try:
            # Right after a connect questions arrive before the publisher is open.
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await self._link.wait_up()
            await self._publisher.publish(
                "",
                question.reply_to,
                codec.encode(answer),
                codec.headers_of(answer),
                mandatory=False,
                timeout=ANSWER_TIMEOUT,
            )
        except (PublishError, TimeoutError, ValueError) as error:
            metrics.record_answer_lost()
            log.warning("tracker.answer.lost", question=str(question.id), error=f"{type(error).__name__}: {error}")

    async def set_aside(self, message: Message, reason: str) -> None:
        """Return when the message is safe in ``mail.dead``, with what a replay needs.

        Raises:
            PublishError: it may be there or not.
        """
        # The broker's own headers stay behind: an old x-death makes it drop what it takes for a cycle.
        plain = str | int | float | bool | None
        kept: dict[str, Any] = {
            name: value
            for name, value in message.headers.items()
            if not name.startswith("x-") and isinstance(value, plain)
        }
        ours = {
            REASON: reason[:REASON_LENGTH].encode(errors="replace").decode(),
            FROM: message.queue,
            KEY: message.key,
            EXCHANGE: message.exchange,
        }
        await self._publisher.publish(self._dead, message.key, message.body, kept | ours)
